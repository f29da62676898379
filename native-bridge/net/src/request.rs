//! A request as an initscript or an application writes it, in canonical form.

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};

use crate::address::{Address, Scheme};
use crate::canonical;
use crate::frame;
use crate::grpc;
use crate::memcached;
use crate::redis;
use crate::sqs;

/// A request in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub verb: String,
    /// Canonical path with its query, beginning with "/".
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What it is, for claims: "GET s3://models/weights". What tells two requests for one URL apart is behind a '#': a range
    /// ("GET s3://models/weights#bytes=0-99"), or a hash of a message.
    pub content: String,
    pub idempotent: bool,
    /// What stands before the body of a request that is no HTTP: a Redis command's arguments, a memcached command's words.
    pub(crate) words: Vec<Bytes>,
}

const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// What the client sets itself, or what would change where a message ends or who is asked.
const OWN_HEADERS: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What services of some kinds take for another verb or path than those that the rules have allowed.
const OVERRIDES: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

impl Request {
    /// Parses a request as its protocol has it (docs/network.md). HTTP and S3: "VERB path\nname: value\n\nbody"; the path is
    /// percent-encoded or plain, with or without a leading slash.
    ///
    /// `invalidArgument` says what is wrong: a malformed line, a header that is the client's own, a path that has no
    /// canonical form.
    pub fn parse(address: &Address, raw: &[u8]) -> Result<Self> {
        match address.scheme {
            Scheme::Tcp(_) | Scheme::Tcps(_) => Ok(frame::request(address, raw)),
            Scheme::Redis | Scheme::Rediss => redis::request(address, raw),
            Scheme::Memcached => memcached::request(address, raw),
            Scheme::Sqs => sqs::request(address, raw),
            Scheme::Grpc | Scheme::Grpcs => grpc::request(address, raw),
            Scheme::S3 | Scheme::Http | Scheme::Https => {
                let (head, body) = split(raw)?;
                let (verb, path, lines) = verb_and_path(head)?;
                Self::new(address, verb, path, headers(lines, &[])?, body)
            }
        }
    }

    /// Parses "VERB address/path\nname: value\n\nbody", in every protocol.
    pub fn parse_absolute(raw: &[u8]) -> Result<(Address, Self)> {
        let (head, body) = split(raw)?;
        let (verb, url, lines) = verb_and_path(head)?;
        let (address, path) = Address::split(url)?;
        let request = match address.scheme {
            Scheme::S3 | Scheme::Http | Scheme::Https => Self::new(&address, verb, path, headers(lines, &[])?, body)?,
            Scheme::Grpc | Scheme::Grpcs => grpc::absolute(&address, verb, path, headers(lines, METADATA)?, body)?,
            _ if lines.is_some() => return Err(invalid("its protocol has no headers")),
            Scheme::Redis | Scheme::Rediss => redis::absolute(&address, verb, path, body)?,
            Scheme::Memcached => memcached::absolute(&address, verb, path, body)?,
            Scheme::Sqs => sqs::absolute(&address, verb, path, body)?,
            Scheme::Tcp(_) | Scheme::Tcps(_) => {
                if verb != frame::VERB || !matches!(path, "" | "/") {
                    return Err(invalid("a message to a TCP service is \"SEND tcp://host:port?frame=…\""));
                }
                frame::request(&address, body)
            }
        };
        Ok((address, request))
    }

    /// Gives a request that has none yet its body.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
        let hashed = ["tcp://", "tcps://", "grpc://", "grpcs://"].iter().any(|scheme| self.url().starts_with(scheme));
        if hashed && let Some(at) = self.content.find('#') {
            self.content.truncate(at);
            self.content.push_str(&fingerprint([&self.body[..]]));
        }
    }

    fn new(address: &Address, verb: &str, path: &str, headers: Vec<(String, String)>, body: &[u8]) -> Result<Self> {
        if !(1..=16).contains(&verb.len()) || !verb.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("its verb is not upper-case letters"));
        }
        if matches!(verb, "CONNECT" | "TRACE") {
            return Err(invalid("CONNECT and TRACE are not for requests"));
        }
        let path = canonical::path(address.scheme, path)?;
        let mut content = format!("{verb} {address}{path}");
        if let Some((_, range)) = headers.iter().find(|(name, _)| name == "range") {
            if !is_one_range(range) || headers.iter().filter(|(name, _)| name == "range").count() > 1 {
                return Err(invalid("a range is one range of bytes, such as bytes=0-99"));
            }
            content.push('#');
            content.push_str(range);
        }
        let idempotent = matches!(verb, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS");
        Ok(Self {
            verb: verb.to_owned(),
            path,
            headers,
            body: Bytes::copy_from_slice(body),
            content,
            idempotent,
            words: Vec::new(),
        })
    }

    /// The URL part of the content: what egress rules are about.
    pub fn url(&self) -> &str {
        let url = self.content.split_once(' ').map_or("", |(_, url)| url);
        url.split_once('#').map_or(url, |(url, _)| url)
    }
}

/// Whether what a content names changes something there, as far as is known.
pub fn changes(content: &str) -> bool {
    let verb = content.split(' ').next().unwrap_or_default();
    let reads = matches!(verb, "GET" | "HEAD" | "OPTIONS") || redis::is_read(verb) || memcached::is_read(verb);
    !reads
}

/// "#" and a hash (FNV-1a 64) of what tells a request from others with its URL. Not for secrets: it can be guessed back.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (index, part) in parts.into_iter().enumerate() {
        let separator: &[u8] = if index > 0 { b" " } else { b"" };
        for byte in separator.iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("#{hash:016x}")
}

/// Head and body. A head without an empty line behind it has no body.
pub(crate) fn split(raw: &[u8]) -> Result<(&str, &[u8])> {
    let window = &raw[..raw.len().min(MAX_HEAD + 2)];
    let (head, body) = match window.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&raw[..end], &raw[end + 2..]),
        None if raw.len() <= MAX_HEAD => (raw, &raw[raw.len()..]),
        None => return Err(invalid("its head is longer than 16 KiB")),
    };
    let head = std::str::from_utf8(head).map_err(|_| invalid("its head is not UTF-8"))?;
    Ok((head.strip_suffix('\n').unwrap_or(head), body))
}

pub(crate) type Headers = Vec<(String, String)>;

/// Headers of our own that gRPC's metadata may have: a token, which is the script's.
pub(crate) const METADATA: &[&str] = &["authorization"];

/// The first line, and the lines behind it.
pub(crate) fn first_line(head: &str) -> (&str, Option<&str>) {
    match head.split_once('\n') {
        Some((first, rest)) => (first, Some(rest)),
        None => (head, None),
    }
}

/// "VERB path", and the lines behind it.
fn verb_and_path(head: &str) -> Result<(&str, &str, Option<&str>)> {
    let (first, rest) = first_line(head);
    match first.split_once(' ') {
        Some((verb, path)) => Ok((verb, path, rest)),
        None => Err(invalid("its first line should be \"VERB path\"")),
    }
}

/// Lines "name: value". Of the headers that are the client's own, those that are `allowed` may be among them.
pub(crate) fn headers(lines: Option<&str>, allowed: &[&str]) -> Result<Headers> {
    let mut headers = Vec::new();
    for line in lines.into_iter().flat_map(|lines| lines.split('\n')) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(invalid("a header line has no ':'"));
        };
        let name = name.to_ascii_lowercase();
        let value = value.trim_matches([' ', '\t']);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(invalid("a header's name is malformed"));
        }
        if value.chars().any(|char| char.is_control() && char != '\t') {
            return Err(invalid("a header's value has a line break or another control character"));
        }
        // Some services do not tell the two apart.
        let read = name.replace('_', "-");
        let own = OWN_HEADERS.contains(&read.as_str()) || read.starts_with("x-amz-");
        if OVERRIDES.contains(&read.as_str()) {
            return Err(invalid(&format!("the header {name} would ask for something else than is allowed")));
        }
        if own && !allowed.contains(&name.as_str()) {
            return Err(invalid(&format!("the header {name} is set by the platform")));
        }
        if headers.len() == MAX_HEADERS {
            return Err(invalid("it has more than 64 headers"));
        }
        headers.push((name, value.to_owned()));
    }
    Ok(headers)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_one_range(range: &str) -> bool {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return false;
    };
    let number = |text: &str| text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    number(first) && number(last) && !(first.is_empty() && last.is_empty())
}

pub(crate) fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the request is not usable: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> Address {
        Address::parse("s3://models").unwrap()
    }

    #[test]
    fn parses_a_request() {
        let request =
            Request::parse(&s3(), b"PUT a b\nContent-Type:  text/plain \nif-match: \"x\"\n\nbody\n\nmore").unwrap();
        assert_eq!(request.verb, "PUT");
        assert_eq!(request.path, "/a%20b");
        assert_eq!(request.content, "PUT s3://models/a%20b");
        assert_eq!(request.url(), "s3://models/a%20b");
        assert_eq!(
            request.headers,
            [("content-type".to_owned(), "text/plain".to_owned()), ("if-match".to_owned(), "\"x\"".to_owned())]
        );
        assert_eq!(&request.body[..], b"body\n\nmore");
        assert!(request.idempotent);
        assert!(!Request::parse(&s3(), b"POST x\n\n").unwrap().idempotent);
    }

    #[test]
    fn a_head_may_end_with_the_packet() {
        for raw in ["GET weights", "GET weights\n", "GET weights\n\n", "GET /weights\n\n"] {
            assert_eq!(Request::parse(&s3(), raw.as_bytes()).unwrap().content, "GET s3://models/weights", "{raw:?}");
        }
    }

    #[test]
    fn an_absolute_request_names_its_address() {
        let (address, request) = Request::parse_absolute(b"GET http://H:80/a?b=c\naccept: x\n\n").unwrap();
        assert_eq!(address.to_string(), "http://h");
        assert_eq!(request.content, "GET http://h/a?b=c");
        assert_eq!(Request::parse_absolute(b"GET s3://models\n\n").unwrap().1.content, "GET s3://models/");
    }

    #[test]
    fn a_range_is_other_content() {
        let request = Request::parse(&s3(), b"GET k\nRange: bytes=0-99\n\n").unwrap();
        assert_eq!(request.content, "GET s3://models/k#bytes=0-99");
        assert_eq!(request.url(), "s3://models/k");
        for bad in ["bytes=0-1,3-4", "bytes=-", "bytes=a-b", "lines=1-2"] {
            assert!(Request::parse(&s3(), format!("GET k\nrange: {bad}\n\n").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_the_platforms_and_what_would_smuggle() {
        for raw in [
            "",
            "GET",
            "get x\n\n",
            "CONNECT x\n\n",
            "GET x\nHost: evil\n\n",
            "GET x\nX-Amz-Acl: public-read\n\n",
            "GET x\nAuthorization: y\n\n",
            "GET x\nConnection: close\n\n",
            "GET x\nTransfer-Encoding: chunked\n\n",
            "GET x\nContent-Length: 3\n\n",
            "GET x\nUpgrade: h2c\n\n",
            "GET x\nContent_Length: 3\n\n",
            "GET x\nX_Amz_Acl: public-read\n\n",
            "GET x\nX-HTTP-Method-Override: DELETE\n\n",
            "GET x\nx_http_method: PUT\n\n",
            "GET x\nX-Original-URL: /secret\n\n",
            "GET x\na: b\rHost: evil\n\n",
            "GET x\r\nHost: evil\r\n\r\n",
            "GET x\na b: c\n\n",
            "GET x\n: c\n\n",
            "GET x\nno colon\n\n",
            "GET x\na: b\0\n\n",
            "GET x y\x01\n\n",
        ] {
            assert!(Request::parse(&s3(), raw.as_bytes()).is_err(), "{raw:?}");
        }
        assert!(Request::parse(&s3(), b"GET \xff\n\n").is_err());
        assert!(Request::parse(&s3(), format!("GET x\na: {}\n\n", "y".repeat(20_000)).as_bytes()).is_err());
        assert!(Request::parse(&s3(), format!("GET x\n{}\n", "a: b\n".repeat(65)).as_bytes()).is_err());
    }
}

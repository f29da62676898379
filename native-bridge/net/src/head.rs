//! The head of an answer: parsed by `httparse`, bounded, and what it says of the body.

use httparse::Status;

use crate::failure::Failure;

/// Status and headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    /// Names in lower case, in the order they came; at most 100, 16 KiB together.
    pub headers: Vec<(String, String)>,
    /// How many bytes of body follow, when that is known: 0 for an answer without a body (HEAD, 204, 304).
    pub content_length: Option<u64>,
}

impl ResponseHead {
    /// The head of an answer of a protocol without headers.
    pub(crate) fn plain(status: u16, length: u64) -> Self {
        Self { status, headers: Vec::new(), content_length: Some(length) }
    }

    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header, also of one that lists several.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(header, _)| header == name)
            .flat_map(|(_, value)| value.split(','))
            .map(|value| value.trim_matches([' ', '\t']))
    }
}

/// Bytes of a head.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    Close,
}

/// A parsed head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) head: ResponseHead,
    pub(crate) framing: Framing,
    /// Whether the connection can be used again after the body.
    pub(crate) keep_alive: bool,
}

/// The length of the head that `bytes` begins with, `None` while it is incomplete.
pub(crate) fn find(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::Response::new(&mut headers).parse(bytes) {
        Ok(Status::Complete(length)) => Ok(Some(length)),
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(Failure::bad_reply(&error.to_string())),
    }
}

/// Parses a whole head, the answer to a request of `verb`.
pub(crate) fn parse(bytes: &[u8], verb: &str) -> Result<Head, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(Failure::bad_reply("its head is incomplete")),
        Err(error) => return Err(Failure::bad_reply(&error.to_string())),
    }
    let status = response.code.unwrap_or_default();
    if !(100..=999).contains(&status) {
        return Err(Failure::bad_reply("its status is no number of three digits"));
    }
    let headers = response
        .headers
        .iter()
        .map(|field| (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned()))
        .collect();
    let mut head = ResponseHead { status, headers, content_length: None };

    let length = content_length(&head)?;
    let codings: Vec<&str> = head.values("transfer-encoding").collect();
    let framing = if verb == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
        Framing::Length(0)
    } else if !codings.is_empty() {
        // Two different ends of one body: the classic of request smuggling.
        if length.is_some() || response.version == Some(0) {
            return Err(Failure::bad_reply("it has both a length and a transfer coding"));
        }
        match codings[..] {
            [coding] if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
            _ => return Err(Failure::bad_reply("its transfer coding is not chunked")),
        }
    } else {
        length.map_or(Framing::Close, Framing::Length)
    };
    head.content_length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::Close => None,
    };
    let says = |token: &str| head.values("connection").any(|value| value.eq_ignore_ascii_case(token));
    let keep_alive = framing != Framing::Close
        && match response.version {
            Some(1) => !says("close"),
            _ => says("keep-alive"),
        };
    Ok(Head { head, framing, keep_alive })
}

fn content_length(head: &ResponseHead) -> Result<Option<u64>, Failure> {
    let mut length = None;
    for value in head.values("content-length") {
        let plain = (1..=19).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = plain.then(|| value.parse::<u64>().ok()).flatten() else {
            return Err(Failure::bad_reply("its content-length is no number"));
        };
        if length.is_some_and(|other| other != number) {
            return Err(Failure::bad_reply("it has two different content-lengths"));
        }
        length = Some(number);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str, verb: &str) -> Framing {
        parse(head.as_bytes(), verb).unwrap().framing
    }

    #[test]
    fn knows_where_bodies_end() {
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET"), Framing::Length(5));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"), Framing::Length(0));
        assert_eq!(framing("HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", "GET"), Framing::Length(0));
        assert_eq!(framing("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), Framing::Length(0));
        assert_eq!(framing("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", "GET"), Framing::Chunked);
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", "GET"), Framing::Close);
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "GET"), Framing::Length(5));
    }

    #[test]
    fn knows_whether_a_connection_stays() {
        let keep = |head: &str| parse(head.as_bytes(), "GET").unwrap().keep_alive;
        assert!(keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn refuses_ambiguous_lengths() {
        for head in [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5, 6",
            "content-length: +5",
            "content-length: -1",
            "content-length:",
            "content-length: 0x5",
            "content-length: 99999999999999999999",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked, chunked",
            "transfer-encoding: identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            assert!(parse(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), "GET").is_err(), "{head}");
        }
        assert!(parse(b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "GET").is_err());
        assert!(parse(b"HTTP/1.1 099 OK\r\n\r\n", "GET").is_err());
    }

    #[test]
    fn bounds_the_number_of_headers() {
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert!(find(head.as_bytes()).is_err());
        assert_eq!(find(b"HTTP/1.1 200 OK\r\na: b\r\n").unwrap(), None);
        assert!(find(b"SSH-2.0-x\r\n").is_err());
    }
}

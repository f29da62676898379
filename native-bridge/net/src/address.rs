//! Where a request goes: `s3://bucket`, `https://host`, `redis://host:port`, `tcp://host:port?frame=u32` and their like.

use std::fmt;

use headstart_base::{Error, ErrorCode, Result};

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// S3: `host` is the bucket; the endpoint and the credentials are the tenant's [`Store`](crate::Store).
    S3,
    Http,
    Https,
    /// SQS: `host` is the queue's name; endpoint and credentials as for S3.
    Sqs,
    Grpc,
    Grpcs,
    Redis,
    Rediss,
    Memcached,
    Tcp(Frame),
    Tcps(Frame),
}

/// Where a message of a plain TCP service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Not said: a connection that is only handed over.
    Unknown,
    /// A length before it: 4 bytes, the highest first.
    U32,
    /// A line feed behind it.
    Line,
    /// Each has so many bytes.
    Fixed(u32),
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Http => "http",
            Self::Https => "https",
            Self::Sqs => "sqs",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
            Self::Redis => "redis",
            Self::Rediss => "rediss",
            Self::Memcached => "memcached",
            Self::Tcp(_) => "tcp",
            Self::Tcps(_) => "tcps",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "s3" => Self::S3,
            "http" => Self::Http,
            "https" => Self::Https,
            "sqs" => Self::Sqs,
            "grpc" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            "redis" => Self::Redis,
            "rediss" => Self::Rediss,
            "memcached" => Self::Memcached,
            "tcp" => Self::Tcp(Frame::Unknown),
            "tcps" => Self::Tcps(Frame::Unknown),
            _ => return None,
        })
    }

    /// The port that an address without one has; 0 where there is none: S3 and SQS have their endpoint's, tcp must name it.
    pub fn default_port(self) -> u16 {
        match self {
            Self::S3 | Self::Sqs | Self::Tcp(_) | Self::Tcps(_) => 0,
            Self::Http | Self::Grpc => 80,
            Self::Https | Self::Grpcs => 443,
            Self::Redis | Self::Rediss => 6379,
            Self::Memcached => 11211,
        }
    }

    /// Whether a connection to it is an instance's own (a [`Session`](crate::Session)), and not one of a pool's.
    pub fn is_session(self) -> bool {
        matches!(self, Self::Redis | Self::Rediss | Self::Memcached | Self::Tcp(_) | Self::Tcps(_))
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs | Self::Rediss | Self::Tcps(_))
    }

    /// Whether its addresses are names in a store of the operator's, which is where the connection goes.
    pub fn needs_store(self) -> bool {
        matches!(self, Self::S3 | Self::Sqs)
    }

    /// Whether its requests are HTTP/1.1.
    pub(crate) fn is_http1(self) -> bool {
        matches!(self, Self::S3 | Self::Sqs | Self::Http | Self::Https)
    }
}

/// A destination in its one canonical form: lower-case host, default port left out when displayed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub scheme: Scheme,
    /// A name, an IPv4 address or an IPv6 address without brackets; for S3 the bucket, for SQS the queue.
    pub host: String,
    /// 0 for S3 and SQS.
    pub port: u16,
}

const MAX_HOST: usize = 253;
/// Bytes of a message of fixed length.
const MAX_FIXED: u32 = 64 << 20;
const KINDS: &str = "s3, sqs, http, https, grpc, grpcs, redis, rediss, memcached, tcp or tcps";

impl Address {
    /// Parses an address without a path ("s3://bucket", "http://h:p"; one trailing slash may follow). Only tcp has something
    /// behind its port: "?frame=u32", "?frame=line" or "?frame=fixed:N".
    ///
    /// `invalidArgument` for what is no address.
    pub fn parse(text: &str) -> Result<Self> {
        match Self::split(text)? {
            (address, "" | "/") => Ok(address),
            _ => Err(invalid(text, "an address has no path: put it in the request")),
        }
    }

    /// Splits "scheme://authority/path" into the address and what begins with the path's slash (empty if there is none).
    pub fn split(url: &str) -> Result<(Self, &str)> {
        let Some((name, rest)) = url.split_once("://") else {
            return Err(invalid(url, "it should look like s3://bucket, https://host or redis://host:port"));
        };
        let Some(mut scheme) = Scheme::named(&name.to_ascii_lowercase()) else {
            return Err(invalid(url, &format!("its kind is unknown: use {KINDS}")));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, mut path) = rest.split_at(end);
        if let Scheme::Tcp(frame) | Scheme::Tcps(frame) = &mut scheme
            && let Some(query) = path.strip_prefix('?')
        {
            let end = query.find('/').unwrap_or(query.len());
            *frame = Frame::parse(&query[..end])
                .ok_or_else(|| invalid(url, "its framing should be frame=u32, frame=line or frame=fixed:BYTES"))?;
            path = &query[end..];
        }
        Ok((Self::authority(scheme, authority, url)?, path))
    }

    /// The address without its framing: where it is, as rules and contents say it.
    pub fn place(&self) -> Self {
        let scheme = match self.scheme {
            Scheme::Tcp(_) => Scheme::Tcp(Frame::Unknown),
            Scheme::Tcps(_) => Scheme::Tcps(Frame::Unknown),
            other => other,
        };
        Self { scheme, host: self.host.clone(), port: self.port }
    }

    fn authority(scheme: Scheme, authority: &str, text: &str) -> Result<Self> {
        if authority.contains('@') {
            return Err(invalid(text, "credentials do not belong in an address: name a secret in headstart.toml"));
        }
        if scheme == Scheme::S3 {
            return match is_bucket(authority) {
                true => Ok(Self { scheme, host: authority.to_owned(), port: 0 }),
                false => Err(invalid(text, "a bucket's name is 1 to 63 characters of a-z, 0-9, '.', '-' and '_'")),
            };
        }
        if scheme == Scheme::Sqs {
            return match is_queue(authority) {
                true => Ok(Self { scheme, host: authority.to_owned(), port: 0 }),
                false => {
                    Err(invalid(text, "a queue's name is 1 to 80 letters, digits, '-' and '_', and may end with .fifo"))
                }
            };
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| invalid(text, "']' is missing"))?;
                let Ok(ip) = host.parse::<std::net::Ipv6Addr>() else {
                    return Err(invalid(text, "what is in brackets is no IPv6 address"));
                };
                let port = match port.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if port.is_empty() => None,
                    None => return Err(invalid(text, "only a port can follow ']'")),
                };
                (ip.to_string(), port)
            }
            None => {
                let (host, port) = match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                };
                if !is_host(host) {
                    return Err(invalid(text, "its host is no name or address"));
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port {
            None if scheme.default_port() == 0 => return Err(invalid(text, "its port is missing")),
            None => scheme.default_port(),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                match digits.parse::<u16>() {
                    Ok(port) if port > 0 => port,
                    _ => return Err(invalid(text, "its port is not between 1 and 65535")),
                }
            }
            Some(_) => return Err(invalid(text, "its port is no number")),
        };
        Ok(Self { scheme, host, port })
    }

    /// What the Host header says: the host, and the port if it is not the default one.
    pub fn host_header(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == self.scheme.default_port() {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.name(), self.host_header())?;
        match self.scheme {
            Scheme::Tcp(frame) | Scheme::Tcps(frame) => write!(out, "{frame}"),
            _ => Ok(()),
        }
    }
}

impl Frame {
    /// Parses "frame=u32", "frame=line" or "frame=fixed:N".
    fn parse(query: &str) -> Option<Self> {
        match query.strip_prefix("frame=")? {
            "u32" => Some(Self::U32),
            "line" => Some(Self::Line),
            other => {
                let digits = other.strip_prefix("fixed:")?;
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let bytes = digits.parse().ok().filter(|bytes| plain && (1..=MAX_FIXED).contains(bytes))?;
                Some(Self::Fixed(bytes))
            }
        }
    }
}

/// As it stands in an address, with the question mark.
impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::U32 => out.write_str("?frame=u32"),
            Self::Line => out.write_str("?frame=line"),
            Self::Fixed(bytes) => write!(out, "?frame=fixed:{bytes}"),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && !name.contains("..")
}

fn is_queue(name: &str) -> bool {
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    !plain.is_empty()
        && name.len() <= 80
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_host(name: &str) -> bool {
    (1..=MAX_HOST).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

fn invalid(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::new(ErrorCode::InvalidArgument, format!("{shown:?} is no usable address: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> ErrorCode {
        Address::parse(text).unwrap_err().code
    }

    #[test]
    fn has_one_canonical_form() {
        for (given, canonical) in [
            ("s3://models", "s3://models"),
            ("s3://models/", "s3://models"),
            ("HTTP://Example.COM:80", "http://example.com"),
            ("http://example.com:8080/", "http://example.com:8080"),
            ("https://h:443", "https://h"),
            ("https://h:80", "https://h:80"),
            ("http://[0:0::1]:9000", "http://[::1]:9000"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1"),
            ("sqs://Jobs_1.fifo", "sqs://Jobs_1.fifo"),
            ("redis://H:6379/", "redis://h"),
            ("rediss://h:6380", "rediss://h:6380"),
            ("memcached://h", "memcached://h"),
            ("grpcs://h:443", "grpcs://h"),
            ("tcp://h:1", "tcp://h:1"),
            ("tcp://H:01?frame=u32", "tcp://h:1?frame=u32"),
            ("tcps://[::1]:1?frame=fixed:016/", "tcps://[::1]:1?frame=fixed:16"),
            ("tcp://h:1?frame=line", "tcp://h:1?frame=line"),
        ] {
            let address = Address::parse(given).unwrap();
            assert_eq!(address.to_string(), canonical);
            assert_eq!(Address::parse(canonical).unwrap(), address);
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            "models",
            "s3:/models",
            "s3://",
            "s3://..",
            "s3://a..b",
            "s3://A",
            "s3://a b",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:65536",
            "http://h:+1",
            "http://h:",
            "http://u@h",
            "http://h/x",
            "http://h?x",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "http://h\r\n",
            "gopher://h",
            "file:///x",
            "sqs://",
            "sqs://.fifo",
            "sqs://a b",
            "sqs://a.b",
            "tcp://h",
            "tcp://h:1?frame=none",
            "tcp://h:1?frame=fixed:0",
            "tcp://h:1?frame=fixed:+1",
            "tcp://h:1?frame=fixed:99999999999",
            "tcp://h:1?frame=u32&x=1",
            "redis://h?db=1",
            "redis://u:p@h",
            "grpc://h/x",
            "http://é",
        ] {
            assert_eq!(code(text), ErrorCode::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn splits_a_url() {
        let (address, path) = Address::split("s3://models/a/b?x=1").unwrap();
        assert_eq!((address.to_string().as_str(), path), ("s3://models", "/a/b?x=1"));
        assert_eq!(Address::split("http://h:1").unwrap().1, "");
        let (address, path) = Address::split("tcp://h:1?frame=u32/x").unwrap();
        assert_eq!((address.to_string().as_str(), path), ("tcp://h:1?frame=u32", "/x"));
        assert_eq!(address.place().to_string(), "tcp://h:1");
    }
}

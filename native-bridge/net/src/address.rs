//! Where a request goes: `s3://bucket`, `http://host:port`, `https://host`.

use std::fmt;

use headstart_base::{Error, ErrorCode, Result};

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// S3: `host` is the bucket; the endpoint and the credentials are the tenant's [`Store`](crate::Store).
    S3,
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that an address without one has; 0 for S3, whose port is its endpoint's.
    pub fn default_port(self) -> u16 {
        match self {
            Self::S3 => 0,
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A destination in its one canonical form: lower-case host, default port left out when displayed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub scheme: Scheme,
    /// A name, an IPv4 address or an IPv6 address without brackets; for S3 the bucket.
    pub host: String,
    /// 0 for S3.
    pub port: u16,
}

/// The schemes of the API that this client does not speak.
const OTHER_SCHEMES: [&str; 7] = ["sqs", "redis", "rediss", "memcached", "tcp", "tcps", "file"];
const MAX_HOST: usize = 253;

impl Address {
    /// Parses an address without a path ("s3://bucket", "http://h:p"; one trailing slash may follow).
    ///
    /// `unsupported` for a scheme that is not spoken here, `invalidArgument` for what is no address.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = Self::scheme(text)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(invalid(text, "an address has no path: put it in the request"));
        }
        Self::authority(scheme, authority, text)
    }

    /// Splits "scheme://authority/path" into the address and what begins with the path's slash (empty if there is none).
    pub fn split(url: &str) -> Result<(Self, &str)> {
        let (scheme, rest) = Self::scheme(url)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Ok((Self::authority(scheme, authority, url)?, path))
    }

    fn scheme(text: &str) -> Result<(Scheme, &str)> {
        let Some((name, rest)) = text.split_once("://") else {
            return Err(invalid(text, "it should look like s3://bucket, http://host:port or https://host"));
        };
        match name.to_ascii_lowercase().as_str() {
            "s3" => Ok((Scheme::S3, rest)),
            "http" => Ok((Scheme::Http, rest)),
            "https" => Ok((Scheme::Https, rest)),
            other if OTHER_SCHEMES.contains(&other) => Err(Error::new(
                ErrorCode::Unsupported,
                format!("addresses of the kind {other}:// are not supported here: use s3://, http:// or https://"),
            )),
            _ => Err(invalid(text, "its kind is unknown: use s3://, http:// or https://")),
        }
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
        write!(out, "{}://{}", self.scheme.name(), self.host_header())
    }
}

fn is_bucket(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && !name.contains("..")
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
        ] {
            let address = Address::parse(given).unwrap();
            assert_eq!(address.to_string(), canonical);
            assert_eq!(Address::parse(canonical).unwrap(), address);
        }
    }

    #[test]
    fn says_which_schemes_are_unsupported() {
        for text in ["sqs://q", "redis://h:6379", "memcached://h", "tcp://h:1?frame=none", "tcps://h:1"] {
            assert_eq!(code(text), ErrorCode::Unsupported, "{text}");
        }
        assert!(Address::parse("redis://h").unwrap_err().message.contains("use s3://"));
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
    }
}

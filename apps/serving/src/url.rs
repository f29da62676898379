//! Where a shard lies, and what its request is called.

use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Memcached,
}

/// "http://10.213.255.1:7001/shards/0", "memcached://10.213.255.1:11211/key".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// "host:port"
    pub authority: String,
    /// Of HTTP with its slash; a memcached key without.
    pub path: String,
    text: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::Url(text.chars().take(200).collect());
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let (scheme, path) = match scheme {
            "http" => (Scheme::Http, format!("/{path}")),
            "memcached" if path.len() <= 250 => (Scheme::Memcached, path.to_owned()),
            _ => return Err(wrong()),
        };
        if port.is_none() || !plain(authority) || !plain(&path) {
            return Err(wrong());
        }
        Ok(Self { scheme, authority: authority.to_owned(), path, text: text.to_owned() })
    }

    /// What its request is, as the initscript's messages are called: "GET http://…" or "MG memcached://…".
    pub fn content(&self) -> String {
        let verb = match self.scheme {
            Scheme::Http => "GET",
            Scheme::Memcached => "MG",
        };
        format!("{verb} {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_here() {
        let peer = Url::parse("http://10.0.0.1:7001/shards/0").unwrap();
        assert_eq!((peer.scheme, &*peer.authority, &*peer.path), (Scheme::Http, "10.0.0.1:7001", "/shards/0"));
        assert_eq!(peer.content(), "GET http://10.0.0.1:7001/shards/0");
        let value = Url::parse("memcached://h:11211/vectors/3").unwrap();
        assert_eq!((value.scheme, &*value.path), (Scheme::Memcached, "vectors/3"));
        assert_eq!(value.content(), "MG memcached://h:11211/vectors/3");
    }

    #[test]
    fn what_is_not() {
        let long = format!("memcached://h:1/{}", "k".repeat(251));
        let texts = ["", "http://", "http://h/x", "http://h:1", "http://:x/", "https://h:1/x", "http://h:1/a b"];
        for text in texts.into_iter().chain(["http://h:1/\r\nx", "memcached://h:1/", "http://h:99999/x", &long]) {
            assert!(matches!(Url::parse(text), Err(Error::Url(_))), "{text}");
        }
    }
}

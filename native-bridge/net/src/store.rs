//! A service's endpoint and the credentials for it, as the node's secrets name them.

use std::fmt;

use headstart_base::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use crate::address::{Address, Scheme};
use crate::sigv4::Signer;

/// A store of the operator's: S3, SQS or Redis. Neither an initscript nor an application ever sees one; `Debug` prints no
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    pub(crate) endpoint: Address,
    pub(crate) credentials: Credentials,
}

/// How one says who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Requests are signed (S3, SQS).
    Keys { region: String, access_key: String, secret_key: Zeroizing<String> },
    /// A connection begins with it (Redis).
    Login { user: String, password: Zeroizing<String> },
}

impl Store {
    /// A service at `endpoint` ("http://host:port" or "https://host") whose requests are signed: S3, spoken to with path-style
    /// URLs, or SQS.
    pub fn new(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Result<Self> {
        let endpoint = Address::parse(endpoint)?;
        if !matches!(endpoint.scheme, Scheme::Http | Scheme::Https) {
            return Err(Error::new(ErrorCode::InvalidArgument, "a store's endpoint begins with http:// or https://"));
        }
        for (name, value) in [("region", region), ("access_key", access_key)] {
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b',' | b'=');
            if value.is_empty() || !value.bytes().all(plain) {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!("the store's {name} is empty or malformed"),
                ));
            }
        }
        if secret_key.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "the store's secret_key is empty"));
        }
        let credentials = Credentials::Keys {
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: Zeroizing::new(secret_key.to_owned()),
        };
        Ok(Self { endpoint, credentials })
    }

    /// A Redis server at `endpoint` ("redis://host:port" or "rediss://…"); without a user it is "default", without a password
    /// nothing is asked of it.
    pub fn login(endpoint: &str, user: &str, password: &str) -> Result<Self> {
        let endpoint = Address::parse(endpoint)?;
        if !matches!(endpoint.scheme, Scheme::Redis | Scheme::Rediss) {
            let message = "a Redis server's endpoint begins with redis:// or rediss://";
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let user = if user.is_empty() { "default" } else { user };
        Ok(Self {
            endpoint,
            credentials: Credentials::Login { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) },
        })
    }

    /// Whether requests to the address go to this store. What has a host of its own must name the store's.
    pub fn serves(&self, address: &Address) -> bool {
        match &self.credentials {
            Credentials::Keys { .. } => address.scheme.needs_store(),
            Credentials::Login { .. } => self.endpoint == *address,
        }
    }

    /// Who signs requests to a service, if they are signed.
    pub(crate) fn signer<'a>(&'a self, service: &'a str) -> Option<Signer<'a>> {
        match &self.credentials {
            Credentials::Keys { region, access_key, secret_key } => {
                Some(Signer { access_key, secret_key, region, service })
            }
            Credentials::Login { .. } => None,
        }
    }

    /// User and password, if it has any.
    pub(crate) fn user(&self) -> Option<(&str, &str)> {
        match &self.credentials {
            Credentials::Login { user, password } if !password.is_empty() => Some((user, password)),
            _ => None,
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Address {
        &self.endpoint
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Store").field("endpoint", &self.endpoint.to_string()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let store = Store::new("http://h:9000", "us-east-1", "AKID", "hunter2").unwrap();
        let login = Store::login("redis://h", "", "hunter2").unwrap();
        assert!(!format!("{login:?}").contains("hunter2"));
        let text = format!("{store:?}");
        assert!(text.contains("http://h:9000") && !text.contains("hunter2") && !text.contains("AKID"), "{text}");
    }

    #[test]
    fn refuses_a_wrong_endpoint_and_empty_fields() {
        assert!(Store::new("s3://b", "r", "a", "s").is_err());
        assert!(Store::login("http://h", "u", "p").is_err() && Store::new("redis://h", "r", "a", "s").is_err());
        assert!(Store::new("http://h", "", "a", "s").is_err());
        assert!(Store::new("http://h", "r", "a b", "s").is_err());
        assert!(Store::new("http://h", "r", "a", "").is_err());
    }
}

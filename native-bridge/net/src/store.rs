//! An S3 endpoint and the credentials for it, as the node's secrets file names them.

use std::fmt;

use headstart_base::{Error, ErrorCode, Result};

use crate::address::{Address, Scheme};

/// An S3 store. Neither an initscript nor an application ever sees one; `Debug` prints no secret.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Fields")]
pub struct Store {
    pub(crate) endpoint: Address,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// As it stands in secrets.toml.
#[derive(serde::Deserialize)]
struct Fields {
    endpoint: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl TryFrom<Fields> for Store {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        Self::new(&fields.endpoint, &fields.region, &fields.access_key, &fields.secret_key)
    }
}

impl Store {
    /// A store at `endpoint` ("http://host:port" or "https://host"), spoken to with path-style URLs.
    pub fn new(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Result<Self> {
        let endpoint = Address::parse(endpoint)?;
        if endpoint.scheme == Scheme::S3 {
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
        Ok(Self {
            endpoint,
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Address {
        &self.endpoint
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Store")
            .field("endpoint", &self.endpoint.to_string())
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let store = Store::new("http://h:9000", "us-east-1", "AKID", "hunter2").unwrap();
        let text = format!("{store:?}");
        assert!(text.contains("http://h:9000") && !text.contains("hunter2") && !text.contains("AKID"), "{text}");
    }

    #[test]
    fn refuses_a_wrong_endpoint_and_empty_fields() {
        assert!(Store::new("s3://b", "r", "a", "s").is_err());
        assert!(Store::new("http://h", "", "a", "s").is_err());
        assert!(Store::new("http://h", "r", "a b", "s").is_err());
        assert!(Store::new("http://h", "r", "a", "").is_err());
    }
}

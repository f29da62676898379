//! A request.

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};

use crate::address::Address;

/// A request in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub verb: String,
    /// Canonical path with its query, beginning with "/".
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What it is, for claims: "GET s3://models/weights".
    pub content: String,
    pub idempotent: bool,
}

impl Request {
    /// Parses "VERB path\nname: value\n\nbody".
    pub fn parse(_address: &Address, _raw: &[u8]) -> Result<Self> {
        Err(Error::new(ErrorCode::Unsupported, ""))
    }

    /// Parses "VERB address/path\nname: value\n\nbody".
    pub fn parse_absolute(_raw: &[u8]) -> Result<(Address, Self)> {
        Err(Error::new(ErrorCode::Unsupported, ""))
    }
}

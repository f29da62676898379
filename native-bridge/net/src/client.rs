//! The client.

use std::net::SocketAddr;
use std::time::Instant;

use headstart_base::{Error, ErrorCode, Result};

use crate::address::Address;
use crate::body::BodySink;
use crate::config::ClientConfig;
use crate::head::ResponseHead;
use crate::request::Request;
use crate::store::Store;

/// The steps of a request, told as they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is a connection; `reused` if it was kept from before.
    Connected { reused: bool },
    /// The first byte of the request is with the kernel.
    Sent { attempt: u16, reused: bool },
    /// The first byte of the answer is there.
    FirstByte,
}

/// A finished request.
#[derive(Clone, Debug)]
pub struct Done {
    pub head: ResponseHead,
    /// Bytes of body.
    pub length: u64,
    pub attempts: u16,
}

/// Sends requests over connections that it keeps per tenant and destination. Cheap to clone.
#[derive(Clone)]
pub struct Client {}

impl Client {
    pub fn new(_config: ClientConfig) -> Self {
        Self {}
    }

    /// Begins to open a connection now, unless one is kept or under way. Needs a tokio runtime; never waits.
    pub fn warm(&self, _tenant: &str, _address: &Address, _store: Option<&Store>) {}

    /// Sends a request and receives its answer into `sink`.
    #[allow(clippy::too_many_arguments)]
    pub async fn send(
        &self,
        _tenant: &str,
        _address: &Address,
        _store: Option<&Store>,
        _request: &Request,
        _deadline: Instant,
        _sink: &mut dyn BodySink,
        _progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        Err(Error::new(ErrorCode::Unsupported, ""))
    }

    /// The addresses of a host.
    pub async fn resolve(&self, _host: &str, _port: u16) -> Result<Vec<SocketAddr>> {
        Err(Error::new(ErrorCode::Unsupported, ""))
    }
}

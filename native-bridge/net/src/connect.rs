//! Opening connections.

use std::net::SocketAddr;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use tokio::net::TcpStream;

use crate::address::{Address, Scheme};
use crate::pool::Key;
use crate::quota::{Permit, Quotas};
use crate::reach::Reach;
use crate::resolve::Resolver;
use crate::stream::Stream;
use crate::tls::Tls;

/// Opens connections to endpoints: name, TCP, TLS.
pub(crate) struct Connector {
    pub(crate) resolver: Resolver,
    pub(crate) tls: Tls,
    /// For all of one opening.
    pub(crate) timeout: Duration,
    pub(crate) reach: Reach,
    pub(crate) quotas: Quotas,
}

impl Connector {
    /// Opens a connection to an endpoint (`http` or `https`).
    ///
    /// `nameNotResolved`, `connectFailed`, `tlsFailed`, `quotaExceeded`, or `egressDenied` where no tenant may reach.
    pub(crate) async fn open(&self, Key { tenant, endpoint, is_store }: &Key) -> Result<Stream> {
        let permit = self.quotas.take(tenant)?;
        tokio::time::timeout(self.timeout, self.try_open(endpoint, *is_store, permit)).await.unwrap_or_else(|_| {
            let ms = self.timeout.as_millis();
            Err(Error::new(ErrorCode::ConnectFailed, format!("{endpoint} did not accept a connection within {ms} ms")))
        })
    }

    async fn try_open(&self, endpoint: &Address, is_store: bool, permit: Permit) -> Result<Stream> {
        let addresses = self.addresses(endpoint, is_store).await?;
        // Each address but the last gets its share of the time, so that one that swallows packets is no end.
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failed = Error::new(ErrorCode::NameNotResolved, format!("{endpoint} has no address"));
        for address in addresses {
            let why = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return self.secure(endpoint, tcp, permit).await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            failed = Error::new(ErrorCode::ConnectFailed, format!("cannot connect to {endpoint} ({address}): {why}"));
        }
        Err(failed)
    }

    /// Where an endpoint is: at least one address, and all of them allowed. What a name means is asked once, and what is
    /// connected to is one of these.
    pub(crate) async fn addresses(&self, endpoint: &Address, is_store: bool) -> Result<Vec<SocketAddr>> {
        let addresses = self.resolver.resolve(&endpoint.host, endpoint.port).await?;
        let host = (!is_store).then_some(&endpoint.host[..]);
        match addresses.iter().find(|address| !self.reach.allows(address.ip(), host)) {
            None => Ok(addresses),
            Some(address) => {
                let why = self.reach.refusal(address.ip());
                let message = format!("{endpoint} ({address}) is not for functions: {why}");
                Err(Error::new(ErrorCode::EgressDenied, message))
            }
        }
    }

    async fn secure(&self, endpoint: &Address, tcp: TcpStream, permit: Permit) -> Result<Stream> {
        tcp.set_nodelay(true)
            .map_err(|error| Error::new(ErrorCode::ConnectFailed, format!("cannot set TCP_NODELAY: {error}")))?;
        match endpoint.scheme.is_tls() {
            true => {
                let http2 = endpoint.scheme == Scheme::Grpcs;
                Ok(Stream::tls(self.tls.connect(&endpoint.host, tcp, http2).await?, Some(permit)))
            }
            false => Ok(Stream::plain(tcp, Some(permit))),
        }
    }
}

//! Names to addresses, with a short memory.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};

const MAX_ENTRIES: usize = 1024;
const MAX_ADDRESSES: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves names with the system's resolver and believes an answer for a while. Failures are not remembered.
pub(crate) struct Resolver {
    ttl: Duration,
    known: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Resolver {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, known: Mutex::default() }
    }

    /// The addresses of a host, IPv4 first; at least one. `nameNotResolved` when there is none.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let at = |ips: &[IpAddr]| ips.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        if let Some(ips) = self.remembered(host) {
            return Ok(at(&ips));
        }
        let failed = |why: &str| Error::new(ErrorCode::NameNotResolved, format!("{host} cannot be resolved: {why}"));
        let mut ips: Vec<IpAddr> = match tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => found.map(|address| address.ip()).take(MAX_ADDRESSES).collect(),
            Ok(Err(error)) => return Err(failed(&error.to_string())),
            Err(_) => return Err(failed("the name server did not answer in time")),
        };
        ips.dedup();
        ips.sort_by_key(IpAddr::is_ipv6);
        if ips.is_empty() {
            return Err(failed("it has no address"));
        }
        let addresses = at(&ips);
        self.remember(host, ips);
        Ok(addresses)
    }

    fn remembered(&self, host: &str) -> Option<Vec<IpAddr>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).filter(|(since, _)| since.elapsed() < self.ttl).map(|(_, ips)| ips.clone())
    }

    fn remember(&self, host: &str, ips: Vec<IpAddr>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ENTRIES {
            known.retain(|_, (since, _)| since.elapsed() < self.ttl);
        }
        if known.len() < MAX_ENTRIES {
            known.insert(host.to_owned(), (Instant::now(), ips));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_lookup_and_names_are_remembered() {
        let resolver = Resolver::new(Duration::from_secs(30));
        assert_eq!(resolver.resolve("::1", 80).await.unwrap(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(resolver.resolve("localhost", 80).await.unwrap()[0], "127.0.0.1:80".parse().unwrap());
        assert!(resolver.remembered("localhost").is_some());
        let error = resolver.resolve("no-such-host.invalid", 80).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NameNotResolved);
    }
}

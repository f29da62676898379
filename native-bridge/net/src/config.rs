//! The client's limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::reach::Reach;

/// Bounds on connections, waits and retries.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// For one TCP connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// From the last byte of a request to the first of its answer.
    pub first_byte_timeout: Duration,
    /// Between two pieces of a body, in either direction.
    pub stall_timeout: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// Kept connections for one tenant and destination.
    pub idle_per_destination: usize,
    /// Kept connections in all.
    pub idle_total: usize,
    /// How long a resolved name is believed.
    pub dns_ttl: Duration,
    /// How often an idempotent request is tried in all.
    pub max_attempts: u16,
    /// The wait before the second attempt after an error of the server; doubled for each further one.
    pub backoff: Duration,
    /// What of the node's own networks may be reached.
    pub reach: Reach,
    /// PEM files with certificate authorities to trust beside the system's.
    pub extra_authorities: Vec<PathBuf>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            idle_per_destination: 8,
            idle_total: 256,
            dns_ttl: Duration::from_secs(30),
            max_attempts: 3,
            backoff: Duration::from_millis(50),
            reach: Reach::Public,
            extra_authorities: Vec::new(),
        }
    }
}

//! Connections that speak HTTP/2: one per tenant and destination, for all its calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use headstart_base::{Error, ErrorCode, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;

use crate::connect::Connector;
use crate::pool::Key;
use crate::quota::Permit;
use crate::stream::Parts;

/// Bytes of headers and trailers of an answer, decoded.
const MAX_HEADERS: u32 = 16 * 1024;
/// Bytes of an answer, and of all answers on a connection, that may be under way unread.
const WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of a frame.
const MAX_FRAME: u32 = 64 * 1024;
/// Streams that we gave up and the server has not heard of yet.
const MAX_GIVEN_UP: usize = 64;

/// The kept connections. One that nobody has used for a while, or that makes room, lives on until its calls have ended.
pub(crate) struct Connections {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    total: usize,
    idle: Duration,
}

struct Slot {
    cell: OnceCell<SendRequest<Bytes>>,
    used: Mutex<Instant>,
}

impl Connections {
    pub(crate) fn new(total: usize, idle: Duration) -> Self {
        Self { slots: Mutex::default(), total, idle }
    }

    /// A connection that takes a call now, and whether it was there before. One that turns out to be dead is replaced.
    pub(crate) async fn get(&self, key: &Key, connector: &Connector) -> Result<(SendRequest<Bytes>, bool)> {
        let mut fresh = false;
        loop {
            let slot = self.slot(key);
            let reused = slot.cell.initialized();
            let sender = slot.cell.get_or_try_init(|| open(key, connector)).await?.clone();
            *lock(&slot.used) = Instant::now();
            match sender.ready().await {
                Ok(sender) => return Ok((sender, reused)),
                Err(error) => {
                    self.forget(key, &slot);
                    if fresh {
                        let message = format!("{} ended its connection: {error}", key.endpoint);
                        return Err(Error::new(ErrorCode::ConnectionReset, message));
                    }
                    fresh = !reused;
                }
            }
        }
    }

    /// Drops the connection to a destination: the next call opens another.
    pub(crate) fn close(&self, key: &Key) {
        lock(&self.slots).remove(key);
    }

    /// Drops a tenant's connections: they end with their calls.
    pub(crate) fn drop_of(&self, tenant: &str) {
        lock(&self.slots).retain(|key, _| key.tenant != tenant);
    }

    /// Drops what nobody has used for long. Answers how many are left.
    pub(crate) fn sweep(&self) -> usize {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| lock(&slot.used).elapsed() < self.idle);
        slots.len()
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= self.total {
            let oldest = slots.iter().min_by_key(|(_, slot)| *lock(&slot.used)).map(|(key, _)| key.clone());
            oldest.map(|oldest| slots.remove(&oldest));
        }
        let slot = Arc::new(Slot { cell: OnceCell::new(), used: Mutex::new(Instant::now()) });
        slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    fn forget(&self, key: &Key, slot: &Arc<Slot>) {
        let mut slots = lock(&self.slots);
        if slots.get(key).is_some_and(|kept| Arc::ptr_eq(kept, slot)) {
            slots.remove(key);
        }
    }
}

async fn open(key: &Key, connector: &Connector) -> Result<SendRequest<Bytes>> {
    match connector.open(key).await?.into_parts() {
        (Parts::Tcp(tcp), permit) => begin(key, tcp, permit).await,
        (Parts::Tls(tls), permit) => begin(key, *tls, permit).await,
    }
}

/// Begins HTTP/2. The connection's own work is a task, which ends with the connection, or when nobody holds it any more.
async fn begin(
    key: &Key,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    permit: Option<Permit>,
) -> Result<SendRequest<Bytes>> {
    let (sender, connection) = Builder::new()
        .enable_push(false)
        .max_header_list_size(MAX_HEADERS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_reset_streams(MAX_GIVEN_UP)
        .handshake(io)
        .await
        .map_err(|error| {
            Error::new(ErrorCode::ConnectionReset, format!("{} does not speak HTTP/2: {error}", key.endpoint))
        })?;
    let endpoint = key.endpoint.to_string();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(endpoint, %error, "a gRPC connection ended");
        }
        drop(permit);
    });
    Ok(sender)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

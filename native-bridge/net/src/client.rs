//! The client: finds a connection, tries, and tries again where that is safe.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use headstart_base::{Error, ErrorCode, Result};
use tokio::sync::oneshot;

use crate::address::{Address, Scheme};
use crate::body::BodySink;
use crate::config::ClientConfig;
use crate::connect::Connector;
use crate::exchange::{Answer, Exchange, Route};
use crate::failure::{Failure, Retry};
use crate::grpc::{Call, Connections};
use crate::head::ResponseHead;
use crate::pool::{Kept, Key, Pool};
use crate::quota::Quotas;
use crate::request::Request;
use crate::resolve::Resolver;
use crate::session::Session;
use crate::sigv4;
use crate::sqs;
use crate::store::Store;
use crate::stream::Stream;
use crate::text::Text;
use crate::tls::Tls;

/// The steps of a request, told as they happen; with a second attempt they begin again.
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
///
/// A request that is dropped before its end closes its connection.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    connector: Connector,
    pool: Pool,
    grpc: Connections,
    sweeping: AtomicBool,
    /// URLs of queues, by service and name.
    queues: Mutex<HashMap<(Key, String), String>>,
}

/// URLs of queues that are remembered.
const MAX_QUEUES: usize = 1024;

/// A body from here on is hashed beside the runtime's threads.
const LARGE_BODY: usize = 256 * 1024;

impl Client {
    pub fn new(config: ClientConfig) -> Self {
        let tls = Tls::new(config.extra_authorities.clone());
        let connector = Connector {
            resolver: Resolver::new(config.dns_ttl),
            tls,
            timeout: config.connect_timeout,
            reach: config.reach.clone(),
            quotas: Quotas::default(),
        };
        let pool = Pool::new(config.idle_per_destination, config.idle_total, config.idle_timeout);
        let grpc = Connections::new(config.idle_total, config.idle_timeout);
        let (sweeping, queues) = (AtomicBool::new(false), Mutex::default());
        Self { shared: Arc::new(Shared { config, connector, pool, grpc, sweeping, queues }) }
    }

    /// Begins to open a connection now, unless one is kept or under way. Must be called in a tokio runtime; never waits.
    /// What fails shows at the requests.
    pub fn warm(&self, tenant: &str, address: &Address, store: Option<&Store>) {
        if matches!(address.scheme, Scheme::Grpc | Scheme::Grpcs) {
            let (client, address, tenant) = (self.clone(), address.clone(), tenant.to_owned());
            tokio::spawn(async move {
                let key = Key { tenant, endpoint: address, is_store: false };
                drop(client.shared.grpc.get(&key, &client.shared.connector).await);
                client.sweep_later();
            });
            return;
        }
        if !address.scheme.is_http1() {
            return;
        }
        let Ok(route) = Route::new(address, store) else { return };
        let key = route.key(tenant);
        if self.shared.pool.has(&key) {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        let (shared, place) = (Arc::clone(&self.shared), key.clone());
        self.keep(key, Kept::Opening(receiver));
        tokio::spawn(async move {
            let opened = shared.connector.open(&place).await;
            // Nobody waits for it any more: it closes.
            drop(sender.send(opened));
        });
    }

    /// Opens a connection of an instance's own. For HTTP it is one of the kept ones, if there is one.
    ///
    /// Errors: `unknownSecret`, `egressDenied` (an address in the node's own network), `nameNotResolved`, `connectFailed`,
    /// `tlsFailed`, `rpcTimeout`.
    pub async fn open(
        &self,
        tenant: &str,
        address: &Address,
        store: Option<&Store>,
        deadline: Instant,
    ) -> Result<Session> {
        let route = Route::new(address, store)?;
        let key = route.key(tenant);
        let opening = async {
            let (stream, _) = self.connection(&key, address.scheme.is_session()).await?;
            let session = Session::new(address.clone(), *stream, self.shared.config.stall_timeout);
            session.greet(route.store.and_then(Store::user)).await?;
            Ok(session)
        };
        match tokio::time::timeout_at(deadline.into(), opening).await {
            Ok(session) => session,
            Err(_) => Err(Error::new(ErrorCode::RpcTimeout, format!("{address} was not reached in time"))),
        }
    }

    /// Sends a request and receives its answer into `sink`. One to a service that is no HTTP has a connection for itself.
    ///
    /// An answer of any status is `Done`. Idempotent requests are tried again, at most `max_attempts` times in all, when
    /// the connection fails or the service answers 500, 502, 503 or 504; a kept connection that turns out to be dead
    /// counts as no attempt. Errors: `unknownSecret`, `egressDenied` (an address in the node's own network), `nameNotResolved`, `connectFailed`, `tlsFailed`,
    /// `connectionReset`, `badReply`, `bodyTruncated`, `rpcTimeout`, and those of the sink.
    #[allow(clippy::too_many_arguments)]
    pub async fn send(
        &self,
        tenant: &str,
        address: &Address,
        store: Option<&Store>,
        request: &Request,
        deadline: Instant,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        if address.scheme.is_session() {
            let session = self.open(tenant, address, store, deadline).await?;
            return session.send(request, deadline, sink, progress).await;
        }
        if matches!(address.scheme, Scheme::Grpc | Scheme::Grpcs) {
            let calling = self.call(tenant, address, request, deadline, sink, progress);
            return match tokio::time::timeout_at(deadline.into(), calling).await {
                Ok(done) => done,
                Err(_) => Err(too_long(request)),
            };
        }
        let route = Route::new(address, store)?;
        let work = async {
            let as_http = match address.scheme {
                Scheme::Sqs => {
                    let url = self.queue_url(tenant, address, &route, deadline).await?;
                    Some(sqs::to_http(request, address, &url)?)
                }
                _ => None,
            };
            self.attempts(tenant, &route, as_http.as_ref().unwrap_or(request), deadline, sink, progress).await
        };
        match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(done) => done,
            Err(_) => Err(too_long(request)),
        }
    }

    /// Says how many connections a tenant may have open; `u64::MAX`: any number.
    pub fn limit_connections(&self, tenant: &str, most: u64) {
        self.shared.connector.quotas.limit(tenant, most);
    }

    /// How many connections a tenant has open: for requests, of instances' own, handed over to applications, and waiting.
    pub fn open_connections(&self, tenant: &str) -> u64 {
        self.shared.connector.quotas.open(tenant)
    }

    /// Closes what waits of a tenant's connections, and forgets what else is known of it.
    pub fn forget(&self, tenant: &str) {
        while self.shared.pool.drop_one_of(tenant) {}
        self.shared.grpc.drop_of(tenant);
        lock(&self.shared.queues).retain(|(key, _), _| key.tenant != tenant);
        self.shared.connector.quotas.forget(tenant);
    }

    /// Where an address leads, IPv4 first; at least one, and each allowed. Errors: `unknownSecret`, `nameNotResolved`,
    /// `egressDenied`.
    pub async fn resolve(&self, address: &Address, store: Option<&Store>) -> Result<Vec<SocketAddr>> {
        let route = Route::new(address, store)?;
        self.shared.connector.addresses(route.endpoint, route.store.is_some()).await
    }

    /// A gRPC call: once, and again only when the server says that it has not looked at it.
    async fn call(
        &self,
        tenant: &str,
        address: &Address,
        request: &Request,
        deadline: Instant,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        let Shared { config, grpc, connector, .. } = &*self.shared;
        let key = Key { tenant: tenant.to_owned(), endpoint: address.clone(), is_store: false };
        let mut attempt = 1;
        loop {
            let (connection, reused) = grpc.get(&key, connector).await?;
            self.sweep_later();
            progress(Progress::Connected { reused });
            let call = Call {
                endpoint: address,
                request,
                deadline: deadline.into(),
                first_byte: config.first_byte_timeout,
                stall: config.stall_timeout,
                attempt,
                reused,
            };
            match call.run(connection, sink, progress).await {
                Ok((head, length)) => return Ok(Done { head, length, attempts: attempt }),
                Err(Failure { error, retry }) => {
                    if error.code == ErrorCode::ConnectionReset || error.code == ErrorCode::BadReply {
                        grpc.close(&key);
                    }
                    if retry != Retry::Stale || attempt == config.max_attempts {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// The URL that the service has for a queue: asked once per tenant and service.
    async fn queue_url(&self, tenant: &str, queue: &Address, route: &Route<'_>, deadline: Instant) -> Result<String> {
        let key = (route.key(tenant), queue.host.clone());
        if let Some(url) = lock(&self.shared.queues).get(&key) {
            return Ok(url.clone());
        }
        let mut answer = Text::default();
        let done = self.attempts(tenant, route, &sqs::url_request(queue), deadline, &mut answer, &mut |_| {}).await?;
        let url = sqs::url(queue, done.head.status, answer.bytes())?;
        let mut queues = lock(&self.shared.queues);
        if queues.len() >= MAX_QUEUES {
            queues.clear();
        }
        queues.insert(key, url.clone());
        Ok(url)
    }

    async fn attempts(
        &self,
        tenant: &str,
        route: &Route<'_>,
        request: &Request,
        deadline: Instant,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        let config = &self.shared.config;
        let key = route.key(tenant);
        let payload = match route.signer {
            Some(_) => hash(request).await?,
            None => String::new(),
        };
        let (mut attempt, mut stale) = (0_u16, 0_u16);
        let mut backoff = config.backoff;
        loop {
            attempt += 1;
            let may_retry =
                request.idempotent && attempt - stale < config.max_attempts && Instant::now() + backoff < deadline;
            let failure = match self.connection(&key, stale > 0).await {
                Err(error) => {
                    let retry = match error.code {
                        ErrorCode::ConnectFailed => Retry::Again,
                        _ => Retry::Never,
                    };
                    Failure { error, retry }
                }
                Ok((stream, reused)) => {
                    progress(Progress::Connected { reused });
                    let exchange = Exchange {
                        request,
                        head: route.head(request, &payload),
                        attempt,
                        reused,
                        retry_errors: may_retry,
                        first_byte: config.first_byte_timeout,
                        stall: config.stall_timeout,
                    };
                    match exchange.run(&stream, sink, progress).await {
                        Ok(Answer { head, length, keep_alive }) => {
                            if keep_alive && stream.is_quiet() {
                                self.keep(key, Kept::Open(stream));
                            }
                            return Ok(Done { head, length, attempts: attempt });
                        }
                        Err(failure) => failure,
                    }
                }
            };
            match failure.retry {
                Retry::Stale if request.idempotent && stale == 0 => stale += 1,
                Retry::Stale | Retry::Again if may_retry => {
                    tracing::debug!(content = request.content, attempt, error = %failure.error, "trying again");
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                _ => return Err(failure.error),
            }
        }
    }

    /// A connection, and whether it was kept from before. A kept one is looked at before it is used; with `fresh` none is.
    async fn connection(&self, key: &Key, fresh: bool) -> Result<(Box<Stream>, bool)> {
        while !fresh && let Some(kept) = self.shared.pool.take(key) {
            match kept {
                Kept::Open(stream) => {
                    if stream.is_quiet() {
                        return Ok((stream, true));
                    }
                }
                Kept::Opening(receiver) => {
                    // What failed while nobody needed it is tried anew below, for an error of now.
                    if let Ok(Ok(stream)) = receiver.await
                        && stream.is_quiet()
                    {
                        return Ok((Box::new(stream), false));
                    }
                }
            }
        }
        Ok((Box::new(self.connect(key).await?), false))
    }

    /// Opens a connection. Where the tenant has as many as it may have, one that waits makes room.
    async fn connect(&self, key: &Key) -> Result<Stream> {
        loop {
            match self.shared.connector.open(key).await {
                Err(error) if error.code == ErrorCode::QuotaExceeded && self.shared.pool.drop_one_of(&key.tenant) => {}
                opened => return opened,
            }
        }
    }

    fn keep(&self, key: Key, kept: Kept) {
        self.shared.pool.keep(key, kept);
        self.sweep_later();
    }

    /// Sees to it that what is kept for too long is closed.
    fn sweep_later(&self) {
        if self.shared.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let period = self.shared.config.idle_timeout;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(shared) = shared.upgrade() else { return };
                if shared.pool.sweep() + shared.grpc.sweep() == 0 {
                    shared.sweeping.store(false, Ordering::Release);
                    return;
                }
            }
        });
    }
}

fn too_long(request: &Request) -> Error {
    Error::new(ErrorCode::RpcTimeout, format!("{} took longer than allowed", request.content))
}

async fn hash(request: &Request) -> Result<String> {
    if request.body.len() < LARGE_BODY {
        return Ok(sigv4::payload_hash(&request.body));
    }
    let body = request.body.clone();
    tokio::task::spawn_blocking(move || sigv4::payload_hash(&body))
        .await
        .map_err(|_| Error::new(ErrorCode::Internal, "hashing the body was cut off"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Replies that runs of a function share: one fetch, one segment (docs/initscripts.md, "Sharing").
//!
//! A *flight* is a fetch that belongs to the node, not to the instance that asked first: that one may end, and the others
//! still get what they wait for. It has memory of its own, which counts once, for its tenant and the node; instances map its
//! segment beside their own. When it has landed it is kept for the function's ttl, from the time when it was asked for, unless
//! memory is short, or somebody of the tenant writes to what it has read. Nothing is shared across tenants or functions, nor
//! between requests that differ in anything, or are answered with other credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use headstart_base::{ErrorCode, Nanos, Result, now};
use headstart_net::{Address, Egress, Progress, Request, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::functions::Function;
use crate::instance::body::{Body, Finished, Phase};
use crate::instance::memory::Memory;
use crate::instance::sink::Sink;
use crate::node::Node;
use crate::sync::lock;

/// Flights that are known at one time, landed ones included.
const MOST: usize = 1024;
/// The same of one tenant: the others' runs share, too.
const MOST_OF_TENANT: usize = 256;

/// What a function lets its runs share.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) rules: Egress,
    pub(crate) ttl: Duration,
}

impl Share {
    /// Whether a request's reply may be shared: it is allowed to, reads only, and may be repeated.
    pub(crate) fn allows(&self, request: &Request) -> bool {
        request.idempotent
            && request.body.is_empty()
            && !headstart_net::changes(&request.content)
            && self.rules.allows(&request.verb, request.url())
    }
}

/// All flights of a node.
pub(crate) struct Shared {
    /// Bytes of landed flights that are kept at most.
    limit: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    flights: HashMap<Key, Arc<Flight>>,
    last: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    function: String,
    content: String,
}

/// One fetch and what came of it.
pub(crate) struct Flight {
    key: Key,
    number: u64,
    request: Request,
    store: Option<Store>,
    /// When it was asked for.
    pub(crate) began: Nanos,
    pub(crate) body: Arc<Body>,
    /// Its segments are named after its number.
    pub(crate) memory: Arc<Memory>,
    cancel: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Instances that wait for it.
    waiting: usize,
    /// The last time somebody asked for it.
    used: Nanos,
    landed: bool,
}

/// What one needs to begin a flight.
pub(crate) struct Departure<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) function: &'a Arc<Function>,
    pub(crate) address: &'a Address,
    pub(crate) request: &'a Request,
    pub(crate) deadline: Instant,
}

/// A place in a flight. When the last one is given up before the flight has landed, it is cancelled.
pub(crate) struct Seat {
    pub(crate) flight: Arc<Flight>,
    /// Whether the fetch was begun for it.
    pub(crate) first: bool,
    shared: Weak<Shared>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.leave(&self.flight);
        }
    }
}

impl Shared {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, table: Mutex::default() })
    }

    /// Takes a place in the flight of a request, or begins one: then `progress` hears of it. None when there can be none: another
    /// request has the name, or there are too many.
    pub(crate) fn board(
        self: &Arc<Self>,
        departure: &Departure<'_>,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Option<Seat>> {
        let Departure { node, function, address, request, deadline } = departure;
        let store = function.store_for(address)?.cloned();
        let key = Key {
            tenant: function.tenant.clone(),
            function: function.digest.clone(),
            content: request.content.clone(),
        };
        let account = node.tenants.find(&function.tenant)?;
        let mut table = lock(&self.table);
        if let Some(flight) = table.flights.get(&key) {
            if flight.request != **request || flight.store != store {
                return Ok(None);
            }
            let mut state = lock(&flight.state);
            state.waiting += 1;
            state.used = now();
            let flight = Arc::clone(flight);
            drop(state);
            return Ok(Some(self.seat(flight, false)));
        }
        // Where there are as many as may be, the tenant's own oldest makes room, if it has one that nobody waits for.
        let own = table.flights.keys().filter(|key| key.tenant == function.tenant).count();
        let mut given_up = None;
        if own >= MOST_OF_TENANT || table.flights.len() >= MOST {
            let Some(oldest) = table.oldest(Some(&function.tenant)) else { return Ok(None) };
            table.remove(&oldest);
            given_up = Some(oldest);
        }
        table.last += 1;
        let number = table.last;
        let memory = Memory::new(&format!("shared-{number}"), &node.pool, &account.memory);
        memory.limit(function.limits.results, 0);
        let began = now();
        let flight = Arc::new(Flight {
            key: key.clone(),
            number,
            request: (*request).clone(),
            store,
            began,
            body: Body::waiting(),
            memory: Arc::new(memory.relieved_by(self, &function.tenant)),
            cancel: CancellationToken::new(),
            state: Mutex::new(State { waiting: 1, used: began, landed: false }),
        });
        table.flights.insert(key, Arc::clone(&flight));
        drop(table);
        // Its memory, without the lock.
        drop(given_up);
        let (shared, node) = (Arc::clone(self), Arc::clone(node));
        let ttl = function.share.as_ref().map_or(Duration::ZERO, |share| share.ttl);
        let work = Arc::clone(&flight).fly(Arc::clone(&node), (*address).clone(), *deadline, progress);
        let (landing, data) = (Arc::clone(&flight), node.data.clone());
        data.spawn(async move {
            work.await;
            shared.landed(landing, ttl).await;
        });
        Ok(Some(self.seat(flight, true)))
    }

    fn seat(self: &Arc<Self>, flight: Arc<Flight>, first: bool) -> Seat {
        Seat { flight, first, shared: Arc::downgrade(self) }
    }

    fn leave(&self, flight: &Arc<Flight>) {
        let mut table = lock(&self.table);
        let mut state = lock(&flight.state);
        state.waiting = state.waiting.saturating_sub(1);
        let abandoned = state.waiting == 0 && !state.landed;
        drop(state);
        if abandoned {
            table.remove(flight);
            drop(table);
            flight.cancel.cancel();
        }
    }

    /// Keeps what has come for as long as it is fresh.
    async fn landed(&self, flight: Arc<Flight>, ttl: Duration) {
        let good = matches!(flight.body.phase(), Phase::Done(finished) if is_good(&finished));
        let age = Duration::from_nanos(now().saturating_sub(flight.began));
        let left = ttl.saturating_sub(age);
        {
            let mut table = lock(&self.table);
            lock(&flight.state).landed = true;
            if !good || left.is_zero() {
                table.remove(&flight);
                return;
            }
        }
        while self.held() > self.limit && self.evict(None) {}
        // It may be given up before.
        let kept = Arc::downgrade(&flight);
        drop(flight);
        tokio::time::sleep(left).await;
        if let Some(flight) = kept.upgrade() {
            lock(&self.table).remove(&flight);
        }
    }

    /// Somebody of a tenant writes to a resource: who asks for it from now on asks its service.
    pub(crate) fn void(&self, tenant: &str, is_it: impl Fn(&str) -> bool) {
        let is_old = |key: &Key, _: &mut Arc<Flight>| key.tenant == tenant && is_it(&key.content);
        let old: Vec<_> = lock(&self.table).flights.extract_if(is_old).collect();
        // Their memory, without the lock.
        drop(old);
    }

    /// Forgets a tenant's.
    pub(crate) fn forget(&self, tenant: &str) {
        self.void(tenant, |_| true);
    }

    /// Gives up the landed flight that nobody uses and nobody has asked for the longest; of one tenant, or of all. False when
    /// there is none.
    pub(crate) fn evict(&self, tenant: Option<&str>) -> bool {
        let mut table = lock(&self.table);
        let Some(oldest) = table.oldest(tenant) else { return false };
        table.remove(&oldest);
        drop(table);
        // Its memory, without the lock.
        drop(oldest);
        true
    }

    /// Bytes of all flights.
    pub(crate) fn held(&self) -> u64 {
        lock(&self.table).flights.values().map(|flight| flight.memory.used().0).sum()
    }

    /// What there is, for people and tests: an id is in the names of its segments.
    pub(crate) fn list(&self) -> Vec<Value> {
        let table = lock(&self.table);
        let mut flights: Vec<_> = table.flights.values().cloned().collect();
        drop(table);
        flights.sort_by_key(|flight| flight.number);
        flights.iter().map(|flight| flight.describe()).collect()
    }
}

impl Table {
    /// The landed flight that nobody uses and nobody has asked for the longest; of one tenant, or of all.
    fn oldest(&self, tenant: Option<&str>) -> Option<Arc<Flight>> {
        let idle = self.flights.values().filter(|flight| {
            let state = lock(&flight.state);
            let idle = state.landed && state.waiting == 0;
            idle && tenant.is_none_or(|tenant| tenant == flight.key.tenant) && flight.memory.is_alone()
        });
        idle.min_by_key(|flight| lock(&flight.state).used).cloned()
    }

    fn remove(&mut self, flight: &Arc<Flight>) {
        if self.flights.get(&flight.key).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            self.flights.remove(&flight.key);
        }
    }
}

impl Flight {
    async fn fly(
        self: Arc<Self>,
        node: Arc<Node>,
        address: Address,
        deadline: Instant,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) {
        let mut sink = Sink::new(&self.memory, &self.body);
        let tenant = &self.key.tenant;
        let (store, request) = (self.store.as_ref(), &self.request);
        let fetched = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(headstart_base::Error::new(ErrorCode::Cancelled, "nobody waits for it")),
            fetched = node.client.send(tenant, &address, store, request, deadline, &mut sink, &mut progress) => fetched,
        };
        let finished = fetched.and_then(|done| {
            node.metrics.received_bytes.inc_by(done.length);
            sink.finish(&done).map(Arc::new)
        });
        self.body.end(finished);
    }

    /// What its segments are named.
    pub(crate) fn name(&self) -> String {
        format!("shared-{}", self.number)
    }

    fn describe(&self) -> Value {
        let state = lock(&self.state);
        json!({
            "id": self.name(),
            "tenant": self.key.tenant,
            "content": self.key.content,
            "bytes": self.memory.used().0,
            "waiting": state.waiting,
            "landed": state.landed,
        })
    }
}

/// Errors of the service are for those only who waited for them.
fn is_good(finished: &Finished) -> bool {
    finished.status == 0 || (200..300).contains(&finished.status)
}

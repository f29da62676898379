//! An instance: one function's sandbox, its results and its RPCs, from its reservation to its reaping.
//!
//! The host decides, so nothing here is a policy: operations come in, facts are kept, events go out. All state is behind
//! one short lock that is never held across a wait. What takes time (fetches, the application's socket, bodies) runs on
//! the data runtime as tasks that the instance tracks; it has ended when all of them have.

mod bodies;
pub(crate) mod body;
mod checkpoint;
pub(crate) mod conns;
pub(crate) mod event;
pub(crate) mod file_sink;
mod inbox;
pub(crate) mod invocations;
mod life;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod ops;
mod output;
pub(crate) mod ready;
mod rpc;
mod sharing;
pub(crate) mod sink;
mod snapshot;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use headstart_base::{ErrorCode, Nanos};
use headstart_memory::{Charge, StartGuard};
use headstart_sandbox::{Inside, Reservation};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::functions::Function;
use crate::instance::bodies::Bodies;
use crate::instance::body::{Body, Place};
use crate::instance::checkpoint::Making;
use crate::instance::conns::{Closing, Conns};
use crate::instance::event::EventLog;
use crate::instance::file_sink::Destination;
use crate::instance::inbox::Inbox;
use crate::instance::invocations::Invocations;
use crate::instance::memory::Memory;
use crate::instance::messages::{Claim, Message};
use crate::node::Node;
use crate::sync::lock;
use crate::tenants::{Counted, Tenant};

pub(crate) use life::StreamId;

/// How the application and its initscript take part; `Instance.Mode` of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mode {
    Normal,
    NoInitscript,
    InitscriptOnly,
    Direct,
    /// Its program is stopped before its first event (docs/snapshots.md). No host asks for it.
    Snapshot,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Spare,
    Started,
    Stopping,
    Ended,
}

pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) tenant: String,
    /// What it uses is counted there.
    pub(crate) account: Arc<Tenant>,
    pub(crate) node: Arc<Node>,
    pub(crate) events: EventLog,
    pub(crate) memory: Arc<Memory>,
    /// Cancelled when the instance begins to stop.
    pub(crate) closing: CancellationToken,
    /// All tasks that work for this instance.
    pub(crate) tasks: TaskTracker,
    /// The stage, for those who wait for it.
    pub(crate) stage: watch::Sender<Stage>,
    /// Told when the initscript's first RPC has left, or the script has ended.
    script_ahead: Notify,
    /// Whether the script's bytes come from a registry, so that its first RPC is later.
    pub(crate) script_is_downloaded: AtomicBool,
    /// What the application sent and waits to be closed.
    closing_files: Closing,
    making: Making,
    state: Mutex<State>,
}

/// What the lock guards.
#[derive(Default)]
pub(crate) struct State {
    function: Option<Arc<Function>>,
    /// How it was started.
    mode: Option<Mode>,
    /// The stream that holds the lease; none during the grace period.
    lease: Option<StreamId>,
    /// Counts the lease's changes, so that an old grace period does not end a new lease.
    lease_changes: u64,
    /// The network namespace that waits for the sandbox.
    reservation: Option<Reservation>,
    /// Holds the pool's refilling back during the start.
    starting: Option<StartGuard>,
    /// What it counts for in its tenant's quota, from its start until it is reaped.
    counted: Option<(Counted, Option<Charge>)>,
    started_at: Nanos,
    sandbox_pid: Option<u32>,
    /// The way to the application from outside.
    inside: Option<Inside>,
    /// Why the bridge itself ended the application, told as its exit's error.
    killed_for: Option<headstart_base::Error>,
    conns: Conns,
    rpcs: HashMap<u64, Rpc>,
    /// Places in the application's files that replies have, or are going to have.
    destinations: HashMap<u64, Destination>,
    messages: HashMap<u64, Message>,
    inbox: Inbox,
    claims: HashMap<u64, Claim>,
    last_claim: u64,
    script_ended: bool,
    /// Bodies that the application reads while they come in, by the place it was told.
    progressive: HashMap<Place, Arc<Body>>,
    invocations: Invocations,
    connections: usize,
    /// Calls of the application that are under way.
    calls: usize,
    /// Of all requests that are under way.
    bodies: Bodies,
    app_connected: bool,
    stop_reason: String,
}

/// An RPC of the initscript.
struct Rpc {
    /// "VERB address/path".
    content: String,
    body: Arc<Body>,
    cancel: CancellationToken,
    /// The application has written to what this read.
    voided: bool,
}

impl Instance {
    pub(crate) fn new(
        node: &Arc<Node>,
        id: String,
        account: Arc<Tenant>,
        lease: StreamId,
        reservation: Reservation,
    ) -> Arc<Self> {
        let state = State { lease: Some(lease), reservation: Some(reservation), ..State::default() };
        Arc::new(Self {
            memory: Arc::new(Memory::new(&id, &node.pool, &account.memory).relieved_by(&node.shared, &account.name)),
            id,
            tenant: account.name.clone(),
            account,
            node: Arc::clone(node),
            events: EventLog::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            stage: watch::Sender::new(Stage::Spare),
            script_ahead: Notify::new(),
            script_is_downloaded: AtomicBool::new(false),
            closing_files: Closing::default(),
            making: Making::default(),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// The function, once the instance is started.
    pub(crate) fn function(&self) -> Option<Arc<Function>> {
        self.lock().function.clone()
    }

    /// Runs a task for this instance on the data runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.node.data);
    }

    /// Says that the application has an open connection more, unless there are too many.
    pub(crate) fn connection_opened(&self) -> bool {
        let mut state = self.lock();
        let room = state.connections < self.node.config.limits.app_connections;
        state.connections += usize::from(room);
        self.making.open.send_replace(state.connections);
        room
    }

    /// A hello of the application: the first one is an event.
    pub(crate) fn app_connected(&self, client: String) {
        let first = !std::mem::replace(&mut self.lock().app_connected, true);
        if first {
            self.events.push(event::Kind::AppConnected(client));
        }
    }

    pub(crate) fn connection_closed(&self) {
        let mut state = self.lock();
        state.connections = state.connections.saturating_sub(1);
        self.making.open.send_replace(state.connections);
    }
}

/// What a content is about: "s3://bucket/key" of "GET s3://bucket/key?versions#bytes=0-9". A write to any part or aspect of
/// it voids all of it.
fn resource(content: &str) -> &str {
    let url = content.split_once(' ').map_or(content, |(_, url)| url);
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Whether a verb changes what it is about.
fn is_write(content: &str) -> bool {
    headstart_net::changes(content)
}

fn closed() -> headstart_base::Error {
    crate::errors::instance_closed()
}

fn error(code: ErrorCode, message: impl Into<String>) -> headstart_base::Error {
    headstart_base::Error::new(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_about_the_whole_resource() {
        assert_eq!(resource("GET s3://b/k#bytes=0-9"), "s3://b/k");
        assert_eq!(resource("PUT s3://b/k?uploadId=1&partNumber=2"), "s3://b/k");
        assert!(is_write("DELETE s3://b/k") && !is_write("HEAD s3://b/k"));
    }
}

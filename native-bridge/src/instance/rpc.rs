//! RPCs of the initscript and calls of the application: both go out the same way.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result, now};
use headstart_net::{Address, BodySink, Done, Progress, Request};
use tokio_util::sync::CancellationToken;

use crate::functions::Function;
use crate::instance::bodies;
use crate::instance::body::{Body, Finished};
use crate::instance::conns::{Conn, Own};
use crate::instance::event::Kind;
use crate::instance::file_sink::{Destination, FileSink};
use crate::instance::ops::Named;
use crate::instance::sink::Sink;
use crate::instance::{Instance, Rpc, Stage, closed, error, is_write, resource};
use crate::metrics::outcome;

/// Calls of an application at one time. One connection waits for one, but a connection can be left.
const MOST_CALLS: usize = 256;
/// The longest an RPC may take.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a request goes over.
enum Via {
    /// The tenant's kept connections.
    Kept(Address),
    Own(Arc<Own>),
}

impl Via {
    fn address(&self) -> &Address {
        match self {
            Self::Kept(address) => address,
            Self::Own(own) => &own.address,
        }
    }

    fn own(&self) -> Option<Arc<Own>> {
        match self {
            Self::Kept(_) => None,
            Self::Own(own) => Some(Arc::clone(own)),
        }
    }
}

/// A request on its way, and where its answer goes.
pub(super) struct Sending {
    pub(super) function: Arc<Function>,
    via: Via,
    pub(super) request: Request,
    pub(super) deadline: Instant,
    pub(super) body: Arc<Body>,
    /// A place in a file of the application's; else private memory.
    to: Option<Destination>,
    _counted: bodies::Body,
}

/// An RPC that is not sent.
struct Refused {
    /// What it would have been, where that could be read.
    content: String,
    error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { content: String::new(), error }
    }
}

impl Instance {
    /// Sends an RPC. What is wrong with it shows as its `rpcDone`.
    pub(super) fn send(self: &Arc<Self>, conn: u32, rpc: u64, raw: &[u8], timeout_millis: u32, place: Option<&Named>) {
        let prepared = self.prepare(conn, raw).and_then(|(function, via, request)| {
            let refused = |error| Refused { content: request.content.clone(), error };
            let counted = self.count_body(raw).map_err(refused)?;
            let to = place.map(|named| self.take_place(rpc, named)).transpose().map_err(refused)?;
            Ok((function, via, request, to, counted))
        });
        match prepared {
            Ok((function, via, request, to, counted)) => {
                let body = Body::waiting();
                let cancel = self.closing.child_token();
                let record = Rpc {
                    content: request.content.clone(),
                    body: Arc::clone(&body),
                    cancel: cancel.clone(),
                    voided: false,
                };
                let first = {
                    let mut state = self.lock();
                    state.rpcs.insert(rpc, record);
                    state.rpcs.len() == 1
                };
                let accepted =
                    Kind::RpcAccepted { rpc, content: request.content.clone(), idempotent: request.idempotent };
                self.events.push(accepted);
                let millis = if timeout_millis == 0 { function.limits.rpc_timeout_millis } else { timeout_millis };
                let deadline = Instant::now() + Duration::from_millis(millis.into()).min(LONGEST);
                let instance = Arc::clone(self);
                let own = via.own();
                let sending = Sending { function, via, request, deadline, body, to, _counted: counted };
                let work = async move { instance.run_rpc(rpc, &sending, &cancel).await };
                match own {
                    // What begins in order takes its turns in order.
                    Some(own) => self.begin_here(own.under_way.track_future(work)),
                    None if first => self.begin_here(work),
                    None => self.spawn(work),
                }
            }
            Err(Refused { content, error }) => {
                let record =
                    Rpc { content, body: Body::failed(error.clone()), cancel: CancellationToken::new(), voided: false };
                self.lock().rpcs.insert(rpc, record);
                self.events.push(Kind::RpcDone { rpc, outcome: Err(error) });
            }
        }
    }

    /// As `spawn`, but the task runs up to its first wait now and on this thread: over a kept connection that sends it, without
    /// waiting for another thread to wake up.
    fn begin_here(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(self.tasks.track_future(work));
        let ended = {
            let _runtime = self.node.data.enter();
            // The task that goes on with it asks again.
            work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        if !ended {
            self.node.data.spawn(work);
        }
    }

    /// Makes a place in a file the reply's own.
    fn take_place(&self, rpc: u64, named: &Named) -> Result<Destination> {
        let Some(path) = named.place.strip_prefix("file:") else {
            let message = format!("a reply goes to \"file:/path\", not to {:.200}", named.place);
            return Err(error(ErrorCode::InvalidArgument, message));
        };
        let to = self.memory.destination(path, named.offset, named.room)?;
        let mut state = self.lock();
        if let Some((other, taken)) = state.destinations.iter().find(|(_, taken)| taken.overlaps(&to)) {
            let Destination { offset, room, .. } = taken;
            let message = format!("the {room} bytes at {offset} of file:{path} are the place of RPC {other}'s reply");
            return Err(error(ErrorCode::AlreadyExists, message));
        }
        state.destinations.insert(rpc, to.clone());
        Ok(to)
    }

    /// Ends an RPC with `cancelled`, if it has not ended.
    pub(super) fn cancel(&self, rpc: u64) {
        if let Some(rpc) = self.lock().rpcs.get(&rpc) {
            rpc.cancel.cancel();
        }
    }

    fn prepare(&self, conn: u32, raw: &[u8]) -> std::result::Result<(Arc<Function>, Via, Request), Refused> {
        let (function, via) = self.destination(conn)?;
        let address = via.address();
        let request = Request::parse(address, raw)?;
        let permitted = function.allow(&request).and_then(|()| function.store_for(address).map(|_| ()));
        match permitted {
            Ok(()) => Ok((function, via, request)),
            Err(error) => Err(Refused { content: request.content, error }),
        }
    }

    fn destination(&self, conn: u32) -> Result<(Arc<Function>, Via)> {
        let state = self.lock();
        let Some(function) = state.function.clone() else {
            return Err(error(ErrorCode::UnknownFunction, "the instance has no function yet: start it first"));
        };
        if state.rpcs.len() >= function.limits.rpcs as usize {
            let message = format!("an initscript may send {} RPCs ([initscript.limits] rpcs)", function.limits.rpcs);
            return Err(error(ErrorCode::InitscriptRpcs, message));
        }
        match state.conns.named.get(&conn).cloned() {
            Some(Conn::Kept(address)) => Ok((function, Via::Kept(address))),
            Some(Conn::Own(own)) => Ok((function, Via::Own(own))),
            Some(Conn::Refused(error)) => Err(error),
            None => Err(error(ErrorCode::InvalidArgument, format!("connection {conn} was not named by a connect"))),
        }
    }

    async fn run_rpc(self: &Arc<Self>, rpc: u64, sending: &Sending, cancel: &CancellationToken) {
        let write = is_write(&sending.request.content);
        if write {
            self.void_shared(&sending.request.content);
        }
        let fetched = async {
            if let Via::Kept(address) = &sending.via
                && sending.to.is_none()
                && let Some(shared) = self.fetch_shared(rpc, address, sending).await
            {
                return shared;
            }
            self.fetch(sending, &mut |progress| self.progressed(rpc, progress)).await
        };
        let finished = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(if self.closing.is_cancelled() {
                closed()
            } else {
                error(ErrorCode::Cancelled, "the RPC was cancelled")
            }),
            finished = fetched => finished,
        };
        if write {
            self.void_shared(&sending.request.content);
        }
        self.node.metrics.rpcs.get_or_create(&outcome(&finished)).inc();
        let failed = finished.as_ref().err().cloned();
        if failed.is_some() {
            // Nothing of it was given as a whole: another reply may have its place.
            self.lock().destinations.remove(&rpc);
        }
        sending.body.end(finished.clone());
        self.events.push(Kind::RpcDone { rpc, outcome: finished });
        if let Some(error) = failed {
            for id in self.messages_of(rpc) {
                self.events.push(Kind::MessageFailed { id, error: error.clone() });
            }
        }
    }

    /// An RPC is on its way.
    pub(super) fn progressed(&self, rpc: u64, progress: Progress) {
        match progress {
            Progress::Connected { .. } => {}
            Progress::Sent { attempt, reused } => {
                self.events.push(Kind::RpcSent { rpc, reused, attempt });
                self.script_ahead.notify_one();
            }
            Progress::FirstByte => self.events.push(Kind::RpcFirstByte(rpc)),
        }
    }

    /// Sends a request and receives its answer into a body, which the caller ends.
    async fn fetch(
        self: &Arc<Self>,
        sending: &Sending,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Arc<Finished>> {
        let body = &sending.body;
        let finished = match &sending.to {
            None => {
                let mut sink = Sink::new(&self.memory, body);
                let done = self.exchange(sending, &mut sink, progress).await?;
                sink.finish(&done)?
            }
            Some(to) => {
                let mut sink = FileSink::new(to.clone(), self.memory.writer(to)?, body);
                let done = self.exchange(sending, &mut sink, progress).await?;
                sink.finish(&done)?
            }
        };
        self.node.metrics.received_bytes.inc_by(finished.length);
        Ok(Arc::new(finished))
    }

    async fn exchange(
        &self,
        Sending { function, via, request, deadline, .. }: &Sending,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        match via {
            Via::Own(own) => own.send(request, *deadline, sink, progress).await,
            Via::Kept(address) => {
                let store = function.store_for(address)?;
                let client = &self.node.client;
                client.send(&self.tenant, address, store, request, *deadline, sink, progress).await
            }
        }
    }

    /// Does a call for the application: the same policy, the same signing. Returns the body that its answer goes to.
    pub(crate) fn call(self: &Arc<Self>, head: &[u8], body: Vec<u8>, deadline: Instant) -> Result<Arc<Body>> {
        let Some(function) = self.function().filter(|_| self.stage() == Stage::Started) else {
            return Err(closed());
        };
        let (address, mut request) = Request::parse_absolute(head)?;
        if !request.body.is_empty() {
            return Err(error(ErrorCode::InvalidArgument, "the body of a call is in the outbox, not behind its head"));
        }
        request.set_body(body);
        function.allow(&request)?;
        function.store_for(&address)?;
        let call = Call::begin(self)?;
        let counted = self.count_body(&request.body)?;
        let answer = Body::waiting();
        let (instance, body) = (Arc::clone(self), Arc::clone(&answer));
        let via = Via::Kept(address);
        let sending = Sending { function, via, request, deadline, body, to: None, _counted: counted };
        self.spawn(async move {
            let began = now();
            let request = &sending.request;
            let write = is_write(&request.content);
            if write {
                instance.void_resource(&request.content);
            }
            let mut untold = |_| {};
            let finished = tokio::select! {
                biased;
                () = instance.closing.cancelled() => Err(closed()),
                finished = instance.fetch(&sending, &mut untold) => finished,
            };
            if write {
                // What was fetched beside the write may be of before it.
                instance.void_resource(&request.content);
            }
            instance.node.metrics.calls.get_or_create(&outcome(&finished)).inc();
            let told = finished.as_ref().ok();
            instance.events.push(Kind::Called {
                content: request.content.clone(),
                status: told.map_or(0, |finished| finished.status),
                bytes: told.map_or(0, |finished| finished.length),
                nanos: now().saturating_sub(began),
                error: finished.as_ref().err().cloned(),
            });
            sending.body.end(finished);
            drop(call);
        });
        Ok(answer)
    }

    /// Voids all that was fetched ahead of what this content is about, and is not claimed.
    fn void_resource(&self, content: &str) {
        self.void_shared(content);
        let what = resource(content);
        let mut state = self.lock();
        for rpc in state.rpcs.values_mut().filter(|rpc| resource(&rpc.content) == what) {
            rpc.voided = true;
        }
        for message in state.messages.values_mut().filter(|message| resource(&message.content) == what) {
            message.voided = true;
        }
    }
}

impl Instance {
    /// What others share of what this content is about is out of date.
    fn void_shared(&self, content: &str) {
        let what = resource(content);
        self.node.shared.void(&self.tenant, |other| resource(other) == what);
    }
}

/// Counts a call for as long as it lives.
struct Call(Arc<Instance>);

impl Call {
    fn begin(instance: &Arc<Instance>) -> Result<Self> {
        let mut state = instance.lock();
        if state.calls >= MOST_CALLS {
            return Err(error(ErrorCode::TooMany, format!("{MOST_CALLS} calls are under way")));
        }
        state.calls += 1;
        Ok(Self(Arc::clone(instance)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

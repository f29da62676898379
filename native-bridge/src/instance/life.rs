//! Start, application, lease, stop, reaping.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use headstart_image::{Image, Pulled};
use headstart_net::Address;
use headstart_sandbox::{Exit, FileMount, ImageFiles, Isolation, Limits, Reservation, Spec};
use tokio::sync::mpsc;

use crate::functions::Function;
use crate::instance::event::Kind;
use crate::instance::{Instance, Mode, Stage, closed, error};

/// Which control stream holds a lease.
pub(crate) type StreamId = u64;

/// A `receivedAt` older than this is not believed.
const RECEIVED_BELIEF: Nanos = 1_000_000_000;
/// How long a sandbox waits for its initscript's first RPC to leave. Its boot takes all cores for a while; the script needs
/// one of them for about a millisecond. Twice as long for one that has to be downloaded first.
const SCRIPT_AHEAD: Duration = Duration::from_millis(2);
/// Lines of output on their way.
pub(super) const LINES: usize = 1024;
/// How long an ended instance can still be attached to, beside the grace period.
const ENDED_KEPT: Duration = Duration::from_secs(5);
/// Reasons are told to people.
const REASON_BYTES: usize = 256;

impl Instance {
    /// Gives the instance its function and begins its sandbox.
    pub(crate) fn start(self: &Arc<Self>, digest: &str, mode: Mode, received_at: Nanos) -> Result<()> {
        self.node.refuse_if_draining()?;
        let function = self.node.functions.find(digest)?;
        if function.tenant != self.tenant {
            let message = format!("instance {} was made for another tenant than {}'s", self.id, function.name);
            return Err(error(ErrorCode::InvalidArgument, message));
        }
        if mode != Mode::InitscriptOnly && !function.bundle.is_dir() {
            let message = format!("the files of {} are not on the node", function.name);
            return Err(error(ErrorCode::UnknownBundle, message));
        }
        if mode == Mode::Direct && (function.snapshot || function.isolation == Isolation::Wasm) {
            let message = format!("{} has no network of its own: what it fetches, the bridge does", function.name);
            return Err(error(ErrorCode::Unsupported, message));
        }
        let started_at = now();
        let reservation = {
            let mut state = self.lock();
            match self.stage() {
                Stage::Spare => {}
                Stage::Started => return Err(error(ErrorCode::AlreadyExists, "the instance is started already")),
                Stage::Stopping | Stage::Ended => return Err(closed()),
            }
            let limits = function.limits;
            let counted = self.account.begin_instance()?;
            let sandbox = match mode {
                Mode::InitscriptOnly => None,
                _ => Some(self.account.memory.charge(limits.memory)?),
            };
            state.counted = Some((counted, sandbox));
            let traffic = limits.event_bytes.saturating_mul(8).saturating_add(self.node.config.limits.outbox_bytes);
            self.memory.limit(limits.results, traffic);
            state.function = Some(Arc::clone(&function));
            state.mode = Some(mode);
            state.started_at = started_at;
            state.starting = Some(self.node.pool.start());
            // While the lock is held, so that a stop comes before or after all of this.
            self.stage.send_replace(Stage::Started);
            state.reservation.take()
        };
        let files = match self.memory.make_files(&function.files) {
            Ok(files) => files,
            Err(full) => {
                self.stop(&full.message);
                return Err(full);
            }
        };
        let believed = received_at != 0 && received_at <= started_at && started_at - received_at <= RECEIVED_BELIEF;
        self.events.push_at(if believed { received_at } else { started_at }, Kind::Received);
        self.events.push_at(started_at, Kind::Started);
        match (mode, reservation) {
            // Kept until the instance stops: to give it back is work that the script would wait for.
            (Mode::InitscriptOnly | Mode::Snapshot, reservation) => self.lock().reservation = reservation,
            (_, Some(reservation)) => {
                let instance = Arc::clone(self);
                self.spawn(async move { instance.run_app(&function, mode, reservation, files).await });
            }
            (_, None) => return Err(error(ErrorCode::Internal, "the instance has no network namespace")),
        }
        Ok(())
    }

    /// The application from its start to its end; its end is the instance's.
    async fn run_app(
        self: &Arc<Self>,
        function: &Arc<Function>,
        mode: Mode,
        reservation: Reservation,
        files: Vec<(String, PathBuf)>,
    ) {
        let mut ended = self.run_sandbox(function, mode, reservation, files.clone()).await;
        if self.making.begins_anew() {
            ended = match self.node.sandboxes.reserve().await {
                Ok(reservation) => self.run_sandbox(function, mode, reservation, files).await,
                Err(error) => Err(error),
            };
        }
        let killed_for = self.lock().killed_for.take();
        let (status, signal, why) = match ended {
            Err(error) => (-1, 0, Some(error)),
            Ok(exit) => {
                let why = killed_for.or_else(|| why_exited(exit, function, self.closing.is_cancelled()));
                (exit.status, exit.signal, why)
            }
        };
        self.events.push(Kind::SandboxExited { status, signal, error: why.clone() });
        let left = why.clone().filter(|why| why.code != ErrorCode::InstanceClosed);
        let left = left.unwrap_or_else(|| error(ErrorCode::AppExited, "the application ended before it answered"));
        self.end_invocations(&left);
        self.stop(&left.message);
    }

    async fn run_sandbox(
        self: &Arc<Self>,
        function: &Arc<Function>,
        mode: Mode,
        reservation: Reservation,
        files: Vec<(String, PathBuf)>,
    ) -> Result<Exit> {
        // Its files stay as long as the image is held.
        let (mut spec, image) = tokio::select! {
            both = async { tokio::try_join!(self.spec(function, mode), self.image(function)) } => both?,
            () = self.closing.cancelled() => return Err(closed()),
        };
        if let Some(image) = &image {
            run_from(&mut spec, image)?;
        }
        let snapshot = self.go_on(function, &mut spec).await?;
        spec.files = files.into_iter().map(|(path, host)| FileMount { path, host }).collect();
        if mode == Mode::Normal {
            self.let_script_go_ahead().await;
        }
        let isolated = spec.isolation == Isolation::Wasm;
        if isolated {
            crate::isolate::listen(self)?;
        }
        let (sender, lines) = mpsc::channel(LINES);
        let mut sandbox = self.node.sandboxes.spawn(spec, reservation, sender).await?;
        {
            let mut state = self.lock();
            state.sandbox_pid = Some(sandbox.pid());
            state.inside = Some(sandbox.inside());
        }
        self.events.push(Kind::SandboxCreated(sandbox.pid()));
        self.take_lines(lines);
        if isolated {
            let instance = Arc::clone(self);
            self.spawn(async move { crate::isolate::drive(&instance).await });
        }
        let exit = tokio::select! {
            exit = sandbox.wait() => exit,
            () = self.closing.cancelled() => Exit { status: 128 + libc::SIGKILL, signal: libc::SIGKILL as u32, oom: false },
        };
        // Nothing of it is left when this returns.
        sandbox.kill().await;
        if let Some(snapshot) = snapshot {
            self.look_back(&snapshot, exit)?;
        }
        Ok(exit)
    }

    /// Late or not, the sandbox starts after this.
    async fn let_script_go_ahead(&self) {
        let ahead = tokio::time::timeout(SCRIPT_AHEAD, self.script_ahead.notified()).await;
        if ahead.is_err() && self.script_is_downloaded.load(Ordering::Relaxed) {
            let _ = tokio::time::timeout(SCRIPT_AHEAD, self.script_ahead.notified()).await;
        }
    }

    /// The function's image, if it has one: from the node, or from its registry, which is an event.
    pub(super) async fn image(&self, function: &Function) -> Result<Option<Arc<Image>>> {
        let Some(name) = &function.image else { return Ok(None) };
        let (image, pulled) = self.node.images.get(name).await?;
        if let Some(Pulled { bytes, layers, pulled_at, unpacked_at, unpacked }) = pulled {
            self.events.push_at(pulled_at, Kind::ImagePulled { image: name.clone(), bytes, layers });
            self.events.push_at(unpacked_at, Kind::ImageUnpacked(unpacked));
        }
        Ok(Some(image))
    }

    pub(super) async fn spec(&self, function: &Function, mode: Mode) -> Result<Spec> {
        let direct = mode == Mode::Direct;
        let mut env = function.env.clone();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        set("HEADSTART_SOCKET", "/run/headstart/app.sock");
        match mode {
            Mode::Snapshot => set("HEADSTART_SNAPSHOT", "1"),
            _ => set("HEADSTART_INSTANCE", &self.id),
        }
        if direct {
            set("HEADSTART_DIRECT", "1");
        }
        let (mut egress, mut hosts) = (Vec::new(), Vec::new());
        if direct || function.network {
            for address in function.egress.destinations() {
                self.resolve(function, address, &mut egress, &mut hosts).await?;
            }
        }
        Ok(Spec {
            id: self.id.clone(),
            isolation: function.isolation,
            base: function.base.clone(),
            image: None,
            bundle: function.bundle.clone(),
            command: function.command.clone(),
            env,
            socket_dir: self.node.instance_dir(&self.id),
            limits: Limits {
                memory: function.limits.memory,
                cpu_millis: function.limits.cpu_millis,
                pids: function.limits.pids,
            },
            egress,
            hosts,
            boot: headstart_sandbox::Boot::Command,
            files: Vec::new(),
        })
    }

    /// Adds where an address of the egress list really is.
    async fn resolve(
        &self,
        function: &Function,
        address: &Address,
        egress: &mut Vec<SocketAddr>,
        hosts: &mut Vec<(String, IpAddr)>,
    ) -> Result<()> {
        let store = function.store_for(address)?;
        let place = store.map_or(address, |store| store.endpoint());
        for found in self.node.client.resolve(address, store).await? {
            if !egress.contains(&found) {
                egress.push(found);
            }
            let name = (place.host.clone(), found.ip());
            if place.host.parse::<IpAddr>().is_err() && !hosts.contains(&name) {
                hosts.push(name);
            }
        }
        Ok(())
    }

    /// Ends the application because of what the bridge found; the exit is told with this error.
    pub(super) fn kill_app(self: &Arc<Self>, why: Error) {
        let reason = why.message.clone();
        self.lock().killed_for.get_or_insert(why);
        self.stop(&reason);
    }

    /// Ends it all: the application, the RPCs, the waiting. `ended` comes when all is reaped.
    pub(crate) fn stop(self: &Arc<Self>, reason: &str) {
        {
            let mut state = self.lock();
            if matches!(self.stage(), Stage::Stopping | Stage::Ended) {
                return;
            }
            state.stop_reason = reason.chars().take(REASON_BYTES).collect();
            state.reservation = None;
            state.starting = None;
            self.stage.send_replace(Stage::Stopping);
        }
        self.closing.cancel();
        self.tasks.close();
        self.end_invocations(&closed());
        let instance = Arc::clone(self);
        self.node.data.spawn(async move { instance.reap().await });
    }

    /// Waits for all tasks and gives all back.
    async fn reap(self: Arc<Self>) {
        self.tasks.wait().await;
        let folder = self.node.instance_dir(&self.id);
        if let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(instance = self.id, %error, "cannot remove the instance's folder");
        }
        let segments = self.memory.clear();
        // Dropped without the lock.
        let conns = std::mem::take(&mut self.lock().conns);
        drop(conns);
        let (reason, unclaimed) = {
            let mut state = self.lock();
            state.progressive.clear();
            state.claims.clear();
            state.counted = None;
            state.inbox.clear();
            (state.stop_reason.clone(), state.unclaimed())
        };
        self.events.push(Kind::Ended {
            reason,
            unclaimed_messages: unclaimed.0,
            unclaimed_bytes: unclaimed.1,
            segments,
        });
        self.stage.send_replace(Stage::Ended);
        self.node.metrics.instances.dec();
        // The host may come back for the last events.
        let kept = Duration::from_millis(self.node.config.grace_ms.into()) + ENDED_KEPT;
        tokio::time::sleep(kept).await;
        self.node.forget(&self.id);
    }

    /// Gives the lease to a stream.
    pub(crate) fn attach(&self, stream: StreamId) {
        let mut state = self.lock();
        state.lease = Some(stream);
        state.lease_changes += 1;
    }

    /// The stream is gone. If it had the lease, the grace period begins.
    pub(crate) fn stream_ended(self: &Arc<Self>, stream: StreamId) {
        let changes = {
            let mut state = self.lock();
            if state.lease != Some(stream) {
                return;
            }
            state.lease = None;
            state.lease_changes += 1;
            state.lease_changes
        };
        let grace = Duration::from_millis(self.node.config.grace_ms.into());
        let instance = Arc::clone(self);
        self.node.data.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(grace) => {}
                () = instance.closing.cancelled() => return,
            }
            let nobody_came = {
                let state = instance.lock();
                state.lease.is_none() && state.lease_changes == changes
            };
            if nobody_came {
                instance.stop("the control stream broke and nobody attached");
            }
        });
    }

    /// Ends an instance that has told more than is kept.
    pub(crate) fn bound_events(self: &Arc<Self>) {
        if self.events.is_full() {
            self.stop("the instance has told too many events");
        }
    }
}

impl crate::instance::State {
    /// Messages that nobody received, and their bytes.
    fn unclaimed(&self) -> (u32, u64) {
        use crate::instance::body::Phase;
        self.messages.values().filter(|message| !message.claimed).fold((0, 0), |(count, bytes), message| {
            let length = match message.body.phase() {
                Phase::Done(finished) => finished.length,
                Phase::Receiving { .. } => message.body.written(),
                Phase::Waiting | Phase::Failed(_) => 0,
            };
            (count + 1, bytes + length)
        })
    }
}

/// The image's files, and what it says where the function does not.
pub(super) fn run_from(spec: &mut Spec, image: &Image) -> Result<()> {
    let defaults = image.defaults();
    let set = |name: &String| spec.env.iter().any(|(other, _)| other == name);
    let more: Vec<_> = defaults.env.iter().filter(|(name, _)| !set(name)).cloned().collect();
    spec.env.extend(more);
    if spec.command.is_empty() {
        spec.command.clone_from(&defaults.command);
    }
    if spec.command.is_empty() && spec.isolation != Isolation::Wasm {
        let message = "neither the function nor its image says which program to run: set app.command";
        return Err(error(ErrorCode::InvalidArgument, message));
    }
    spec.image = Some(ImageFiles { root: image.root().to_owned(), working_dir: defaults.working_dir.clone() });
    Ok(())
}

/// What an exit means; none when all is well.
fn why_exited(exit: Exit, function: &Function, asked: bool) -> Option<Error> {
    if exit.oom {
        let message = format!("the application exceeded its memory limit of {} bytes", function.limits.memory);
        return Some(error(ErrorCode::InstanceMemoryFull, message));
    }
    if asked {
        return Some(closed());
    }
    match exit.status {
        0 => None,
        status => Some(error(ErrorCode::AppExited, format!("the application ended with status {status}"))),
    }
}

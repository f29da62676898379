//! An instance that makes a snapshot, and one that goes on from it.
//!
//! The first gets no event and no initscript: its program runs until it says that it is ready (op `checkpoint`), closes its
//! connections, and is stopped. It may have the bridge do calls meanwhile, to load what all that go on from it will need. The
//! second is an instance like any other, whose program is told on its standard input for whom it goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use headstart_base::{ErrorCode, Result, now};
use headstart_sandbox::{Boot, Exit, Sandbox, Spec, Stream};
use tokio::sync::{mpsc, watch};

use crate::functions::Function;
use crate::instance::event::Kind;
use crate::instance::life::{LINES, run_from};
use crate::instance::{Instance, Mode, closed, error};
use crate::logs::logs;
use crate::snapshots::{Found, Snapshot};

/// How long a program may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long its connections may take to close after that.
const CLOSING: Duration = Duration::from_secs(5);

/// What is known of an instance that makes a snapshot.
#[derive(Debug)]
pub(crate) struct Making {
    /// What the program said.
    ready: watch::Sender<Option<Result<()>>>,
    /// How many connections it has.
    pub(super) open: watch::Sender<usize>,
    again: AtomicU8,
}

/// `Making::again`: whether what the program went on from was to blame, and whether it has begun anew since.
const BLAMED: u8 = 1;
const ANEW: u8 = 2;

impl Default for Making {
    fn default() -> Self {
        Self { ready: watch::Sender::new(None), open: watch::Sender::new(0), again: AtomicU8::new(0) }
    }
}

impl Making {
    /// Whether the instance is to begin anew, with another snapshot: once, after the first was to blame.
    pub(super) fn begins_anew(&self) -> bool {
        self.again.compare_exchange(BLAMED, ANEW, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Instance {
    /// Whether its program is to be stopped: it gets nothing that is for one instance.
    pub(crate) fn makes_snapshot(&self) -> bool {
        self.lock().mode == Some(Mode::Snapshot)
    }

    /// The program says that it is ready to be stopped, or why it never will be.
    pub(crate) fn ready_for_snapshot(&self, ready: Result<()>) -> Result<()> {
        if !self.makes_snapshot() {
            return Err(error(ErrorCode::Unsupported, "this instance makes no snapshot: ask for an event"));
        }
        self.making.ready.send_if_modified(|said| {
            let first = said.is_none();
            if first {
                *said = Some(ready);
            }
            first
        });
        Ok(())
    }

    /// Runs the function's program until it is ready, and writes its image into a new folder. The instance is of no more use then.
    pub(crate) async fn take_snapshot(self: &Arc<Self>, function: &Arc<Function>, folder: &Path) -> Result<()> {
        self.start(&function.digest, Mode::Snapshot, 0)?;
        let mut spec = self.spec(function, Mode::Snapshot).await?;
        let image = self.image(function).await?;
        if let Some(image) = &image {
            run_from(&mut spec, image)?;
        }
        spec.boot = Boot::ToBeStopped;
        let Some(reservation) = self.lock().reservation.take() else { return Err(closed()) };
        let (sender, lines) = mpsc::channel(LINES);
        let mut sandbox = self.node.sandboxes.spawn(spec, reservation, sender).await?;
        self.take_lines(lines);
        let taken = tokio::select! {
            taken = self.stop_when_ready(&mut sandbox, folder) => taken,
            () = self.closing.cancelled() => Err(closed()),
        };
        sandbox.kill().await;
        taken.map_err(|cause| match cause.code {
            ErrorCode::SandboxFailed | ErrorCode::Deadline | ErrorCode::AppExited => {
                error(ErrorCode::SnapshotFailed, format!("the snapshot of {}: {}", function.name, cause.message))
            }
            _ => cause,
        })
    }

    async fn stop_when_ready(&self, sandbox: &mut Sandbox, folder: &Path) -> Result<()> {
        let mut ready = self.making.ready.subscribe();
        let said = tokio::select! {
            said = ready.wait_for(Option::is_some) => said.map_err(|_| closed())?.clone(),
            exit = sandbox.wait() => {
                let message = format!("the program ended with status {} before it was ready", exit.status);
                return Err(error(ErrorCode::AppExited, message));
            }
            () = tokio::time::sleep(READY) => {
                let message = format!("the program did not say within {} s that it is ready", READY.as_secs());
                return Err(error(ErrorCode::Deadline, message));
            }
        };
        said.unwrap_or(Ok(()))?;
        let mut open = self.making.open.subscribe();
        if tokio::time::timeout(CLOSING, open.wait_for(|open| *open == 0)).await.is_err() {
            let message = "the program is ready, but keeps a connection to the bridge open";
            return Err(error(ErrorCode::Deadline, message));
        }
        sandbox.checkpoint(folder).await
    }

    /// Has a sandbox go on from the function's snapshot, which is made if there is none; none: the function has none.
    pub(super) async fn go_on(
        self: &Arc<Self>,
        function: &Arc<Function>,
        spec: &mut Spec,
    ) -> Result<Option<Arc<Snapshot>>> {
        if !function.snapshot {
            return Ok(None);
        }
        let Found { snapshot, made_in } = tokio::select! {
            found = self.node.snapshots.get(&self.node, function) => found?,
            () = self.closing.cancelled() => return Err(closed()),
        };
        if let Some(took) = made_in {
            let text = format!("snapshot of {} made in {} ms, once for this version", function.name, took.as_millis());
            logs().line("bridge", &self.tenant, &self.id, now(), Stream::Stderr, &text);
            self.events.push(Kind::Noted(text));
        }
        let stdin = format!("HEADSTART_INSTANCE={}\0", self.id).into_bytes();
        spec.boot = Boot::Restored { image: snapshot.folder().to_owned(), stdin };
        Ok(Some(snapshot))
    }

    /// Drops a snapshot whose program ended with a failure before it said anything.
    pub(super) fn look_back(&self, snapshot: &Arc<Snapshot>, exit: Exit) -> Result<()> {
        let silent = !self.lock().app_connected && !self.closing.is_cancelled();
        if exit.status == 0 || exit.oom || !silent {
            return Ok(());
        }
        tracing::warn!(instance = self.id, status = exit.status, "a snapshot that cannot be gone on from is dropped");
        self.node.snapshots.drop_it(snapshot);
        let _ = self.making.again.compare_exchange(0, BLAMED, Ordering::Relaxed, Ordering::Relaxed);
        let message = format!("the program ended with status {} as it was to go on from its snapshot", exit.status);
        Err(error(ErrorCode::SnapshotFailed, message))
    }
}

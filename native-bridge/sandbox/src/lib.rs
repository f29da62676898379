//! Sandboxes for applications: gVisor and bubblewrap, each in a network namespace of its own.

mod spec;

pub use spec::{Exit, Inventory, Isolation, Limits, Line, Owned, SandboxConfig, Spec, Stream};

use headstart_base::{Error, ErrorCode, Result};
use tokio::sync::mpsc;

/// The sandboxes of a node.
pub struct Sandboxes {}

/// A network namespace that waits for its sandbox. Dropped: given back.
pub struct Reservation {}

/// A live sandbox. Dropped: killed and reaped in the background.
pub struct Sandbox {}

impl Sandboxes {
    /// Reaps what a previous life of this node left, finds out which back ends work, and fills the namespace pool.
    pub async fn new(_config: SandboxConfig) -> Result<Self> {
        Ok(Self {})
    }

    /// The names of the back ends that work here.
    pub fn isolations(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Takes a network namespace, from the pool if there is one.
    pub async fn reserve(&self) -> Result<Reservation> {
        Ok(Reservation {})
    }

    /// Starts a sandbox: its first process exists when this returns.
    pub async fn spawn(&self, _spec: Spec, _reservation: Reservation, _lines: mpsc::Sender<Line>) -> Result<Sandbox> {
        Err(Error::new(ErrorCode::SandboxUnsupported, "no back end"))
    }

    pub fn inventory(&self) -> Inventory {
        Inventory::default()
    }

    /// Ends all sandboxes and gives back all that is owned.
    pub async fn shutdown(&self) {}
}

impl Sandbox {
    /// The process that we started (runsc or bwrap).
    pub fn pid(&self) -> u32 {
        0
    }

    /// Waits for the command's end. May be called again, and dropped while it waits.
    pub async fn wait(&mut self) -> Exit {
        Exit { status: 0, signal: 0, oom: false }
    }

    /// Ends and reaps all of it: processes, cgroups, files, network namespace.
    pub async fn kill(self) {}
}

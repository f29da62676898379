//! The runner: a boxed workerd process that is watched and replaced, and the relay through which the host reaches it.

use headstart_base::Result;
use headstart_sandbox::Line;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// How a runner is started.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// workerd's own binary (not the npm launcher script).
    pub workerd: PathBuf,
    /// bubblewrap's binary; a bare name is looked up in PATH.
    pub bwrap: PathBuf,
    /// The node's run folder, for the cgroup's name.
    pub run_dir: PathBuf,
    /// workerd's configuration (`dist/runner/config.capnp`), in `dir` or below it.
    pub config_file: PathBuf,
    /// The folder of the configuration and the modules it names; read-only in the box, at the same path.
    pub dir: PathBuf,
    /// Where runner.sock comes to be. Its folder must hold nothing else: it is writable in the box and the working
    /// directory there, so the configuration says `unix:runner.sock`.
    pub socket: PathBuf,
    /// RLIMIT_DATA, bytes; 0 means 1 GiB.
    pub data_limit: u64,
    /// The cgroup's memory limit, bytes; 0 means 2 GiB.
    pub memory_limit: u64,
}

/// Where the present runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Starting,
    Ready,
    Stalled,
    Dead,
}

/// The runner as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// workerd's process id on the host, 0 while there is none.
    pub pid: u32,
    /// 1, 2, …: how many runners there have been.
    pub generation: u32,
    pub state: State,
}

/// A supervised runner.
pub struct Runner {}

impl Runner {
    /// Starts workerd in its box, and keeps one running from now on. Lines are its output and what the supervisor says.
    pub fn start(_config: RunnerConfig, _lines: mpsc::Sender<Line>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {}))
    }

    pub fn status(&self) -> Status {
        Status { pid: 0, generation: 0, state: State::Dead }
    }

    /// Waits until the runner answers; false after `limit`.
    pub async fn ready(&self, _limit: Duration) -> bool {
        false
    }

    /// Ends the runner for good, and reaps all of it.
    pub async fn shutdown(&self) {}
}

/// The host's way to the runner, bounded.
pub struct Relay;

impl Relay {
    /// Serves connections until the listener fails or the future is dropped (which cuts them all).
    pub async fn serve(_listener: UnixListener, _runner: Arc<Runner>) -> Result<()> {
        std::future::pending().await
    }
}

//! What a runner is, for those who start it and those who ask after it.

use headstart_base::Nanos;
use serde::Serialize;
use std::path::PathBuf;

/// How a runner is started.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// workerd's own binary (not the npm launcher script).
    pub workerd: PathBuf,
    /// bubblewrap's binary; a bare name is looked up in PATH.
    pub bwrap: PathBuf,
    /// The node's run folder: cgroups are named after it, and below it, in `runner`, are the runners' sockets.
    pub run_dir: PathBuf,
    /// workerd's configuration (`dist/runner/config.capnp`), in `dir` or below it.
    pub config_file: PathBuf,
    /// The folder of the configuration and the modules it names; read-only in the box, at `/dist`.
    pub dir: PathBuf,
    /// RLIMIT_DATA, bytes; 0 means 1 GiB.
    pub data_limit: u64,
    /// The cgroup's memory limit, bytes; 0 means 2 GiB.
    pub memory_limit: u64,
}

impl RunnerConfig {
    /// Where the socket of runner `number` comes to be. Its folder holds nothing else: it is given to the runner's user, is writable in
    /// the box and the working directory there, so the configuration says `unix:runner.sock`.
    pub(crate) fn socket(&self, number: u32) -> PathBuf {
        self.run_dir.join("runner").join(number.to_string()).join("runner.sock")
    }
}

/// The name of a runner's cgroup below the node's.
pub(crate) fn group(number: u32) -> String {
    format!("runner-{number}")
}

/// Where the present runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Starting,
    Ready,
    /// It takes CPU time and does not answer: it is being replaced.
    Stalled,
    Dead,
}

/// How a runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// None has ended yet.
    None,
    Exited,
    /// It used the CPU and did not answer.
    Stalled,
    /// It had no memory left.
    Memory,
}

/// The runner as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// workerd's process id on the host, 0 while there is none.
    pub pid: u32,
    /// 1, 2, …: how many runners there have been.
    pub generation: u32,
    pub state: State,
    /// Of the runner that ended last.
    pub last_end: End,
    /// When that one last answered.
    pub last_heard: Nanos,
}

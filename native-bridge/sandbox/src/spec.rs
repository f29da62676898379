//! What a sandbox is asked to be, and what it tells.

use crate::boot::Boot;
use crate::files::FileMount;
use headstart_base::Nanos;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How sandboxes are made on this node.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// gVisor's binary; a bare name is looked up in PATH.
    pub runsc: PathBuf,
    /// bubblewrap's binary; a bare name is looked up in PATH.
    pub bwrap: PathBuf,
    /// workerd's own binary, for applications in isolates; none: this node has no such.
    pub workerd: Option<PathBuf>,
    /// The node's state folder (`STATE`); `sandboxes/` and `base/` below it are ours.
    pub state_dir: PathBuf,
    /// The node's run folder (`RUN`). Its path is the node's identity: kernel objects carry a tag made from it.
    pub run_dir: PathBuf,
    /// IPv4 network of the sandboxes' links, a /16: `10.213.0.0/16`. The address x.y.255.1 is the node's services'.
    pub subnet: String,
    /// Network namespaces kept ready.
    pub pool: usize,
}

/// The back end of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    Gvisor,
    Bubblewrap,
    /// A workerd process with the application's modules.
    Wasm,
}

impl Isolation {
    /// The name that manifests use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gvisor => "gvisor",
            Self::Bubblewrap => "bubblewrap",
            Self::Wasm => "wasm",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "gvisor" => Some(Self::Gvisor),
            "bubblewrap" => Some(Self::Bubblewrap),
            "wasm" => Some(Self::Wasm),
            _ => None,
        }
    }
}

/// Bounds of a sandbox; 0 means none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Limits {
    /// Bytes, page cache and tmpfs included.
    pub memory: u64,
    /// Share of CPUs: 1000 is one.
    pub cpu_millis: u32,
    /// Processes and threads. In gVisor those of the sandbox's own kernel come on top.
    pub pids: u32,
}

/// A sandbox to be made.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The instance's id: letters, digits, `-` and `_`, at most 64.
    pub id: String,
    pub isolation: Isolation,
    /// `host`: the node's own /usr, read-only. Not looked at where there is an image.
    pub base: String,
    /// The sandbox's files, in the place of a base.
    pub image: Option<ImageFiles>,
    /// Mounted read-only at /app, which is the working directory; with an image only if there is something in it. Others must
    /// be able to read it (the app has a user of its own).
    pub bundle: PathBuf,
    /// Program and arguments; the program is looked up in PATH inside the sandbox. An isolate has none.
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Mounted at /run/headstart. It becomes mode 0755 and the sockets in it 0666: `RUN` above keeps others out.
    pub socket_dir: PathBuf,
    pub limits: Limits,
    /// TCP destinations that the app itself may reach. Nothing else gets out of its namespace.
    pub egress: Vec<SocketAddr>,
    /// Further lines of /etc/hosts, for there is no DNS inside.
    pub hosts: Vec<(String, IpAddr)>,
    pub boot: Boot,
    /// Files that the application may write. They are not removed with the sandbox.
    pub files: Vec<FileMount>,
}

/// An image's files as a sandbox sees them.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    /// Read-only, and there until the sandbox is reaped. Its upper part is [`crate::write_image_top`]'s.
    pub root: PathBuf,
    /// Where the application begins if it has no files of its own at /app; "/" if it is not said.
    pub working_dir: Option<String>,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A line of output, without its line break, at most [`Line::MAX_BYTES`] (a longer one comes in pieces).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Nanos,
    pub stream: Stream,
    pub text: String,
}

impl Line {
    pub const MAX_BYTES: usize = 8192;
}

/// How a sandbox's command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit status; 128 + signal where a signal ended it.
    pub status: i32,
    /// The signal that ended it, or 0. Back ends report it as a status above 128, so an app that leaves with such a
    /// status looks the same.
    pub signal: u32,
    /// The kernel killed something of it at its memory limit.
    pub oom: bool,
}

/// What this node's sandboxes own now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inventory {
    /// What names of kernel objects of this node carry.
    pub tag: String,
    pub sandboxes: Vec<Owned>,
    /// All network namespaces: ready, reserved and in use.
    pub namespaces: Vec<String>,
    /// Links on the host's side, one each namespace.
    pub links: Vec<String>,
    /// Mount points on the host.
    pub mounts: Vec<PathBuf>,
}

/// What one live sandbox owns.
#[derive(Clone, Debug, Serialize)]
pub struct Owned {
    pub id: String,
    pub isolation: Isolation,
    /// Every process of it on the host.
    pub pids: Vec<u32>,
    pub namespace: String,
    /// Relative to each cgroup hierarchy.
    pub cgroup: String,
    pub folder: PathBuf,
    /// The user that its program has on the machine; none in gVisor.
    pub user: Option<u32>,
}

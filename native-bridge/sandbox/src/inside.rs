//! What is done from outside to the program in a live sandbox: connecting to it, looking for a file of it, signalling it.
//!
//! The way in is never a path or a number of the program's own: a socket is made in the sandbox's network namespace and
//! connected to its loopback, a path is resolved with the sandbox's root as its root, and a process is signalled by a
//! pidfd that was taken while it was in the sandbox's cgroup. In gVisor files and processes are its own kernel's, so that is asked.

use crate::base::NOBODY;
use crate::failure::{failed, invalid};
use crate::sandbox::Live;
use crate::spec::Isolation;
use crate::tool;
use headstart_base::{Error, ErrorCode, Result};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// How long gVisor may take to answer a question.
const LIMIT: Duration = Duration::from_secs(10);

/// A way into a live sandbox. It keeps nothing of it alive.
#[derive(Clone)]
pub struct Inside {
    live: Weak<Live>,
}

impl Inside {
    pub(crate) fn new(live: Weak<Live>) -> Self {
        Self { live }
    }

    /// Connects to a TCP port on the sandbox's loopback. `connectFailed` when nobody listens there.
    pub async fn dial(&self, port: u16) -> Result<TcpStream> {
        let network = self.with(|resources| resources.reservation.namespace()?.handle()).await?;
        let socket = TcpSocket::from_std_stream(socket_in(network).await?.into());
        let connected = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
        connected.map_err(|error| {
            let message = format!("port {port} of the application: {error}");
            Error::new(ErrorCode::ConnectFailed, message)
        })
    }

    /// Whether the sandbox's file system has this absolute path now.
    pub async fn has_file(&self, path: &str) -> bool {
        let Some(live) = self.live.upgrade() else { return false };
        let Some(relative) = path.strip_prefix('/').filter(|relative| !relative.is_empty()) else { return false };
        match live.isolation() {
            Isolation::Bubblewrap | Isolation::Wasm => match self.main_process().await {
                Ok(Some(main)) => exists_below(&Path::new("/proc").join(main.to_string()).join("root"), relative),
                _ => false,
            },
            Isolation::Gvisor => {
                let user = format!("--user={NOBODY}:{NOBODY}");
                self.with(|_| Ok(())).await.is_ok()
                    && runsc(&live, &["exec", &user], &["/usr/bin/test", "-e", path], LIMIT).await.is_ok()
            }
        }
    }

    /// Sends the program a signal. Its children are its own.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        if !(1..=libc::SIGRTMAX()).contains(&signal) {
            return Err(invalid(format!("there is no signal {signal}")));
        }
        let live = self.live.upgrade().ok_or_else(gone)?;
        match live.isolation() {
            Isolation::Bubblewrap | Isolation::Wasm => {
                let main = self.main_process().await?.ok_or_else(gone)?;
                let process = pidfd(main)?;
                // One that was another's by the time it was opened is not in the group.
                if self.main_process().await? != Some(main) {
                    return Err(gone());
                }
                send(&process, signal)
            }
            Isolation::Gvisor => {
                self.with(|_| Ok(())).await?;
                runsc(&live, &["kill"], &[&signal.to_string()], LIMIT).await
            }
        }
    }

    /// The program that bubblewrap started: the first in the group that is not bubblewrap itself, and whose parent is.
    async fn main_process(&self) -> Result<Option<u32>> {
        let pids = self.with(|resources| Ok(resources.cgroup.pids())).await?;
        let is_ours = |pid: u32| name_and_parent(pid).is_some_and(|(name, _)| name == "bwrap");
        Ok(pids
            .into_iter()
            .find(|pid| name_and_parent(*pid).is_some_and(|(name, parent)| name != "bwrap" && is_ours(parent))))
    }

    async fn with<T>(&self, look: impl FnOnce(&crate::sandbox::Resources) -> Result<T>) -> Result<T> {
        let live = self.live.upgrade().ok_or_else(gone)?;
        let resources = live.resources().await;
        look(resources.as_ref().ok_or_else(gone)?)
    }
}

fn gone() -> Error {
    Error::new(ErrorCode::InstanceClosed, "the sandbox has ended")
}

/// A TCP socket of a network namespace. Made by a thread of its own: one that was in another namespace is used for nothing else.
async fn socket_in(network: OwnedFd) -> Result<OwnedFd> {
    let (sender, made) = oneshot::channel();
    let make = move || {
        let socket = setns(network, CloneFlags::CLONE_NEWNET)
            .and_then(|()| {
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                socket(AddressFamily::Inet, SockType::Stream, flags, None)
            })
            .map_err(|error| failed("socket in the sandbox's network", error));
        // Nobody waits any more: it is closed.
        let _ = sender.send(socket);
    };
    std::thread::Builder::new().name("dial".into()).spawn(make).map_err(|error| failed("thread", error))?;
    made.await.map_err(|_| failed("socket in the sandbox's network", "its thread broke off"))?
}

/// Whether a path exists below a root. Whatever it leads through, it stays there.
fn exists_below(root: &Path, relative: &str) -> bool {
    let Ok(root) = File::open(root) else { return false };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(&root, Path::new(relative), how).is_ok()
}

/// Of /proc/PID/stat: "pid (name) state parent …".
fn name_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let parent = after.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((name.to_owned(), parent))
}

fn pidfd(pid: u32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes no pointer, and answers with a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.cast_signed(), 0) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(gone()),
    }
}

fn send(process: &OwnedFd, signal: i32) -> Result<()> {
    // SAFETY: pidfd_send_signal(2) with a null siginfo reads no memory of ours.
    let sent = unsafe {
        let none = std::ptr::null::<libc::siginfo_t>();
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0)
    };
    if sent == 0 { Ok(()) } else { Err(gone()) }
}

/// A command of runsc about a sandbox.
pub(crate) async fn runsc(live: &Live, before: &[&str], after: &[&str], limit: Duration) -> Result<()> {
    let (program, folder): (PathBuf, PathBuf) = (live.runsc().to_owned(), live.folder().to_owned());
    let root = format!("--root={}", folder.join("root").display());
    let arguments: Vec<&str> = [root.as_str(), "--log=/dev/null"]
        .iter()
        .chain(before)
        .chain(&[live.id.as_str()])
        .chain(after)
        .copied()
        .collect();
    tool::run_within(limit, &program.to_string_lossy(), &arguments, "", None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_does_not_leave_its_root() {
        let folder = std::env::temp_dir().join(format!("hs-inside-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        fs::write(folder.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("/a/file", folder.join("inside")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("outside")).unwrap();
        let found: Vec<bool> = ["a/file", "inside", "outside", "../../etc/passwd", "a/other"]
            .iter()
            .map(|path| exists_below(&folder, path))
            .collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [true, true, false, false, false]);
    }

    #[test]
    fn a_process_is_known_by_its_name_and_parent() {
        let (name, parent) = name_and_parent(std::process::id()).unwrap();
        assert!(!name.is_empty());
        assert_eq!(parent, nix::unistd::getppid().as_raw().cast_unsigned());
        assert!(name_and_parent(u32::MAX).is_none());
    }
}

//! The box around workerd, of the runner and of an application's isolate: bubblewrap and a seccomp filter.
//!
//! workerd sees /usr/lib, its own binary and what it is given; it has no network but unix sockets, no capability, and a
//! user of its own. What it runs is hostile, and workerd by itself is no sandbox.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::Command;

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Folders that bubblewrap makes on its way to a mount point would be closed to that user.
const FOLDERS: [&str; 6] = ["/usr", "/usr/bin", "/etc", "/etc/ssl", "/etc/ssl/certs", "/run"];
const CAPABILITIES: [&str; 3] = ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"];

/// Something of the host's that is seen in the box.
pub struct Mount<'a> {
    pub from: &'a Path,
    pub to: &'a str,
    pub writable: bool,
}

/// A box that is about to be made.
pub struct Workerd<'a> {
    /// bubblewrap's binary.
    pub bwrap: &'a Path,
    /// workerd's own binary.
    pub workerd: &'a Path,
    pub hostname: &'a str,
    pub mounts: &'a [Mount<'a>],
    /// Its working directory, in the box.
    pub folder: &'a str,
    /// The filter of system calls, a descriptor that the process keeps.
    pub filter: RawFd,
    /// Its user and group ([`crate::User`]).
    pub user: u32,
    /// Whether it gets a network namespace of its own; else it stays in the one that it is started in.
    pub network: bool,
}

impl Workerd<'_> {
    /// `workerd serve` with these arguments, in the box.
    pub fn serve<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(self.bwrap);
        command.args(["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]);
        command.args(self.network.then_some("--unshare-net"));
        command.args(["--hostname", self.hostname, "--die-with-parent", "--new-session", "--clearenv"]);
        command.args(["--cap-drop", "ALL"]);
        for capability in CAPABILITIES {
            command.args(["--cap-add", capability]);
        }
        for folder in FOLDERS {
            command.args(["--perms", "0755", "--dir", folder]);
        }
        command.args(["--ro-bind", "/usr/lib", "/usr/lib", "--ro-bind-try", "/usr/lib64", "/usr/lib64"]);
        command.args(["--ro-bind", "/usr/bin/setpriv", "/usr/bin/setpriv"]);
        command.args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
        command.args(["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]);
        // workerd does not start without, though it never gets to use them.
        command.args(["--ro-bind-try", CERTIFICATES, CERTIFICATES]);
        command.arg("--ro-bind").arg(self.workerd).arg("/workerd");
        for Mount { from, to, writable } in self.mounts {
            if let Some((above, _)) = to.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
                command.args(["--perms", "0755", "--dir", above]);
            }
            command.arg(if *writable { "--bind" } else { "--ro-bind" }).arg(from).arg(to);
        }
        command.args(["--remount-ro", "/", "--chdir", self.folder, "--seccomp", &self.filter.to_string()]);
        let user = self.user.to_string();
        command.args(["--", "/usr/bin/setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
        command.args(["--", "/workerd", "serve"]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        command
    }
}

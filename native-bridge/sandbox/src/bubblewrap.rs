//! The bubblewrap back end: namespaces of the host's own kernel.
//!
//! bubblewrap runs as root without a user namespace, where "nobody" outside and inside are the same user and root's
//! files are not the app's. It keeps three capabilities for setpriv(1), which gives up the user and then these. The
//! app's environment is only set after that (`env -i`): LD_PRELOAD must not reach a program that is still root.

use crate::base::{APP, Base, NOBODY, SOCKETS};
use crate::job::Job;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::Command;

/// `bwrap` for a job. The process must be put into its network namespace and cgroup; it waits until `gate` is closed
/// at the other end before it runs the app, and loads the seccomp filter that it reads from `filter`.
pub(crate) fn command(bwrap: &Path, base: &Base, job: &Job, gate: Option<RawFd>, filter: RawFd) -> Command {
    let mut command = Command::new(bwrap);
    command.args([
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "headstart",
    ]);
    command.args(["--die-with-parent", "--new-session", "--clearenv"]);
    command.args([
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CAP_SETUID",
        "--cap-add",
        "CAP_SETGID",
        "--cap-add",
        "CAP_SETPCAP",
    ]);
    command.arg("--ro-bind").arg(base.root()).arg("/");
    command.args(["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]);
    command.args(["--perms", "1777", "--tmpfs", "/tmp"]);
    command.args(["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]);
    command.arg("--ro-bind").arg(&job.spec.bundle).arg(APP);
    command.arg("--bind").arg(&job.spec.socket_dir).arg(SOCKETS);
    if let Some(hosts) = &job.hosts {
        command.arg("--ro-bind").arg(hosts).arg("/etc/hosts");
    }
    command.args(["--chdir", APP, "--seccomp", &filter.to_string()]);
    if let Some(gate) = gate {
        command.args(["--block-fd", &gate.to_string()]);
    }
    let nobody = NOBODY.to_string();
    command.args(["--", "/usr/bin/setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
    command.args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
    command.args(["--", "/usr/bin/env", "-i", "--"]);
    command.args(job.environment().into_iter().map(|(name, value)| format!("{name}={value}")));
    command.args(&job.spec.command);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command
}

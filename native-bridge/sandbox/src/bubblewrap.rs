//! The bubblewrap back end: namespaces of the host's own kernel.
//!
//! bubblewrap runs as root without a user namespace (in one, the kernel would count for the user who made it: root), so the
//! app's user is the same outside and inside, and root's files are not the app's. It keeps three capabilities for setpriv(1), which gives up the user and then these. Only
//! after that a shell gives the app's variables their names: LD_PRELOAD must not reach a program that is still root,
//! and values must not be in a command line, which anyone on the host may read.

use crate::base::{APP, Base, SOCKETS};
use crate::image::ENTER;
use crate::job::Job;
use headstart_base::Result;
use std::fmt::Write;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::Command;

/// `bwrap` for a job. The process must be put into its network namespace and cgroup; it waits until `gate` is closed
/// at the other end before it runs the app, and loads the seccomp filter that it reads from `filter`.
pub(crate) fn command(bwrap: &Path, base: &Base, job: &Job, gate: Option<RawFd>, filter: RawFd) -> Result<Command> {
    let mut command = Command::new(bwrap);
    command.args([
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "headstart",
    ]);
    command.args(["--die-with-parent", "--new-session"]);
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
    command.arg("--ro-bind").arg(job.root(base)).arg("/");
    command.args(["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]);
    command.args(["--perms", "1777", "--tmpfs", "/tmp"]);
    command.args(["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]);
    if job.has_bundle {
        command.arg("--ro-bind").arg(&job.spec.bundle).arg(APP);
    }
    command.arg("--bind").arg(&job.spec.socket_dir).arg(SOCKETS);
    for (file, path) in &job.accounts {
        command.arg("--ro-bind").arg(file).arg(path);
    }
    if let Some(hosts) = &job.hosts {
        command.arg("--ro-bind").arg(hosts).arg("/etc/hosts");
    }
    let layout = job.layout(base)?;
    for anchor in layout.anchors.difference(&layout.folders).filter(|anchor| *anchor != "/tmp") {
        command.args(["--perms", "0755", "--tmpfs", anchor]);
    }
    for folder in layout.folders.iter().filter(|folder| *folder != "/tmp") {
        command.args(["--perms", "1777", "--tmpfs", folder]);
    }
    for file in layout.files {
        command.arg("--bind").arg(&file.host).arg(&file.path);
    }
    command.args(["--chdir", job.working_dir(), "--seccomp", &filter.to_string()]);
    if let Some(gate) = gate {
        command.args(["--block-fd", &gate.to_string()]);
    }
    let user = job.user.to_string();
    let environment = job.environment();
    let names = environment.iter().map(|(name, _)| name.as_str());
    if job.spec.image.is_some() {
        // No program of the image runs as root.
        command.args(["--", ENTER, &user]).args(names).arg("--");
    } else {
        command.args(["--", "/usr/bin/setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]);
        command.args(["/bin/sh", "-c", &renaming(names), "sh"]);
    }
    command.args(&job.spec.command).current_dir("/").env_clear();
    for (index, (_, value)) in environment.iter().enumerate() {
        command.env(carrier(index), value);
    }
    Ok(command)
}

/// The name under which a variable's value travels.
fn carrier(index: usize) -> String {
    format!("HEADSTART_VALUE_{index}")
}

/// A shell script that gives the values their names, forgets the carriers, and becomes the app.
fn renaming<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut script = "unset PWD OLDPWD\n".to_owned();
    for (index, name) in names.enumerate() {
        let carrier = carrier(index);
        // Writing to a String cannot fail.
        let _ = writeln!(script, "export {name}=\"${carrier}\"\nunset {carrier}");
    }
    script.push_str("exec \"$@\"\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_reach_the_app_as_they_are() {
        let values = [("LD_PRELOAD", "/nowhere/x.so"), ("A", "a b\n'\"$HOME`id`\\"), ("IFS", "x"), ("EMPTY", "")];
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &renaming(values.iter().map(|(name, _)| *name)), "sh", "/usr/bin/env", "-0"]).env_clear();
        for (index, (_, value)) in values.iter().enumerate() {
            command.env(carrier(index), value);
        }
        let output = command.output().unwrap().stdout;
        let mut seen: Vec<&str> = std::str::from_utf8(&output).unwrap().split_terminator('\0').collect();
        seen.sort_unstable();
        assert_eq!(seen, ["A=a b\n'\"$HOME`id`\\", "EMPTY=", "IFS=x", "LD_PRELOAD=/nowhere/x.so"]);
    }
}

//! The runner in its box (`headstart_sandbox::Workerd`), with its resource limits and its cgroup. It sees its configuration
//! and its socket's folder.

use crate::config::{RunnerConfig, group};
use headstart_base::{Error, ErrorCode, Result};
use headstart_sandbox::{Cgroup, Hierarchies, Launch, Limits, Mount, Workerd, filter, tag};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

const DATA_LIMIT: u64 = 1 << 30;
const MEMORY_LIMIT: u64 = 2 << 30;
const FILE_LIMIT: u64 = 4096;
const PIDS: u32 = 256;

/// A handle of the runner's cgroup, made anew for each runner.
pub(crate) fn cgroup(config: &RunnerConfig, number: u32, hierarchies: &Hierarchies) -> Result<Cgroup> {
    let memory = if config.memory_limit > 0 { config.memory_limit } else { MEMORY_LIMIT };
    let name = format!("headstart/{}/{}", tag(&config.run_dir), group(number));
    Cgroup::create(hierarchies, name, Limits { memory, cpu_millis: 0, pids: PIDS })
}

/// workerd in its box, ready to start. Removes the socket of the one before.
pub(crate) fn launch(config: &RunnerConfig, number: u32, user: u32, cgroup: &Cgroup) -> Result<Launch> {
    let broken = |error: io::Error| Error::new(ErrorCode::RunnerLost, format!("the runner's box: {error}"));
    let sockets = prepare_folder(&config.socket(number), user).map_err(broken)?;
    let dir = config.dir.canonicalize().map_err(broken)?;
    let file = config.config_file.canonicalize().map_err(broken)?;
    let inside = file.strip_prefix(&dir).map_err(|_| {
        let message = format!("{} is not in {}", config.config_file.display(), config.dir.display());
        Error::new(ErrorCode::InvalidArgument, message)
    })?;
    let filter = filter(&[libc::AF_UNIX])?;
    let mounts = [
        Mount { from: &dir, to: "/dist", writable: false },
        Mount { from: &sockets, to: "/run/runner", writable: true },
    ];
    let boxed = Workerd {
        bwrap: &config.bwrap,
        workerd: &config.workerd,
        hostname: "runner",
        mounts: &mounts,
        folder: "/run/runner",
        filter: filter.as_raw_fd(),
        user,
        network: true,
    };
    let file = Path::new("/dist").join(inside);
    let mut launch = Launch::new(boxed.serve([OsStr::new("--experimental"), file.as_os_str()]));
    let data = if config.data_limit > 0 { config.data_limit } else { DATA_LIMIT };
    launch.limits = vec![(libc::RLIMIT_DATA, data), (libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, FILE_LIMIT)];
    launch.cgroup = cgroup.doors()?;
    launch.keep.push(filter);
    Ok(launch)
}

/// An empty folder for the socket, the runner's own. `RUN` above it keeps others out.
fn prepare_folder(socket: &Path, user: u32) -> io::Result<PathBuf> {
    let folder = socket.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(folder)?,
    }
    fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    chown(folder, Some(user), Some(user))?;
    folder.canonicalize()
}

/// workerd itself among the group's processes (the others are bubblewrap's).
pub(crate) fn workerd_of(cgroup: &Cgroup) -> Option<u32> {
    let is_workerd =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "workerd");
    cgroup.pids().into_iter().find(is_workerd)
}

/// CPU time of a process and all its threads so far, in clock ticks (100 a second).
pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows its closing bracket is numbers.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_cpu_time_advances() {
        let begin = super::cpu_ticks(std::process::id()).unwrap();
        let start = std::time::Instant::now();
        // On a busy machine it takes longer.
        while super::cpu_ticks(std::process::id()).unwrap() < begin + 2 {
            assert!(start.elapsed() < std::time::Duration::from_secs(10));
        }
        assert_eq!(super::cpu_ticks(u32::MAX), None);
    }
}

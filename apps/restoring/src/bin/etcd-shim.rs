//! Restores etcd's data from a snapshot and serves it: `STATE`, "s3://bucket/key". The program's arguments are etcd's.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use restoring::{Error, Probe, Result, State, become_server, mark, watch};

const ETCD: &str = "/usr/bin/etcd";
const ETCDCTL: &str = "/usr/bin/etcdctl";
const DATA: &str = "/tmp/etcd";
const PROBE: Probe =
    Probe { port: 2379, request: "GET /health HTTP/1.1\r\nhost: etcd\r\n\r\n", answer: r#""health":"true""# };

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run() -> Result<std::convert::Infallible> {
    let watcher = watch(PROBE)?;
    let state = std::env::var("STATE").map_err(|_| Error::Unset("STATE"))?;
    let file = PathBuf::from(std::env::var("SNAPSHOT_FILE").map_err(|_| Error::Unset("SNAPSHOT_FILE"))?);
    State::from_env().restore(&state, &file)?;
    let mut restore = Command::new(ETCDCTL);
    restore.args(["snapshot", "restore"]).arg(&file).args(["--data-dir", DATA]).env("ETCDCTL_API", "3");
    let failed = |what: String| Error::Program { program: ETCDCTL, what };
    let done = restore.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let done = done.map_err(|error| failed(error.to_string()))?;
    if !done.status.success() {
        return Err(failed(String::from_utf8_lossy(&done.stderr).into_owned()));
    }
    mark("restored");
    let mut command = Command::new(ETCD);
    command.args(["--data-dir", DATA]).args(std::env::args_os().skip(1));
    Err(become_server(ETCD, &mut command, watcher))
}

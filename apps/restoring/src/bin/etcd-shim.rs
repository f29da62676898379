//! Restores etcd's data from a snapshot and serves it: `STATE`, "s3://bucket/key". The program's arguments are etcd's.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use restoring::{Error, Probe, Result, Shim, mark, without_reserving};

const ETCD: &str = "/usr/bin/etcd";
const ETCDCTL: &str = "/usr/bin/etcdctl";
const DATA: &str = "/tmp/etcd";
const PROBE: Probe =
    Probe { port: 2379, request: "GET /health HTTP/1.1\r\nhost: etcd\r\n\r\n", answer: r#""health":"true""# };

fn main() -> ExitCode {
    Shim { program: ETCD, file: "SNAPSHOT_FILE", probe: PROBE }.run(|store, state, file| {
        store.restore(state, file)?;
        if let Err(error) = without_reserving() {
            eprintln!("etcd reserves room for its log: {error}");
        }
        unpack(file)?;
        mark("restored");
        let mut command = Command::new(ETCD);
        command.args(["--data-dir", DATA]);
        Ok(command)
    })
}

/// Makes etcd's data of a snapshot.
fn unpack(snapshot: &Path) -> Result<()> {
    let mut restore = Command::new(ETCDCTL);
    restore.args(["snapshot", "restore"]).arg(snapshot).args(["--data-dir", DATA]).env("ETCDCTL_API", "3");
    let failed = |what: String| Error::Program { program: ETCDCTL, what };
    let done = restore.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let done = done.map_err(|error| failed(error.to_string()))?;
    if done.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&done.stderr).into_owned())) }
}

//! Warm-restarts memcached (-e) from its memory file and what it has written beside that: `STATE`, "s3://bucket/key", and the
//! same with ".meta". The program's arguments are memcached's.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use restoring::{Error, Probe, Shim};

const MEMCACHED: &str = "/usr/bin/memcached";
const PROBE: Probe = Probe { port: 11211, request: "version\r\n", answer: "VERSION" };

fn main() -> ExitCode {
    Shim { program: MEMCACHED, file: "MEMORY_FILE", probe: PROBE }.run(|store, state, file| {
        let meta = PathBuf::from(format!("{}.meta", file.display()));
        std::thread::scope(|scope| {
            let small = scope.spawn(|| store.write_small(&format!("{state}.meta"), &meta));
            let large = store.restore(state, file);
            let lost = |_| Err(Error::Program { program: MEMCACHED, what: "its metadata was lost".into() });
            small.join().unwrap_or_else(lost).and(large)
        })?;
        let mut command = Command::new(MEMCACHED);
        command.arg("-e").arg(file).args(["-l", "127.0.0.1", "-U", "0"]);
        Ok(command)
    })
}

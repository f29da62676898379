//! Warm-restarts memcached (-e) from its memory file and what it has written beside that: `STATE`, "s3://bucket/key", and the
//! same with ".meta". The program's arguments are memcached's.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use restoring::{Error, Probe, Result, State, become_server, watch};

const MEMCACHED: &str = "/usr/bin/memcached";
const PROBE: Probe = Probe { port: 11211, request: "version\r\n", answer: "VERSION" };

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run() -> Result<std::convert::Infallible> {
    let watcher = watch(PROBE)?;
    let state = std::env::var("STATE").map_err(|_| Error::Unset("STATE"))?;
    let file = PathBuf::from(std::env::var("MEMORY_FILE").map_err(|_| Error::Unset("MEMORY_FILE"))?);
    let meta = PathBuf::from(format!("{}.meta", file.display()));
    let states = State::from_env();
    std::thread::scope(|scope| {
        let small = scope.spawn(|| states.write_small(&format!("{state}.meta"), &meta));
        let large = states.restore(&state, &file);
        let small = small.join();
        small
            .unwrap_or_else(|_| Err(Error::Program { program: MEMCACHED, what: "its metadata was lost".into() }))
            .and(large)
    })?;
    let mut command = Command::new(MEMCACHED);
    command.arg("-e").arg(&file).args(["-l", "127.0.0.1", "-U", "0"]).args(std::env::args_os().skip(1));
    Err(become_server(MEMCACHED, &mut command, watcher))
}

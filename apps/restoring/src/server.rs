//! The shim becomes the server, so that signals and its end are the server's own; a second process of the shim stays, which
//! says when the server answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::mark;

const SHIM: &str = "the shim";
/// How the shim's second process is called.
const WATCH: &str = "watch";
const LONGEST: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);
const ANSWER: Duration = Duration::from_secs(1);

/// A request to the server, and what its answer has in it.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub port: u16,
    pub request: &'static str,
    pub answer: &'static str,
}

/// Waits, beside the shim, for the server's first answer. What the shim holds is closed when it becomes the server.
#[derive(Debug)]
pub(crate) struct Watcher(JoinHandle<std::io::Result<Option<ChildStdin>>>);

/// In the second process, which this starts: does not return there. Call it first.
pub(crate) fn watch(probe: Probe) -> Result<Watcher> {
    if std::env::args().nth(1).as_deref() == Some(WATCH) {
        // The end of the pipe is the beginning of the server.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        mark("server started");
        let ended = answers(probe);
        mark(if ended { "server ready" } else { "server not ready" });
        std::process::exit(i32::from(!ended));
    }
    mark("shim started");
    let own = std::env::current_exe().map_err(failed)?;
    // To start a process takes milliseconds in gVisor: beside what comes first.
    Ok(Watcher(std::thread::spawn(move || {
        let child = Command::new(own).arg(WATCH).stdin(Stdio::piped()).spawn();
        child.map(|mut child| child.stdin.take())
    })))
}

/// Becomes the server. Returns only when that fails.
pub(crate) fn become_server(program: &'static str, command: &mut Command, Watcher(starting): Watcher) -> Error {
    // Closed by exec(2), and not before.
    let held = match starting.join() {
        Ok(Ok(held)) => held,
        Ok(Err(error)) => return failed(error),
        Err(_) => return Error::Program { program: SHIM, what: "its thread was lost".to_owned() },
    };
    let error = command.stdin(Stdio::null()).exec();
    drop(held);
    Error::Program { program, what: error.to_string() }
}

fn failed(error: std::io::Error) -> Error {
    Error::Program { program: SHIM, what: error.to_string() }
}

fn answers(probe: Probe) -> bool {
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        if asked(probe).is_ok_and(|answer| answer.contains(probe.answer)) {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}

/// One request, and the beginning of its answer.
fn asked(Probe { port, request, answer }: Probe) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    while length < bytes.len() {
        match stream.read(&mut bytes[length..])? {
            0 => break,
            count => length += count,
        }
        if String::from_utf8_lossy(&bytes[..length]).contains(answer) {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

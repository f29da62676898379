//! A server that speaks in lines, on loopback. A thread per connection.
//!
//! `echo X`: X · `stream N`: "ok", and right behind it N bytes that tell their place · `wait`: nothing until the gate opens, then
//! "waited" · `quit`: the end · `reset`: a reset.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    /// Connections that are open here.
    open: AtomicUsize,
    gate: Mutex<bool>,
    opened: Condvar,
}

pub struct Lines {
    /// "127.0.0.1:port".
    pub at: String,
    shared: Arc<Shared>,
}

/// Bytes that tell their place.
pub fn numbered(count: usize) -> Vec<u8> {
    (0_u64..).take(count).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect()
}

impl Lines {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(&stream, &shared);
                    drop(stream);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { at, shared }
    }

    /// The address as a script names it.
    pub fn framed(&self) -> String {
        format!("tcp://{}?frame=line", self.at)
    }

    /// The address as an application names it.
    pub fn address(&self) -> String {
        format!("tcp://{}", self.at)
    }

    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Lets those who wait go on.
    pub fn open_gate(&self) {
        *self.shared.gate.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if one(&line, stream, shared).is_none() {
            return;
        }
    }
}

fn one(line: &str, mut out: &TcpStream, shared: &Shared) -> Option<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "echo" => out.write_all(format!("{rest}\n").as_bytes()).ok(),
        "stream" => out.write_all(&[b"ok\n", &numbered(rest.parse().unwrap())[..]].concat()).ok(),
        "wait" => {
            let gate = shared.gate.lock().unwrap();
            drop(shared.opened.wait_while(gate, |open| !*open).unwrap());
            out.write_all(b"waited\n").ok()
        }
        "reset" => {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&out, nix::sys::socket::sockopt::Linger, &linger).unwrap();
            None
        }
        _ => None,
    }
}

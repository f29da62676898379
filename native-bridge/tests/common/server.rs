//! A small HTTP/1.1 server on loopback. A thread per connection; the path says what it does.
//!
//! `/bytes/N`: N bytes, the n-th is n mod 251 · `/chunked/N`: the same without a length · `/slow/N`: the first half at once,
//! the rest when the gate opens · `/reset/N`: half, then a reset, the first time; whole later · `/short/N`: half, then the end
//! · `/missing`: 404 · `/put/…`: takes a body.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct Shared {
    /// Requests by "VERB path".
    seen: Mutex<HashMap<String, u32>>,
    open: Mutex<bool>,
    opened: Condvar,
}

pub struct Server {
    pub address: String,
    shared: Arc<Shared>,
}

pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// How many requests there were of "VERB path".
    pub fn seen(&self, what: &str) -> u32 {
        self.shared.seen.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// Lets slow answers go on.
    pub fn open(&self) {
        *self.shared.open.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    // The client's going away ends the thread, however it shows.
    while let Some(()) = one(&mut reader, stream, shared) {}
}

fn one(reader: &mut BufReader<&TcpStream>, mut out: &TcpStream, shared: &Shared) -> Option<()> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = line.split_whitespace();
    let (verb, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let times = {
        let mut seen = shared.seen.lock().unwrap();
        let times = seen.entry(format!("{verb} {path}")).or_default();
        *times += 1;
        *times
    };
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let count: usize = parts.get(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let bytes = pattern(count);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\netag: \"e{count}\"\r\n\r\n");
    match parts[0] {
        "bytes" => {
            out.write_all(head.as_bytes()).ok()?;
            if verb != "HEAD" {
                out.write_all(&bytes).ok()?;
            }
        }
        "chunked" => {
            out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            for chunk in bytes.chunks(50_000) {
                out.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).ok()?;
                out.write_all(chunk).ok()?;
                out.write_all(b"\r\n").ok()?;
            }
            out.write_all(b"0\r\n\r\n").ok()?;
        }
        "slow" => {
            out.write_all(head.as_bytes()).ok()?;
            out.write_all(&bytes[..count / 2]).ok()?;
            let open = shared.open.lock().unwrap();
            drop(shared.opened.wait_while(open, |open| !*open).unwrap());
            out.write_all(&bytes[count / 2..]).ok()?;
        }
        "reset" if times == 1 => {
            out.write_all(head.as_bytes()).ok()?;
            out.write_all(&bytes[..count / 2]).ok()?;
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&out, nix::sys::socket::sockopt::Linger, &linger).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            return None;
        }
        "reset" => {
            out.write_all(head.as_bytes()).ok()?;
            out.write_all(&bytes).ok()?;
        }
        "short" => {
            out.write_all(head.as_bytes()).ok()?;
            out.write_all(&bytes[..count / 2]).ok()?;
            return None;
        }
        "put" => out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()?,
        _ => out.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone").ok()?,
    }
    Some(())
}

//! A link of a known latency and rate in front of a local server, for benchmarks (the kernel has no netem).
//!
//! **Theory of operation.** Two threads a connection. What the client sends goes up as it comes. What the server sends is
//! moved by splice(2) in small, even pieces, each when the link would have delivered it: the first byte of each answer
//! `--first-byte-ms` after the server sent it, the following ones at `--rate-mb-s`. A piece that is late because the
//! machine was busy is caught up; time in which the server had nothing to send is not. A reset is passed on.

mod admin;
mod clock;
mod connection;
mod splice;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;

use crate::connection::Shape;

#[derive(Parser)]
#[command(about = "A TCP link of a known latency and rate in front of a local server")]
struct Options {
    /// ADDRESS:PORT for clients; may be given several times
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// ADDRESS:PORT of the server
    #[arg(long)]
    to: SocketAddr,
    /// Added before the first byte of each answer, milliseconds
    #[arg(long, default_value_t = 25.0)]
    first_byte_ms: f64,
    /// Of each connection, 10^6 bytes a second
    #[arg(long, default_value_t = 69.5)]
    rate_mb_s: f64,
    /// Bytes of one piece
    #[arg(long, default_value_t = 128 * 1024, value_parser = clap::value_parser!(u32).range(4096..=1024 * 1024))]
    piece: u32,
    /// ADDRESS:PORT for GET /-/stats and POST /-/reset
    #[arg(long)]
    admin: Option<SocketAddr>,
}

/// What has gone through.
#[derive(Default)]
struct Counts {
    open: AtomicU32,
    accepted: AtomicU64,
    /// From the servers to the clients.
    bytes: AtomicU64,
}

const MAX_CONNECTIONS: u32 = 1024;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("headstart-link: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), String> {
    if !(0.0..=60_000.0).contains(&options.first_byte_ms) || !(0.001..=1e6).contains(&options.rate_mb_s) {
        return Err("--first-byte-ms is 0 to 60000, --rate-mb-s 0.001 to 1000000".to_owned());
    }
    let shape = Shape {
        first_byte: Duration::from_secs_f64(options.first_byte_ms / 1e3),
        bytes_per_second: options.rate_mb_s * 1e6,
        piece: options.piece as usize,
    };
    clock::be_precise();
    let counts = Arc::new(Counts::default());
    let mut places = Vec::new();
    let mut threads = Vec::new();
    for address in options.listen {
        let listener = bind(address)?;
        places.push(local(&listener)?);
        let counts = Arc::clone(&counts);
        threads.push(std::thread::spawn(move || accept(&listener, options.to, shape, &counts)));
    }
    let mut admin = String::new();
    if let Some(address) = options.admin {
        let listener = bind(address)?;
        admin = format!(", admin on {}", local(&listener)?);
        let counts = Arc::clone(&counts);
        std::thread::spawn(move || admin::serve(&listener, &counts));
    }
    println!("ready: link on {} to {}{admin}", places.join(", "), options.to);
    for thread in threads {
        thread.join().map_err(|_| "a listener's thread ended".to_owned())?;
    }
    Ok(())
}

fn accept(listener: &TcpListener, to: SocketAddr, shape: Shape, counts: &Arc<Counts>) {
    loop {
        let Ok((client, _)) = listener.accept() else {
            // Too many open files, most likely: others will close some.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        if counts.open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
            continue;
        }
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        counts.open.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(counts);
        std::thread::spawn(move || {
            if let Err(error) = connection::run(client, to, shape, &counts) {
                eprintln!("headstart-link: {error}");
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn local(listener: &TcpListener) -> Result<String, String> {
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

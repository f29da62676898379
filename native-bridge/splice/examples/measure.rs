//! Measures what a spliced connection costs beside the socket itself: `measure direct|spliced [BYTES]`.
//!
//! A server on loopback sends BYTES, which a reader takes in pieces of 256 KiB; then a byte goes to and fro 20,000 times. Prints
//! `{"mb_s":…,"rtt_us":…}`: MB (10⁶ bytes) a second, and the median round trip.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const PIECE: usize = 256 << 10;
const TRIPS: usize = 20_000;
/// Trips before those that count.
const WARM_UP: usize = 1000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let way = arguments.next().unwrap_or_default();
    let bytes: usize = arguments.next().map_or(1 << 30, |bytes| bytes.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
    }
    let serving = std::thread::spawn(move || serve(server, bytes));
    match way.as_str() {
        "direct" => measure(client, bytes),
        "spliced" => {
            // As the bridge's data runtime.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let _inside = runtime.enter();
            let carried = headstart_splice::carry(OwnedFd::from(client), Duration::from_secs(60)).unwrap();
            runtime.spawn(carried.work);
            measure(UnixStream::from(carried.theirs), bytes);
        }
        other => panic!("measure direct|spliced, not {other:?}"),
    }
    serving.join().unwrap();
}

fn serve(mut server: TcpStream, bytes: usize) {
    let piece = vec![1; PIECE];
    // The first byte asks for all.
    server.read_exact(&mut [0]).unwrap();
    let mut left = bytes;
    while left > 0 {
        let count = left.min(PIECE);
        server.write_all(&piece[..count]).unwrap();
        left -= count;
    }
    let mut byte = [0];
    while server.read(&mut byte).unwrap() > 0 {
        server.write_all(&byte).unwrap();
    }
}

fn measure(mut stream: impl Read + Write, bytes: usize) {
    let mut piece = vec![0; PIECE];
    let began = Instant::now();
    stream.write_all(&[0]).unwrap();
    let mut left = bytes;
    while left > 0 {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the end with {left} bytes missing");
        left -= count;
    }
    let speed = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    let mut trips = Vec::with_capacity(TRIPS);
    for trip in 0..WARM_UP + TRIPS {
        let began = Instant::now();
        stream.write_all(&[0]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        if trip >= WARM_UP {
            trips.push(began.elapsed());
        }
    }
    trips.sort_unstable();
    let trip = trips[TRIPS / 2].as_secs_f64() * 1e6;
    println!("{{\"mb_s\":{speed:.1},\"rtt_us\":{trip:.2}}}");
}

//! HTTP/2 by hand: servers that send without end what costs them nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode};
use headstart_net::{Address, Request};

use crate::server::{Sink, client};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: ":status" by its place in the static table, then literals.
fn block(status: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0x80 | status];
    for (name, value) in headers {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn fine() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &block(8, &[("content-type", "application/grpc")]))
}

/// What comes of a call when the server sends `first` and then `flood` for ever; the server's thread ends with the connection.
async fn flooded(first: Vec<u8>, flood: Vec<u8>) -> Result<u16, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&format!("grpc://{}", listener.local_addr().unwrap())).unwrap();
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        drop(serve(&mut tcp, &first, &flood));
    });
    let client = client();
    let call = Request::parse(&address, b"/a.B/C\n\nmessage").unwrap();
    let begin = Instant::now();
    let deadline = begin + Duration::from_secs(1);
    let done = client.send("t", &address, None, &call, deadline, &mut Sink::default(), &mut |_| {}).await;
    assert!(begin.elapsed() < Duration::from_millis(2500), "a deadline is one under a flood, too");
    // Without it, and its connections, the server has nobody left.
    drop(client);
    tokio::task::spawn_blocking(move || server.join().unwrap()).await.unwrap();
    done.map(|done| done.head.status)
}

fn serve(tcp: &mut TcpStream, first: &[u8], flood: &[u8]) -> std::io::Result<()> {
    tcp.set_write_timeout(Some(Duration::from_secs(2)))?;
    tcp.read_exact(&mut [0; 24])?;
    tcp.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    // The call's own frames may take a moment; what comes of a stream that is not open yet would be an error of its own.
    let mut seen = vec![0; 4096];
    let mut count = 0;
    while !seen[..count].windows(6).any(|bytes| bytes == b"essage") {
        match tcp.read(&mut seen[count..])? {
            0 => return Ok(()),
            more => count += more,
        }
    }
    tcp.write_all(first)?;
    let many = flood.repeat(1 + 60_000 / (flood.len() + 1));
    loop {
        tcp.write_all(&many)?;
    }
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_in_time_and_fill_no_memory() {
    let never = || frame(HEADERS, 0, 1, &[0x88]);
    let early = frame(HEADERS, END_HEADERS, 1, &[&[0x08, 3][..], b"103"].concat());
    for (what, first, flood) in [
        ("pings", vec![], frame(PING, 0, 0, &[7; 8])),
        ("settings", vec![], frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("window updates", vec![], frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("unknown frames", vec![], frame(0xbe, 0, 0, &[0; 100])),
        ("empty data", fine(), frame(DATA, 0, 1, &[])),
        ("padding", fine(), frame(DATA, 8, 1, &[200; 201])),
        ("early hints", vec![], early),
        ("continuations", never(), frame(CONTINUATION, 0, 1, &block(8, &[("a", "b")])[1..])),
        ("empty continuations", never(), frame(CONTINUATION, 0, 1, &[])),
        ("resets", fine(), frame(RESET, 0, 1, &[0, 0, 0, 8])),
        ("pushes", vec![], frame(PUSH, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(2, &[])].concat())),
        ("a message that goes on", [fine(), frame(DATA, 0, 1, &[0, 0, 0, 0, 1])].concat(), frame(DATA, 0, 1, b"x")),
        ("goodbyes", vec![], frame(GO_AWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
        ("large frames", vec![], frame(DATA, 0, 1, &vec![0; 70_000])),
        ("nonsense", vec![], vec![0xff; 100]),
    ] {
        let before = resident();
        let error = flooded(first, flood).await.expect_err(what);
        let typed = matches!(error.code, ErrorCode::RpcTimeout | ErrorCode::BadReply | ErrorCode::ConnectionReset);
        let grown = resident().saturating_sub(before) >> 20;
        assert!(typed, "{what}: {error:?}");
        assert!(grown < 48, "{what}: {grown} MiB more");
    }
}

//! Connections on loopback, and a sink that remembers.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream as Plain};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{Address, BodySink, ResponseHead, Session};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

const ROOM: usize = 1 << 20;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    static LISTENER: TcpListener = TcpListener::bind("127.0.0.1:0").expect("a port");
}

pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// When something hangs.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Both ends of a connection. Closing leaves nothing behind in the kernel.
fn pair() -> (Plain, Plain) {
    LISTENER.with(|listener| {
        let near = listener.local_addr().and_then(Plain::connect).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        (near, far)
    })
}

fn asynchronous(socket: Plain) -> TcpStream {
    socket.set_nonblocking(true).expect("a socket");
    let socket = TcpStream::from_std(socket).expect("a socket");
    socket.set_zero_linger().expect("a socket");
    socket
}

/// A session of the bridge, and its server's end.
pub(crate) fn session(address: &Address) -> (Session, TcpStream) {
    let (near, far) = pair();
    let near = asynchronous(near).into_std().expect("a socket");
    let session = Session::adopt(address.clone(), OwnedFd::from(near)).expect("a TCP socket is adopted");
    (session, asynchronous(far))
}

/// What lies in a socket.
pub(crate) fn lies_in(socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut socket = socket.into_std().expect("a socket");
    match socket.read_to_end(&mut bytes) {
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        _ => {}
    }
    bytes
}

/// Collects a body in pieces of a size.
pub(crate) struct Sink {
    pub(crate) bytes: Vec<u8>,
    buffer: Vec<u8>,
}

impl Sink {
    pub(crate) fn new(piece: usize) -> Self {
        Self { bytes: Vec::new(), buffer: vec![0; piece.max(1)] }
    }
}

impl BodySink for Sink {
    fn begin(&mut self, head: &ResponseHead) -> Result<()> {
        self.bytes.clear();
        match head.content_length {
            Some(length) if length > ROOM as u64 => Err(full()),
            _ => Ok(()),
        }
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        match self.bytes.len() < ROOM {
            true => Ok(&mut self.buffer),
            false => Err(full()),
        }
    }

    fn filled(&mut self, count: usize) {
        self.bytes.extend_from_slice(&self.buffer[..count]);
    }
}

fn full() -> Error {
    Error::new(ErrorCode::InstanceMemoryFull, "full")
}

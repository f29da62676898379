//! A TCP server that does what a test tells it, and a sink that remembers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{Address, BodySink, Client, ClientConfig, Done, Progress, Reach, Request, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does next on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads a request's head (and as many bytes of a body).
    Read(usize),
    Send(Vec<u8>),
    Wait(u64),
    /// Resets the connection. Without it, the end of the steps closes it.
    Reset,
    /// Keeps the connection open until the client closes it.
    Hold,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Each connection gets the next list of steps; the last one serves all that follow.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opened, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let number = opened.fetch_add(1, Ordering::SeqCst);
                let script = scripts[number.min(scripts.len() - 1)].clone();
                let asked = Arc::clone(&asked);
                tokio::spawn(async move { drop(play(tcp, script, &asked).await) });
            }
        });
        Self { address, connections, requests, task }
    }

    /// A server whose every connection answers every request with these bytes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let step = [Step::Read(0), Step::Send(answer.into())];
        Self::start(vec![step.iter().cycle().take(200).cloned().collect()]).await
    }

    pub(crate) fn to(&self) -> Address {
        Address::parse(&format!("http://{}", self.address)).unwrap()
    }

    pub(crate) fn opened(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn asked(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(mut tcp: TcpStream, script: Vec<Step>, asked: &AtomicUsize) -> io::Result<()> {
    for step in script {
        match step {
            Step::Read(body) => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await?);
                }
                asked.fetch_add(1, Ordering::SeqCst);
                tcp.read_exact(&mut vec![0; body]).await?;
            }
            Step::Send(bytes) => tcp.write_all(&bytes).await?,
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Reset => return tcp.set_zero_linger(),
            Step::Hold => while tcp.read_u8().await.is_ok() {},
        }
    }
    Ok(())
}

/// Collects a body, at most `room` bytes, in pieces of at most `piece`.
pub(crate) struct Sink {
    pub(crate) bytes: Vec<u8>,
    pub(crate) begins: usize,
    pub(crate) head: Option<ResponseHead>,
    room: usize,
    piece: usize,
    buffer: Vec<u8>,
}

impl Sink {
    pub(crate) fn new(room: usize, piece: usize) -> Self {
        Self { bytes: Vec::new(), begins: 0, head: None, room, piece, buffer: vec![0; piece] }
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self::new(64 << 20, 64 << 10)
    }
}

impl BodySink for Sink {
    fn begin(&mut self, head: &ResponseHead) -> Result<()> {
        self.begins += 1;
        self.bytes.clear();
        self.head = Some(head.clone());
        match head.content_length {
            Some(length) if length > self.room as u64 => Err(full()),
            _ => Ok(()),
        }
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        match self.room - self.bytes.len() {
            0 => Err(full()),
            left => Ok(&mut self.buffer[..left.min(self.piece)]),
        }
    }

    fn filled(&mut self, count: usize) {
        self.bytes.extend_from_slice(&self.buffer[..count]);
    }
}

fn full() -> Error {
    Error::new(ErrorCode::InstanceMemoryFull, "full")
}

/// A client with short waits.
pub(crate) fn client() -> Client {
    Client::new(ClientConfig {
        connect_timeout: Duration::from_millis(500),
        first_byte_timeout: Duration::from_millis(400),
        stall_timeout: Duration::from_millis(300),
        backoff: Duration::from_millis(5),
        reach: Reach::Spelled,
        ..ClientConfig::default()
    })
}

/// What came of a request.
pub(crate) struct Got {
    pub(crate) result: Result<Done>,
    pub(crate) sink: Sink,
    pub(crate) progress: Vec<Progress>,
}

impl Got {
    pub(crate) fn code(&self) -> ErrorCode {
        self.result.as_ref().unwrap_err().code
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.result.as_ref().unwrap();
        &self.sink.bytes
    }
}

pub(crate) async fn ask(client: &Client, server: &Server, raw: &str) -> Got {
    ask_into(client, server, raw, Sink::default(), Duration::from_secs(5)).await
}

pub(crate) async fn ask_into(client: &Client, server: &Server, raw: &str, mut sink: Sink, within: Duration) -> Got {
    let address = server.to();
    let request = Request::parse(&address, raw.as_bytes()).unwrap();
    let mut progress = Vec::new();
    let result = client
        .send("tenant", &address, None, &request, Instant::now() + within, &mut sink, &mut |step| progress.push(step))
        .await;
    Got { result, sink, progress }
}

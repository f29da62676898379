//! One connection of an instance's own, for protocols whose answers come in the order of their requests.
//!
//! Requests may be sent while earlier ones wait: two locks, each fair, hand out the turn to write and the turn to read, and a
//! request queues for the second before it gives back the first. Nothing is read that does not belong to an answer. What is cut
//! off in the middle (a deadline, a cancelled caller) leaves the connection unusable: nobody knows where the next answer begins.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::unconstrained;

use crate::address::{Address, Scheme};
use crate::body::{BodySink, Receiver};
use crate::client::{Done, Progress};
use crate::exchange::{Answer, Exchange, Route};
use crate::failure::{Attempt, Failure};
use crate::frame;
use crate::head::ResponseHead;
use crate::memcached;
use crate::quota::Permit;
use crate::redis;
use crate::request::Request;
use crate::status;
use crate::stream::{Parts, Stream};
use crate::text::Text;

/// One connection of an instance's own.
pub struct Session {
    address: Address,
    stream: Stream,
    /// How long a peer may be silent in the middle of something.
    stall: Duration,
    /// The turn to write, and to queue for the turn to read.
    writing: Mutex<()>,
    reading: Mutex<()>,
    /// Requests whose answers have not come.
    pending: AtomicUsize,
    /// What made it unusable.
    broken: OnceLock<Error>,
}

/// The silence that is borne on a connection that an application handed over.
const STALL: Duration = Duration::from_secs(15);

/// How long HTTP's first byte may take.
const FIRST_BYTE: Duration = Duration::from_secs(30);

impl Session {
    pub(crate) fn new(address: Address, stream: Stream, stall: Duration) -> Self {
        Self {
            address,
            stream,
            stall,
            writing: Mutex::default(),
            reading: Mutex::default(),
            pending: AtomicUsize::new(0),
            broken: OnceLock::new(),
        }
    }

    /// Says what a protocol begins with. `login` is a user and a password.
    ///
    /// `unauthorized` when the server does not take them, `badReply` when it refuses otherwise. A server that wants a password
    /// that nobody named is asked nothing: the script may send AUTH itself.
    pub(crate) async fn greet(&self, login: Option<(&str, &str)>) -> Result<()> {
        if !matches!(self.address.scheme, Scheme::Redis | Scheme::Rediss) {
            return Ok(());
        }
        let mut answer = Text::default();
        let greeting = async {
            self.write(&redis::hello(login)).await?;
            self.first_byte().await?;
            redis::receive(&mut self.receiver(&mut answer)).await
        };
        let (head, _) = greeting.await.map_err(|failure| self.break_by(failure))?;
        if head.status != status::ERROR || login.is_none() {
            return Ok(());
        }
        // What the server says may quote what it was told.
        let known = ["WRONGPASS", "NOAUTH", "NOPERM", "ERR"];
        let kind = answer.bytes().split(|&byte| byte == b' ').next().unwrap_or_default();
        let kind = known.iter().find(|known| known.as_bytes() == kind).unwrap_or(&"an error");
        let message = format!("{} does not take the user and password of the secret: {kind}", self.address);
        Err(Error::new(ErrorCode::Unauthorized, message))
    }

    /// A connection that an application handed over: a TCP socket, connected. Its sender may still hold it: it reads and writes
    /// what it likes there, but never makes us wait.
    ///
    /// `unsupported` for a scheme with TLS or one whose requests are signed; `invalidArgument` for what is no TCP socket;
    /// `connectionReset` for one that is not connected. Must be called in a tokio runtime.
    pub fn adopt(address: Address, socket: OwnedFd) -> Result<Self> {
        let plain = matches!(address.scheme, Scheme::Http) || address.scheme.is_session();
        if !plain || address.scheme.is_tls() {
            let message = format!(
                "a connection of the kind {}:// cannot be handed over by an application",
                address.scheme.name()
            );
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let wrong = |why: String| Error::new(ErrorCode::InvalidArgument, format!("what was handed over {why}"));
        match protocol(&socket) {
            Some(libc::IPPROTO_TCP) => {}
            _ => return Err(wrong("is no TCP socket".to_owned())),
        }
        let tcp = std::net::TcpStream::from(socket);
        if tcp.peer_addr().is_err() {
            return Err(Error::new(ErrorCode::ConnectionReset, "what was handed over is not connected"));
        }
        tcp.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
        let tcp = TcpStream::from_std(tcp).map_err(|error| wrong(error.to_string()))?;
        Ok(Self::new(address, Stream::plain(tcp, None), STALL))
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer()
    }

    /// Whether it can be handed over: `connectionReset` when the server has closed or reset it, or an RPC was cut off on it;
    /// `connectionBusy` when an answer has not come or unread bytes lie in it.
    pub fn alive(&self) -> Result<()> {
        self.usable()?;
        if self.pending.load(Ordering::Acquire) > 0 {
            return Err(Error::new(ErrorCode::ConnectionBusy, "an answer on this connection has not come yet"));
        }
        self.stream.check()
    }

    /// The connection itself. Ask [`Session::alive`] first.
    pub fn into_parts(self) -> (Parts, Option<Permit>) {
        self.stream.into_parts()
    }

    /// Sends a request and receives its answer into `sink`. Calls may overlap: requests are written in the order of the calls'
    /// first polls, and answered in that order.
    ///
    /// There is one attempt. Errors: `invalidArgument` (nothing was sent), `connectionReset`, `badReply`, `bodyTruncated`,
    /// `rpcTimeout`, and those of the sink; after all but the first the connection is of no more use.
    pub async fn send(
        &self,
        request: &Request,
        deadline: Instant,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        match tokio::time::timeout_at(deadline.into(), self.in_turn(request, sink, progress)).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorCode::RpcTimeout, format!("{} took longer than allowed", request.content))),
        }
    }

    async fn in_turn(
        &self,
        request: &Request,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        let wire = self.encode(request)?;
        // Whoever polls first has the turn: a runtime's budget must not put it off.
        let writing = unconstrained(self.writing.lock()).await;
        self.usable()?;
        progress(Progress::Connected { reused: true });
        let mut turn = Turn::begin(self);
        if let Some(wire) = &wire {
            self.write(wire).await.map_err(|failure| self.break_by(failure))?;
            progress(Progress::Sent { attempt: 1, reused: true });
        }
        // One poll queues.
        let mut reading = pin!(unconstrained(self.reading.lock()));
        let first = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
        // HTTP answers come one at a time.
        let writing = wire.is_none().then_some(writing);
        let _reading = match first {
            Poll::Ready(guard) => guard,
            Poll::Pending => reading.await,
        };
        self.usable()?;
        let answer = self.answer(request, sink, progress).await;
        drop(writing);
        let (head, length) = answer.map_err(|failure| self.break_by(failure))?;
        turn.is_done = true;
        Ok(Done { head, length, attempts: 1 })
    }

    /// What goes on the wire before the answer is waited for; `None` for HTTP, which does both in one.
    fn encode(&self, request: &Request) -> Result<Option<Vec<u8>>> {
        match self.address.scheme {
            Scheme::Tcp(frame) | Scheme::Tcps(frame) => frame::encode(frame, &request.body).map(Some),
            Scheme::Redis | Scheme::Rediss => Ok(Some(redis::encode(request))),
            Scheme::Memcached => Ok(Some(memcached::encode(request))),
            Scheme::Http | Scheme::Https => Ok(None),
            other => {
                let message = format!("requests to {}:// are not sent on a connection of one's own", other.name());
                Err(Error::new(ErrorCode::Unsupported, message))
            }
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> Attempt<()> {
        while !bytes.is_empty() {
            let count = tokio::time::timeout(self.stall, self.stream.write(bytes))
                .await
                .map_err(|_| Failure::timeout("the service stopped taking the request"))??;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: &Request,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Attempt<(ResponseHead, u64)> {
        if matches!(self.address.scheme, Scheme::Http | Scheme::Https) {
            return self.http(request, sink, progress).await;
        }
        self.first_byte().await?;
        progress(Progress::FirstByte);
        let mut receiver = self.receiver(sink);
        match self.address.scheme {
            Scheme::Tcp(frame) | Scheme::Tcps(frame) => frame::receive(&mut receiver, frame).await,
            Scheme::Redis | Scheme::Rediss => redis::receive(&mut receiver).await,
            Scheme::Memcached => memcached::receive(&mut receiver).await,
            _ => Err(Failure::bad_reply("nobody here reads it")),
        }
    }

    /// Waits for an answer's first byte, for as long as the request may take.
    async fn first_byte(&self) -> Attempt<()> {
        match self.stream.readable().await? {
            true => Ok(()),
            false => Err(Failure::closed()),
        }
    }

    fn receiver<'a>(&'a self, sink: &'a mut dyn BodySink) -> Receiver<'a> {
        Receiver { stream: &self.stream, sink, stall: self.stall }
    }

    async fn http(
        &self,
        request: &Request,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Attempt<(ResponseHead, u64)> {
        let route = Route::new(&self.address, None)?;
        let exchange = Exchange {
            request,
            head: route.head(request, ""),
            attempt: 1,
            reused: true,
            retry_errors: false,
            first_byte: FIRST_BYTE,
            stall: self.stall,
        };
        let Answer { head, length, keep_alive } = exchange.run(&self.stream, sink, progress).await?;
        if !keep_alive {
            let _ = self.broken.set(Error::new(ErrorCode::ConnectionReset, "the service ends this connection"));
        }
        Ok((head, length))
    }

    fn usable(&self) -> Result<()> {
        self.broken.get().cloned().map_or(Ok(()), Err)
    }

    /// Notes why the connection is of no more use.
    fn break_by(&self, failure: Failure) -> Error {
        let because = format!("an earlier request on this connection failed: {}", failure.error.message);
        let _ = self.broken.set(Error::new(ErrorCode::ConnectionReset, because));
        failure.error
    }
}

/// A request under way. One that is dropped before its answer has come breaks the connection.
struct Turn<'a> {
    session: &'a Session,
    is_done: bool,
}

impl<'a> Turn<'a> {
    fn begin(session: &'a Session) -> Self {
        session.pending.fetch_add(1, Ordering::AcqRel);
        Self { session, is_done: false }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let because = "an earlier request on this connection was cut off";
            let _ = self.session.broken.set(Error::new(ErrorCode::ConnectionReset, because));
        }
        self.session.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// SO_PROTOCOL of a socket; `None` for what is none.
fn protocol(socket: &OwnedFd) -> Option<libc::c_int> {
    let mut protocol: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and both pointers are valid for what is written: `size` bytes and their count.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            (&raw mut protocol).cast(),
            &raw mut size,
        )
    };
    (status == 0).then_some(protocol)
}

//! A byte stream that is never read further than what is asked for.
//!
//! On plain TCP what precedes a body is looked at with `MSG_PEEK`, then exactly that much is consumed; bodies are received
//! straight into the caller's memory. On TLS the records are decrypted in rustls's buffer and copied from there, once.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use headstart_base::{Error, ErrorCode, Result as Checked};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::failure::Failure;
use crate::quota::Permit;

/// A connection's bytes. It can be read and written at the same time, by one reader and one writer.
///
/// Each system call says MSG_DONTWAIT: a socket that came from an application may be made blocking by it at any time.
pub(crate) struct Stream {
    kind: Kind,
    /// None for a connection that an application handed over: it is counted as the application's.
    permit: Option<Permit>,
}

enum Kind {
    Plain(TcpStream),
    /// The lock is held for one poll.
    Tls(Mutex<Box<TlsStream<TcpStream>>>),
}

/// What came of [`Stream::take`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is whole, in the buffer, and consumed.
    Whole,
    /// It is not whole within the limit.
    TooLong,
    /// The peer closed; how many bytes of an incomplete piece there were.
    Closed(usize),
}

/// The first window of a peek. Most heads fit.
const WINDOW: usize = 1024;

/// What a peek found.
enum Seen {
    Whole(usize),
    Full,
    Closed(usize),
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream, permit: Option<Permit>) -> Self {
        Self { kind: Kind::Plain(tcp), permit }
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>, permit: Option<Permit>) -> Self {
        Self { kind: Kind::Tls(Mutex::new(Box::new(tls))), permit }
    }

    /// Whether bytes are decrypted here, so that it is not recv(2) that writes them to where they go.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Plain(tcp) => tcp.peer_addr().ok(),
            Kind::Tls(tls) => lock(tls).get_ref().0.peer_addr().ok(),
        }
    }

    /// Waits for a piece whose end `find` recognises (its length, or `None` while it is incomplete), consumes exactly it
    /// and leaves it in `buffer`. `find` is called whenever there are more bytes, always from the piece's beginning.
    pub(crate) async fn take(
        &self,
        limit: usize,
        buffer: &mut Vec<u8>,
        mut find: impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
    ) -> Result<Taken, Failure> {
        match &self.kind {
            Kind::Plain(tcp) => take_plain(tcp, limit, buffer, &mut find).await,
            Kind::Tls(tls) => {
                buffer.clear();
                poll_fn(|cx| poll_take(&mut lock(tls), cx, limit, buffer, &mut find)).await
            }
        }
    }

    /// Waits until there is something to read; false when the peer has closed.
    pub(crate) async fn readable(&self) -> io::Result<bool> {
        match &self.kind {
            Kind::Plain(tcp) => loop {
                match tcp.try_io(Interest::READABLE, || recv(tcp, &mut [0], libc::MSG_PEEK)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                    seen => return seen.map(|count| count > 0),
                }
            },
            Kind::Tls(tls) => {
                poll_fn(|cx| Pin::new(&mut **lock(tls)).poll_fill_buf(cx).map_ok(|seen| !seen.is_empty())).await
            }
        }
    }

    /// Receives some bytes into `space`; 0 when the peer has closed.
    pub(crate) async fn receive(&self, space: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Plain(tcp) => loop {
                match tcp.try_io(Interest::READABLE, || recv(tcp, space, 0)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                    done => return done,
                }
            },
            Kind::Tls(tls) => {
                poll_fn(|cx| {
                    let mut into = ReadBuf::new(space);
                    let polled = Pin::new(&mut **lock(tls)).poll_read(cx, &mut into);
                    polled.map_ok(|()| into.filled().len())
                })
                .await
            }
        }
    }

    /// Sends some bytes. `None` when the peer answers already and takes no more for now.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match &self.kind {
            Kind::Plain(tcp) => loop {
                match tcp.try_io(Interest::WRITABLE, || send(tcp, bytes)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return done.map(Some),
                }
                tokio::select! {
                    biased;
                    ready = tcp.writable() => ready?,
                    ready = tcp.readable() => {
                        ready?;
                        match answers(tcp)? {
                            Some(true) => return Ok(None),
                            Some(false) => tcp.writable().await?,
                            None => {}
                        }
                    }
                }
            },
            Kind::Tls(_) => self.write(bytes).await.map(Some),
        }
    }

    /// Sends some bytes, whatever the peer says meanwhile.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Plain(tcp) => loop {
                match tcp.try_io(Interest::WRITABLE, || send(tcp, bytes)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
                    done => return done,
                }
            },
            Kind::Tls(tls) => {
                let count = poll_fn(|cx| Pin::new(&mut **lock(tls)).poll_write(cx, bytes)).await?;
                poll_fn(|cx| Pin::new(&mut **lock(tls)).poll_flush(cx)).await?;
                Ok(count)
            }
        }
    }

    /// Whether a connection without a request can be used: open, and nothing on it that nobody asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.check().is_ok()
    }

    /// What is wrong with a connection on which nothing is under way: `connectionReset` when the peer has closed or reset it,
    /// `connectionBusy` when bytes are on it that nobody asked for.
    pub(crate) fn check(&self) -> Checked<()> {
        match &self.kind {
            // Asks the kernel, not the runtime, which may not have heard yet.
            Kind::Plain(tcp) => verdict(recv(tcp, &mut [0], libc::MSG_PEEK)),
            Kind::Tls(tls) => {
                let mut tls = lock(tls);
                // A handshake's tickets come late: they are taken in, and only plaintext or an end counts.
                match Pin::new(&mut **tls).poll_fill_buf(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(seen) => verdict(seen.map(<[u8]>::len)),
                    Poll::Pending => match recv(tls.get_ref().0, &mut [0], libc::MSG_PEEK) {
                        Ok(0) => verdict(Ok(0)),
                        _ => Ok(()),
                    },
                }
            }
        }
    }

    /// The connection itself, for someone else to speak on, and what counts it.
    pub(crate) fn into_parts(self) -> (Parts, Option<Permit>) {
        let parts = match self.kind {
            Kind::Plain(tcp) => Parts::Tcp(tcp),
            Kind::Tls(tls) => Parts::Tls(tls.into_inner().unwrap_or_else(PoisonError::into_inner)),
        };
        (parts, self.permit)
    }
}

/// A connection that is nobody's.
pub enum Parts {
    Tcp(TcpStream),
    /// Decrypted bytes that nobody has read may be in it.
    Tls(Box<TlsStream<TcpStream>>),
}

fn lock(tls: &Mutex<Box<TlsStream<TcpStream>>>) -> MutexGuard<'_, Box<TlsStream<TcpStream>>> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn verdict(seen: io::Result<usize>) -> Checked<()> {
    match seen {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(Error::new(ErrorCode::ConnectionReset, format!("the connection failed: {error}"))),
        Ok(0) => Err(Error::new(ErrorCode::ConnectionReset, "the service has closed the connection")),
        Ok(_) => Err(Error::new(ErrorCode::ConnectionBusy, "there are bytes on the connection that nobody has read")),
    }
}

fn poll_take(
    tls: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    limit: usize,
    buffer: &mut Vec<u8>,
    find: &mut impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
) -> Poll<Result<Taken, Failure>> {
    loop {
        let chunk = match Pin::new(&mut *tls).poll_fill_buf(cx) {
            Poll::Ready(chunk) => chunk?,
            Poll::Pending => return Poll::Pending,
        };
        if chunk.is_empty() {
            return Poll::Ready(Ok(Taken::Closed(buffer.len())));
        }
        let before = buffer.len();
        let piece = chunk.len().min(limit - before);
        buffer.extend_from_slice(&chunk[..piece]);
        match find(buffer)? {
            Some(length) => {
                Pin::new(&mut *tls).consume(length.saturating_sub(before));
                buffer.truncate(length);
                return Poll::Ready(Ok(Taken::Whole));
            }
            None => Pin::new(&mut *tls).consume(piece),
        }
        if buffer.len() >= limit {
            return Poll::Ready(Ok(Taken::TooLong));
        }
    }
}

async fn take_plain(
    tcp: &TcpStream,
    limit: usize,
    buffer: &mut Vec<u8>,
    find: &mut impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
) -> Result<Taken, Failure> {
    let mut window = WINDOW.min(limit);
    loop {
        // Whether the peer has closed is asked before the peek, so that the peek then sees all that will ever come.
        let closed = tcp.ready(Interest::READABLE).await?.is_read_closed();
        buffer.resize(window, 0);
        let mut failure = None;
        let seen = tcp.try_io(Interest::READABLE, || {
            let count = recv(tcp, buffer, libc::MSG_PEEK)?;
            if count == 0 {
                return Ok(Seen::Closed(0));
            }
            match find(&buffer[..count]) {
                Ok(Some(length)) => Ok(Seen::Whole(length)),
                Ok(None) if count == window => Ok(Seen::Full),
                Ok(None) if closed => Ok(Seen::Closed(count)),
                // Said to the runtime, this means: wake me when *more* comes. Nothing was consumed, and there is no
                // spinning: the runtime forgets the readiness that it knew before the peek, and only that.
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => {
                    failure = Some(error);
                    Ok(Seen::Closed(count))
                }
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        match seen {
            Ok(Seen::Whole(length)) => {
                buffer.truncate(length);
                consume(tcp, buffer).await?;
                return Ok(Taken::Whole);
            }
            Ok(Seen::Full) if window >= limit => return Ok(Taken::TooLong),
            Ok(Seen::Full) => window = (window * 4).min(limit),
            Ok(Seen::Closed(count)) => return Ok(Taken::Closed(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the bytes that were peeked.
async fn consume(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match tcp.try_io(Interest::READABLE, || recv(tcp, &mut buffer[done..], 0)) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// recv(2) that never waits; with MSG_PEEK it leaves the bytes where they are.
fn recv(tcp: &TcpStream, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open for as long as `tcp` lives, and the kernel writes at most `buffer.len()` bytes.
    let count = unsafe { libc::recv(tcp.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// send(2) that never waits and raises no signal.
fn send(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the descriptor is open for as long as `tcp` lives, and the kernel reads at most `bytes.len()` bytes.
    let count = unsafe { libc::send(tcp.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Whether the peer answers in the middle of our request: `Some(false)` for an interim answer ("HTTP/1.1 100 …"), after
/// which it waits for the rest; `None` when there is nothing after all.
fn answers(tcp: &TcpStream) -> io::Result<Option<bool>> {
    let mut start = [0; 10];
    match tcp.try_io(Interest::READABLE, || recv(tcp, &mut start, libc::MSG_PEEK)) {
        Ok(count) => Ok(Some(!(count == start.len() && start.ends_with(b" 1")))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

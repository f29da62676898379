//! A byte stream that is never read further than what is asked for.
//!
//! On plain TCP what precedes a body is looked at with `MSG_PEEK`, then exactly that much is consumed; bodies are received
//! straight into the caller's memory. On TLS the records are decrypted in rustls's buffer and copied from there, once.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::failure::Failure;

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
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
    /// Waits for a piece whose end `find` recognises (its length, or `None` while it is incomplete), consumes exactly it
    /// and leaves it in `buffer`. `find` is called whenever there are more bytes, always from the piece's beginning.
    pub(crate) async fn take(
        &mut self,
        limit: usize,
        buffer: &mut Vec<u8>,
        mut find: impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
    ) -> Result<Taken, Failure> {
        match self {
            Self::Plain(tcp) => take_plain(tcp, limit, buffer, &mut find).await,
            Self::Tls(tls) => {
                buffer.clear();
                loop {
                    let chunk = tls.fill_buf().await?;
                    if chunk.is_empty() {
                        return Ok(Taken::Closed(buffer.len()));
                    }
                    let before = buffer.len();
                    let piece = chunk.len().min(limit - before);
                    buffer.extend_from_slice(&chunk[..piece]);
                    match find(buffer)? {
                        Some(length) => {
                            tls.consume(length.saturating_sub(before));
                            buffer.truncate(length);
                            return Ok(Taken::Whole);
                        }
                        None => tls.consume(piece),
                    }
                    if buffer.len() >= limit {
                        return Ok(Taken::TooLong);
                    }
                }
            }
        }
    }

    /// Receives some bytes into `space`; 0 when the peer has closed.
    pub(crate) async fn receive(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => loop {
                match tcp.try_read(space) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                    done => return done,
                }
            },
            Self::Tls(tls) => tls.read(space).await,
        }
    }

    /// Sends some bytes. `None` when the peer answers already and takes no more for now.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(tcp) => loop {
                match tcp.try_write(bytes) {
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
            Self::Tls(tls) => {
                let count = tls.write(bytes).await?;
                tls.flush().await?;
                Ok(Some(count))
            }
        }
    }

    /// Whether a connection without a request can be used: open, and nothing on it that nobody asked for.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        match self {
            // Asks the kernel, not the runtime, which may not have heard yet.
            Self::Plain(tcp) => would_block(peek(tcp, &mut [0])),
            // A handshake's tickets come late: they are taken in, and only plaintext or an end counts.
            Self::Tls(tls) => poll_fn(|cx| Poll::Ready(Pin::new(&mut *tls).poll_fill_buf(cx).is_pending())).await,
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
            let count = peek(tcp, buffer)?;
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
        match tcp.try_read(&mut buffer[done..]) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// recv(2) with MSG_PEEK, which leaves the bytes where they are.
fn peek(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open for as long as `tcp` lives, and the kernel writes at most `buffer.len()` bytes.
    let count = unsafe { libc::recv(tcp.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn would_block(result: io::Result<usize>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether the peer answers in the middle of our request: `Some(false)` for an interim answer ("HTTP/1.1 100 …"), after
/// which it waits for the rest; `None` when there is nothing after all.
fn answers(tcp: &TcpStream) -> io::Result<Option<bool>> {
    let mut start = [0; 10];
    match tcp.try_io(Interest::READABLE, || peek(tcp, &mut start)) {
        Ok(count) => Ok(Some(!(count == start.len() && start.ends_with(b" 1")))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

//! Bodies: received into a sink, and nowhere else.

use headstart_base::{Error, ErrorCode};
use tokio::time::{Duration, Instant};

use crate::chunk;
use crate::failure::Failure;
use crate::head::{Framing, ResponseHead};
use crate::stream::{Stream, Taken};

/// Where a body goes. `space` is what recv(2) writes into: the instance's segment itself.
pub trait BodySink: Send {
    /// Begins a body: once per attempt whose answer has a head. A second call means: start a fresh segment, what came
    /// before is void.
    fn begin(&mut self, head: &ResponseHead) -> headstart_base::Result<()>;

    /// Room for the next bytes: at least 1, as much as can be given; an error when memory is full. The slice may be
    /// memory that others read at the same time: the client writes it and never reads it.
    fn space(&mut self) -> headstart_base::Result<&mut [u8]>;

    /// The first `count` bytes of the last `space` have been written.
    fn filled(&mut self, count: usize);

    /// Whether another process may take the memory that `space` gives away. Then only recv(2) may be given it, which fails
    /// where there is none, and all else goes through `put`.
    fn is_volatile(&self) -> bool {
        false
    }

    /// Takes bytes that are here already, as many as there is room for: at least 1, and how many.
    fn put(&mut self, bytes: &[u8]) -> headstart_base::Result<usize> {
        let space = self.space()?;
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
        Ok(count)
    }
}

/// Bytes of one recv(2): small enough that a fast peer does not hold the thread for long.
const MAX_RECEIVE: u64 = 2 * 1024 * 1024;
/// Decrypted bytes on their way to volatile memory.
const DECRYPTED: usize = 64 * 1024;

/// A connection in the middle of an answer. Each wait ends after `stall`.
pub(crate) struct Receiver<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) sink: &'a mut dyn BodySink,
    pub(crate) stall: Duration,
}

impl Receiver<'_> {
    /// Receives a body and answers its length.
    pub(crate) async fn body(&mut self, framing: Framing) -> Result<u64, Failure> {
        match framing {
            Framing::Length(length) => self.exactly(length).await.map(|()| length),
            Framing::Chunked => self.chunks().await,
            Framing::Close => self.until_closed().await,
        }
    }

    /// Receives a body of the length that its head announces.
    pub(crate) async fn announced(&mut self, head: ResponseHead) -> Result<(ResponseHead, u64), Failure> {
        let length = head.content_length.unwrap_or_default();
        self.sink.begin(&head)?;
        self.exactly(length).await?;
        Ok((head, length))
    }

    /// Gives the sink a body that came with its head.
    pub(crate) fn copied(&mut self, head: ResponseHead, body: &[u8]) -> Result<(ResponseHead, u64), Failure> {
        self.sink.begin(&head)?;
        self.copy(body)?;
        Ok((head, body.len() as u64))
    }

    /// Gives the sink bytes of a body.
    pub(crate) fn copy(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let count = self.sink.put(bytes)?;
            if count == 0 {
                return Err(no_room().into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Receives `count` bytes that are not the body's.
    pub(crate) async fn short(&mut self, count: usize, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        self.piece(count, buffer, |bytes| Ok((bytes.len() >= count).then_some(count))).await
    }

    /// Receives so many bytes of the body.
    pub(crate) async fn exactly(&mut self, length: u64) -> Result<(), Failure> {
        let mut left = length;
        while left > 0 {
            match self.some(left).await? {
                0 => return Err(Failure::truncated(&format!("{} of {length} bytes came", length - left))),
                count => left -= count,
            }
        }
        Ok(())
    }

    async fn chunks(&mut self) -> Result<u64, Failure> {
        let mut line = Vec::new();
        let mut total = 0_u64;
        loop {
            let first = total == 0;
            self.piece(chunk::MAX_LINE, &mut line, |bytes| chunk::find_line(bytes, first)).await?;
            let size = chunk::size(&line)?;
            if size == 0 {
                self.piece(chunk::MAX_TRAILERS, &mut line, chunk::find_trailers).await?;
                return Ok(total);
            }
            total = total.checked_add(size).ok_or_else(|| Failure::bad_reply("its chunks are too large"))?;
            self.exactly(size).await?;
        }
    }

    async fn until_closed(&mut self) -> Result<u64, Failure> {
        let mut total = 0;
        loop {
            match self.some(MAX_RECEIVE).await? {
                0 => return Ok(total),
                count => total += count,
            }
        }
    }

    /// Receives at most `limit` bytes; 0 when the peer has closed.
    async fn some(&mut self, limit: u64) -> Result<u64, Failure> {
        // A peer that is as fast as we are would never let us wait.
        tokio::task::coop::consume_budget().await;
        if self.sink.is_volatile() && self.stream.is_encrypted() {
            return self.some_decrypted(limit).await;
        }
        let space = self.sink.space()?;
        if space.is_empty() {
            return Err(no_room().into());
        }
        let limit = limit.min(MAX_RECEIVE).min(space.len() as u64) as usize;
        let receiving = self.stream.receive(&mut space[..limit]);
        let count = tokio::time::timeout_at(Instant::now() + self.stall, receiving)
            .await
            .map_err(|_| stalled())?
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EFAULT) => Failure::from(no_memory()),
                _ => Failure::from(error),
            })?;
        self.sink.filled(count);
        Ok(count as u64)
    }

    /// As `some`, where it is our code that would write.
    async fn some_decrypted(&mut self, limit: u64) -> Result<u64, Failure> {
        let mut bytes = vec![0; limit.min(DECRYPTED as u64) as usize];
        let receiving = self.stream.receive(&mut bytes);
        let count = tokio::time::timeout_at(Instant::now() + self.stall, receiving).await.map_err(|_| stalled())??;
        self.copy(bytes.get(..count).unwrap_or_default())?;
        Ok(count as u64)
    }

    /// Takes a piece of the answer that is not the body's.
    pub(crate) async fn piece(
        &mut self,
        limit: usize,
        buffer: &mut Vec<u8>,
        find: impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
    ) -> Result<(), Failure> {
        tokio::task::coop::consume_budget().await;
        let taking = self.stream.take(limit, buffer, find);
        match tokio::time::timeout_at(Instant::now() + self.stall, taking).await {
            Ok(Ok(Taken::Whole)) => Ok(()),
            Ok(Ok(Taken::TooLong)) => Err(Failure::bad_reply("a line of it, or the trailers, are too long")),
            Ok(Ok(Taken::Closed(_))) => Err(Failure::truncated("the connection was closed before its end")),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(stalled()),
        }
    }
}

fn stalled() -> Failure {
    Failure::timeout("the service stopped in the middle of its answer")
}

fn no_memory() -> Error {
    Error::new(ErrorCode::Protocol, "the application has cut the file that the body goes to")
}

fn no_room() -> Error {
    Error::new(ErrorCode::Internal, "there is no room for the body")
}

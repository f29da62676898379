//! One direction of a carried connection.

use std::io;

use tokio::io::Interest;

use crate::pipe::Pipe;
use crate::socket::Socket;

/// Which side failed.
#[derive(Debug)]
pub(crate) enum Failed {
    Source(io::Error),
    Target(io::Error),
}

/// Moves bytes from a socket to another one.
pub(crate) struct Way {
    pipe: Pipe,
    /// Nothing is moved any more.
    pub(crate) over: bool,
}

impl Way {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { pipe: Pipe::new()?, over: false })
    }

    /// Bytes that have left the source and not reached the target.
    pub(crate) fn held(&self) -> usize {
        self.pipe.held()
    }

    /// Moves until the source ends. May be dropped at any time and called again: what is on its way stays in the pipe.
    pub(crate) async fn run(&mut self, from: &Socket, to: &Socket, moved: impl Fn(usize)) -> Result<(), Failed> {
        loop {
            self.flush(to, &moved).await?;
            if !self.fill(from).await? {
                return Ok(());
            }
        }
    }

    /// Gives the target what is held.
    pub(crate) async fn flush(&mut self, to: &Socket, moved: impl Fn(usize)) -> Result<(), Failed> {
        while self.pipe.held() > 0 {
            let count = to.async_io(Interest::WRITABLE, |to| self.pipe.drain(to)).await.map_err(Failed::Target)?;
            moved(count);
        }
        Ok(())
    }

    /// Waits for bytes and takes them; false when the source has ended.
    pub(crate) async fn fill(&mut self, from: &Socket) -> Result<bool, Failed> {
        let count = from.async_io(Interest::READABLE, |from| self.pipe.fill(from)).await.map_err(Failed::Source)?;
        Ok(count > 0)
    }
}

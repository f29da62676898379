//! The socket: packets with fds beside them. All waits have a deadline; interrupted calls are begun again.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};

/// More fds than an answer may have, so that a surplus is seen; it is closed.
const MOST_FDS: usize = 4;

/// What one receive gave.
pub(crate) enum Received {
    /// A packet of that many bytes, and what came with it.
    Packet(usize, Option<OwnedFd>),
    /// The packet was too long, or had fds that did not arrive or should not be there. All are closed.
    Cut,
    Closed,
    Late,
}

/// A seqpacket socket, in the standard library's type for its timeouts: rustix sets them by a number that gVisor does not know.
pub(crate) struct Socket {
    stream: UnixStream,
    /// How long a receive may take.
    limit: Duration,
}

impl Socket {
    pub(crate) fn open(path: &str, timeout: Duration) -> Result<Self, Errno> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let stream = UnixStream::from(socket);
        // Of connect(2), too.
        stream.set_write_timeout(Some(timeout)).map_err(|error| errno(&error))?;
        let address = SocketAddrUnix::new(path)?;
        retry_on_intr(|| connect(&stream, &address))?;
        Ok(Self { stream, limit: Duration::ZERO })
    }

    pub(crate) fn send(&self, header: &[u8], payload: &[u8], file: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let files = file.map(|file| [file]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(files) = &files {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let parts = [IoSlice::new(header), IoSlice::new(payload)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        retry_on_intr(|| sendmsg(&self.stream, &parts, &mut control, flags)).map(|_| ())
    }

    /// Waits at most twice `timeout`: the bridge keeps the exact deadline.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Received, Errno> {
        self.limit(timeout)?;
        let began = Instant::now();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) if began.elapsed() < timeout => {}
                Err(Errno::INTR | Errno::AGAIN) => return Ok(Received::Late),
                received => break received?,
            }
        };
        let mut files: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || files.len() > 1 {
            return Ok(Received::Cut);
        }
        match (received.bytes, files.pop()) {
            (0, None) => Ok(Received::Closed),
            (bytes, file) => Ok(Received::Packet(bytes, file)),
        }
    }

    /// Has the kernel bound each receive. To poll(2) before each is a call more, and a slow one in gVisor.
    fn limit(&mut self, timeout: Duration) -> Result<(), Errno> {
        if !(timeout..=timeout.saturating_mul(2)).contains(&self.limit) {
            self.stream.set_read_timeout(Some(timeout)).map_err(|error| errno(&error))?;
            self.limit = timeout;
        }
        Ok(())
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

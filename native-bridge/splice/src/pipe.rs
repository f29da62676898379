//! A pipe that bytes pass through on their way from one socket to another.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;

/// Asked for; the kernel may give less to a user who has many.
const CAPACITY: i32 = 256 << 10;

/// Emptied before it is filled again: a full pipe never looks like an empty socket.
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // SAFETY: F_SETPIPE_SZ on an open pipe takes an int and answers the capacity, or an error that is no harm: the
        // pipe then has the default of 64 KiB.
        let given = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY) };
        let capacity = usize::try_from(given).unwrap_or(64 << 10);
        Ok(Self { reader, writer, capacity, held: 0 })
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes what there is on a socket; 0 when it has ended. To be called on an empty pipe.
    pub(crate) fn fill(&mut self, from: &OwnedFd) -> io::Result<usize> {
        let count = splice(from, &self.writer, self.capacity)?;
        self.held += count;
        Ok(count)
    }

    /// Gives what a socket takes.
    pub(crate) fn drain(&mut self, to: &OwnedFd) -> io::Result<usize> {
        let count = splice(&self.reader, to, self.held)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held -= count;
        Ok(count)
    }
}

fn splice(from: &OwnedFd, to: &OwnedFd, most: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let nowhere = std::ptr::null_mut();
    loop {
        // SAFETY: both descriptors are open for the call, and no offset is given, so no memory of ours is touched.
        let count = unsafe { libc::splice(from.as_raw_fd(), nowhere, to.as_raw_fd(), nowhere, most, flags) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

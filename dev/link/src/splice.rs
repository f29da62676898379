//! splice(2): moves bytes between sockets through a pipe, without copying them.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr;

/// A pipe that bytes pass through.
pub(crate) struct Pipe {
    read: File,
    write: File,
}

/// Room for many small fragments, each of which takes a slot.
const CAPACITY: libc::c_int = 1024 * 1024;

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: two descriptors are written to `ends`.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both descriptors are new and nobody else's.
        let (read, write) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
        // SAFETY: an attribute of a pipe of ours. A refusal leaves the default capacity, which works too.
        unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY) };
        Ok(Self { read, write })
    }

    /// Takes at most `limit` bytes from a socket, waiting for the first; 0 when the peer has closed.
    pub(crate) fn fill(&self, from: &TcpStream, limit: usize) -> io::Result<usize> {
        splice(from.as_raw_fd(), self.write.as_raw_fd(), limit)
    }

    /// Gives `count` bytes that are in the pipe to a socket.
    pub(crate) fn drain(&self, to: &TcpStream, mut count: usize) -> io::Result<()> {
        while count > 0 {
            match splice(self.read.as_raw_fd(), to.as_raw_fd(), count)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                moved => count -= moved,
            }
        }
        Ok(())
    }
}

fn splice(from: RawFd, to: RawFd, limit: usize) -> io::Result<usize> {
    loop {
        // SAFETY: both descriptors are open, and no offsets are given.
        let count = unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), limit, libc::SPLICE_F_MOVE) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

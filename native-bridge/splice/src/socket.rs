//! What the kernel knows about a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown, sockopt};
use tokio::io::unix::AsyncFd;

pub(crate) type Socket = AsyncFd<OwnedFd>;

/// Seconds of silence until the kernel asks whether the other host is there, between two questions, and how many it asks.
const KEEPALIVE: (u32, u32, u32) = (60, 20, 3);

/// Puts a socket under the runtime.
pub(crate) fn register(fd: OwnedFd) -> io::Result<Socket> {
    // SAFETY: the fd is owned by what is registered, and so open until after the registration is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Sets O_NONBLOCK.
pub(crate) fn never_block(fd: &OwnedFd) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Has the kernel find out when the other host is gone.
pub(crate) fn keep_alive(fd: &OwnedFd) -> io::Result<()> {
    let (idle, interval, count) = KEEPALIVE;
    nix::sys::socket::setsockopt(fd, sockopt::KeepAlive, &true)?;
    nix::sys::socket::setsockopt(fd, sockopt::TcpKeepIdle, &idle)?;
    nix::sys::socket::setsockopt(fd, sockopt::TcpKeepInterval, &interval)?;
    nix::sys::socket::setsockopt(fd, sockopt::TcpKeepCount, &count)?;
    Ok(())
}

/// Has a close(2) reset the connection instead of ending it.
pub(crate) fn reset_on_close(fd: &OwnedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // Without it the close is an ordinary one.
    let _ = nix::sys::socket::setsockopt(fd, sockopt::Linger, &linger);
}

/// No more is sent from here: the other side reads an end.
pub(crate) fn shut_writing(fd: BorrowedFd<'_>) {
    // One that is gone already is as shut as can be.
    let _ = shutdown(fd.as_raw_fd(), Shutdown::Write);
}

/// No more is taken here: of a unix socket, the other side's writes fail.
pub(crate) fn shut_reading(fd: BorrowedFd<'_>) {
    // As above.
    let _ = shutdown(fd.as_raw_fd(), Shutdown::Read);
}

/// Whether nothing can be sent or received any more.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(_) => polled[0].revents().is_some_and(|seen| seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)),
        Err(_) => true,
    }
}

/// Bytes that wait to be read here.
pub(crate) fn unread(fd: &OwnedFd) -> io::Result<usize> {
    asked(fd, libc::FIONREAD)
}

/// Bytes that were written here and that the other end has not read (of a unix socket, the memory that they take).
pub(crate) fn unread_there(fd: &OwnedFd) -> io::Result<usize> {
    asked(fd, libc::TIOCOUTQ)
}

fn asked(fd: &OwnedFd, what: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int to where the pointer leads, and `bytes` is one.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), what, &raw mut bytes) };
    match done {
        0 => Ok(usize::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

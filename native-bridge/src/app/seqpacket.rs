//! AF_UNIX, SOCK_SEQPACKET under tokio: one packet a call, fds beside it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use headstart_base::{Error, ErrorCode, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, listen, sendmsg,
    socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

pub(super) struct Listener(AsyncFd<OwnedFd>);

pub(super) struct Socket(AsyncFd<OwnedFd>);

impl Listener {
    /// Needs the runtime that will serve it.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let failed = |what: &str, error: nix::Error| {
            Error::new(ErrorCode::Internal, format!("{what} {}: {error}", path.display()))
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd =
            socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(|error| failed("socket", error))?;
        let address = UnixAddr::new(path).map_err(|error| failed("the address", error))?;
        bind(fd.as_raw_fd(), &address).map_err(|error| failed("bind", error))?;
        let backlog = Backlog::new(BACKLOG).map_err(|error| failed("listen", error))?;
        listen(&fd, backlog).map_err(|error| failed("listen", error))?;
        // SAFETY: the fd is owned by what is registered, and so open until after the registration is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot wait for connections: {error}")))?;
        Ok(Self(fd))
    }

    pub(super) async fn accept(&self) -> io::Result<Socket> {
        let fd = self
            .0
            .async_io(Interest::READABLE, |listener| {
                accept4(listener.as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC).map_err(io::Error::from)
            })
            .await?;
        // SAFETY: accept4 has just made this fd, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the fd is owned by what is registered, and so open until after the registration is dropped.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Socket(fd))
    }
}

/// What a receive gave.
pub(super) struct Received {
    /// None when the other side is gone. (A packet of no bytes looks like it; either ends the connection.)
    pub(super) packet: Option<Packet>,
    /// What came beside it, however it ends: the receiver closes it where that may take its time.
    pub(super) files: Vec<OwnedFd>,
}

pub(super) struct Packet {
    pub(super) bytes: usize,
    /// Unless it was longer than the buffer.
    pub(super) whole: bool,
    /// Unless there were more fds than could be taken.
    pub(super) all_files: bool,
}

impl Listener {
    /// What is to be closed: connections that were not accepted may have descriptors on their way.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0.into_inner()
    }
}

impl Socket {
    /// What is to be closed: packets that were not received may have descriptors beside them.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0.into_inner()
    }

    /// Receives one packet, and the fds beside it.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.async_io(Interest::READABLE, |socket| receive(socket, buffer)).await
    }

    pub(super) async fn send(&self, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |socket| send(socket, packet, file)).await
    }

    /// Waits until the other side is gone. Should a packet come first, this waits for ever: it is read after the answer.
    pub(super) async fn hung_up(&self) {
        loop {
            let Ok(mut guard) = self.0.ready(Interest::READABLE).await else { return };
            match look(self.0.get_ref()) {
                Look::HungUp => return,
                Look::Packet => std::future::pending().await,
                Look::Nothing => guard.clear_ready(),
            }
        }
    }
}

/// What is there on a socket, without receiving it.
enum Look {
    HungUp,
    Packet,
    Nothing,
}

fn look(socket: &OwnedFd) -> Look {
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut polled, PollTimeout::ZERO).is_err() {
        return Look::HungUp;
    }
    let seen = polled[0].revents().unwrap_or(PollFlags::empty());
    if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
        Look::HungUp
    } else if seen.contains(PollFlags::POLLIN) {
        Look::Packet
    } else {
        Look::Nothing
    }
}

/// Room for control messages: as many fds as one packet can carry (SCM_MAX_FD is 253), aligned as a cmsghdr.
type Control = [u64; 160];

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control: Control = [0; 160];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr of zeros is valid: it names nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: `message` names `buffer` and `control`, which are valid for their lengths during the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let bytes = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let files = take_fds(&message);
    let whole = message.msg_flags & libc::MSG_TRUNC == 0;
    let all_files = message.msg_flags & libc::MSG_CTRUNC == 0;
    Ok(Received { packet: (bytes > 0).then_some(Packet { bytes, whole, all_files }), files })
}

/// The fds that came with a message, also when there were more than could be taken (MSG_CTRUNC): those that were taken are
/// ours. (nix gives none of them then, and they would stay open.)
fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: `message` was filled in by recvmsg, and its control buffer is alive; the macros stay within msg_controllen.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let files = libc::CMSG_DATA(header).cast::<i32>();
                let bytes = (*header).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                for index in 0..bytes / size_of::<i32>() {
                    taken.push(OwnedFd::from_raw_fd(files.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    taken
}

fn send(socket: &OwnedFd, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let files = file.map(|file| [file.as_raw_fd()]);
    let rights: Vec<ControlMessage<'_>> = files.iter().map(|files| ControlMessage::ScmRights(files)).collect();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(packet)], &rights, flags, None).map_err(io::Error::from)?;
    Ok(())
}

//! The socketpair.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Two ends: ours, which never blocks, and the application's, which does.
pub(crate) fn new() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    crate::socket::never_block(&ours)?;
    refuse_rights(&ours);
    Ok((ours, theirs))
}

/// SO_PASSRIGHTS of asm-generic/socket.h, which libc does not have yet.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Has the kernel refuse descriptors that the application sends here. They would be closed by whoever reads the bytes, and to close
/// a socket that lingers takes as long as its owner likes.
fn refuse_rights(socket: &OwnedFd) {
    let no: libc::c_int = 0;
    // SAFETY: `no` is an int that is read during the call. A kernel before Linux 6.16 refuses the option: then it is not set.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

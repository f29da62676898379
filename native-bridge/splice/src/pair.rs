//! The socketpair.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Two ends: ours, which never blocks, and the application's, which does.
pub(crate) fn new() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    crate::socket::never_block(&ours)?;
    Ok((ours, theirs))
}

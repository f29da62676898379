//! Noticing that the other end of a socketpair is closed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::socket;

/// Watches by a descriptor of its own: what it makes the runtime forget about its readiness, those who write must not miss.
pub(crate) struct Gone(AsyncFd<OwnedFd>);

impl Gone {
    pub(crate) fn watch(pair: &impl AsFd) -> io::Result<Self> {
        let fd = pair.as_fd().try_clone_to_owned()?;
        // SAFETY: the fd is owned by what is registered, and so open until after the registration is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }?;
        Ok(Self(fd))
    }

    pub(crate) async fn wait(&self) {
        let look = |fd: &OwnedFd| match socket::is_hung_up(fd.as_fd()) {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        // An error is no reason to wait on.
        let _ = self.0.async_io(Interest::WRITABLE, look).await;
    }
}

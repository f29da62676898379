//! Two TCP sockets joined: what comes in at one goes out at the other.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::carry::Carrier;
use crate::end::End;
use crate::socket;

/// Begins to move bytes between a socket and another one, whose peer is the application. Must be called in a tokio runtime. Where
/// nothing moves for `idle` both are closed; dropping the work closes both.
pub fn join(
    outside: OwnedFd,
    inside: OwnedFd,
    idle: Duration,
) -> io::Result<impl Future<Output = End> + Send + 'static> {
    for end in [&outside, &inside] {
        socket::never_block(end)?;
        socket::keep_alive(end)?;
        setsockopt(end, sockopt::TcpNoDelay, &true)?;
    }
    let carrier = Carrier::new(outside, inside, idle)?;
    let (_, orders) = tokio::sync::mpsc::channel(1);
    Ok(carrier.run(orders))
}

/// Has the close of a connection that nobody serves be a reset, which its peer does not take for an end.
pub fn refuse(connection: OwnedFd) {
    socket::reset_on_close(&connection);
}

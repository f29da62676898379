//! Connections that an application holds only one end of a socketpair of.
//!
//! **Theory of operation.** A TCP socket cannot enter gVisor, and a TLS connection's secrets must not leave the bridge, so the
//! application gets one end of a unix socketpair and the bridge moves the bytes. Plain TCP is *carried*: splice(2) moves
//! pages from the socket into a pipe and from there into the other socket, each way by itself, and no byte is ever in memory
//! of ours. A pipe is emptied before it is filled again, so what is on its way is bounded by the pipe and the two sockets'
//! buffers, and a reader that stops stops the writer. TLS is *relayed* through two buffers instead. A connection to a service is *joined*: both
//! ends are TCP sockets.
//!
//! An end is passed on as what it was: a FIN as shutdown(2) of the other side's same direction; a peer that is gone for good
//! (closed, killed) closes the other side, with a reset where TCP itself would have reset. The way towards the application cannot
//! carry a reset, so [`Status`] tells it from a clean end.

mod carry;
mod end;
mod gone;
mod join;
mod pair;
mod pipe;
mod relay;
mod socket;
mod status;
mod way;

pub use carry::{Carried, Handle, carry};
pub use end::End;
pub use join::{join, refuse};
pub use relay::relay;
pub use status::{State, Status};

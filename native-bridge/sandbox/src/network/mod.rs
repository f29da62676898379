//! Network namespaces: one for each sandbox, made ahead, closed but for what its app may reach.
//!
//! A namespace has a loopback of its own and one veth link to the host (a /30 of the node's subnet). Its nftables drop
//! everything that leaves it but TCP to the instance's egress addresses, and every connection attempt from outside. An
//! app has no capability to change that, and gVisor's own kernel runs in the same namespace.

mod namespace;
mod outward;
mod pool;
mod rules;
mod subnet;

pub(crate) use namespace::{Namespace, delete_leftovers};
pub(crate) use pool::Pool;
pub use pool::Reservation;
pub(crate) use subnet::Slice;

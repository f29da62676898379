//! headstart for applications in Rust: what the initscript sent, connections that it opened, calls by way of the bridge, and
//! the handler loop. `docs/clients.md` shows its use, `docs/app-protocol.md` what it says to the bridge.
//!
//! ```no_run
//! use headstart::{Client, Wait, id};
//!
//! let client = Client::new();
//! let content = "GET s3://models/weights";
//! let reply = match client.recv_msg(id(content), content, Wait::default()) {
//!     Ok(reply) => reply,
//!     Err(_) => client.call(content, &[], &[], Wait::default())?, // a miss: have the bridge do it
//! };
//! let weights: &[u8] = reply.whole()?; // shared memory: nothing was copied
//! # Ok::<(), headstart::Error>(())
//! ```

mod ahead;
mod answer;
mod client;
mod connection;
mod early;
mod error;
#[cfg(test)]
mod fake_bridge;
mod handover;
#[rustfmt::skip]
#[allow(dead_code, reason = "these are all numbers of the protocol")]
mod numbers;
mod packet;
mod reply;
mod segment;
mod segments;
mod serve;
mod socket;

pub use answer::Answer;
pub use client::{Client, Wait, id};
pub use error::{Error, Result};
pub use handover::{Conn, ConnKind, ConnState, ConnStatus, Handover};
pub use numbers::Code;
pub use reply::{Reply, Stream};
pub use serve::Event;

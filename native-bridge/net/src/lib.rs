//! What the bridge says to remote services: addresses, egress rules, requests and their signatures, connections, and clients
//! for HTTP/1.1 (with S3 and SQS), gRPC, Redis, memcached and framed TCP that receive bodies straight into memory that the
//! caller owns.
//!
//! **Theory of operation.** A head is looked at with `MSG_PEEK` and exactly its bytes are consumed, so no byte of a body
//! is ever in a buffer of ours, and a connection is never read further than its answer. Bodies go by recv(2) into
//! [`BodySink::space`], which is the instance's shared segment. With TLS the decrypted bytes are copied once, from
//! rustls's record buffer into the sink, and with HTTP/2, which is h2's, from its frames. Everything that a server sends is
//! hostile: heads, lines, depths, header counts, chunk sizes and interim answers are bounded, and every wait has a deadline.
//!
//! [`Client`] has connections of its own for what is asked and forgotten (HTTP, gRPC); a [`Session`] is one connection of an
//! instance's, for protocols whose answers come in the order of their requests, and can be handed over.

mod address;
mod body;
mod canonical;
mod chunk;
mod client;
mod config;
mod connect;
mod egress;
mod exchange;
mod failure;
mod frame;
mod grpc;
mod head;
mod line;
mod memcached;
mod pool;
mod quota;
mod reach;
mod redis;
mod request;
mod resolve;
mod session;
mod sigv4;
mod sqs;
mod status;
mod store;
mod stream;
mod text;
mod tls;

pub use address::{Address, Frame, Scheme};
pub use body::BodySink;
pub use client::{Client, Done, Progress};
pub use config::ClientConfig;
pub use egress::Egress;
pub use head::ResponseHead;
pub use quota::Permit;
pub use reach::{Network, Reach};
pub use request::{Request, changes};
pub use session::Session;
pub use store::Store;
pub use stream::Parts as SessionParts;

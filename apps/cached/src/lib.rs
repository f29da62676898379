//! cached: a sharded in-memory key-value cache. It starts from shards that its peers have, and uses them where they were received.

pub mod connection;
pub mod make;
mod memcached;
mod overlay;
mod shard;
mod store;

pub use shard::Shard;
pub use store::{Base, Store};

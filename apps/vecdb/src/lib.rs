//! vecdb: a sharded in-memory vector database. It searches its shards in the memory where they were received.

pub mod api;
mod database;
pub mod make;
mod shard;

pub use database::{Database, Near};
pub use shard::Shard;

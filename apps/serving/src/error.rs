//! What keeps a server from its state.

use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that is none, or of a protocol that is not spoken here.
    #[error("{0:?} is no address of a shard")]
    Url(String),
    /// What the coordinator answered is no assignment.
    #[error("the assignment: {0}")]
    Assignment(String),
    #[error("{from}: {error}")]
    Io { from: String, error: io::Error },
    /// A server answered what its protocol does not allow, or that it does not have it.
    #[error("{from}: {what}")]
    Reply { from: String, what: String },
    /// Fewer bytes than a shard says or needs.
    #[error("{there} bytes of {needed}")]
    Truncated { needed: u64, there: u64 },
    /// A shard that contradicts itself.
    #[error("a malformed shard: {0}")]
    Format(#[from] FormatError),
    /// The initscript's reply broke off.
    #[error(transparent)]
    Headstart(#[from] headstart::Error),
}

/// What is wrong with a shard's bytes. `entry` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("it begins with other bytes than its kind of shard")]
    Magic,
    #[error("it says that it has {said} bytes, and has {there}")]
    Length { said: u64, there: u64 },
    #[error("{what} has the value {value}, which is not allowed")]
    Value { what: &'static str, value: u64 },
    #[error("entry {entry} lies outside of it")]
    Outside { entry: u64 },
    #[error("entry {entry} is not aligned")]
    Misaligned { entry: u64 },
    #[error("entry {entry} overlaps the one before it")]
    Overlapping { entry: u64 },
    #[error("entry {entry} is not in its order")]
    Unsorted { entry: u64 },
}

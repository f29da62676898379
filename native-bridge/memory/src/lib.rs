//! The memory that results live in.
//!
//! A *segment* is a memfd that the bridge maps read-write and then seals, so that its receiver can neither write nor
//! resize it. A socket's bytes are received straight into the mapping and read there by the application: a body is
//! written once. A *pool* keeps segments whose pages are already there, so that page faults are off a start's path. A
//! *budget* bounds what an instance and the node hold. An *outbox* goes the other way: the application writes it and the
//! bridge copies before it looks. A *shared file* lies in /dev/shm: the application maps it at a path of its own, and writes it.

mod budget;
mod file;
mod files;
mod memfd;
mod outbox;
mod pool;
mod segment;

pub use budget::{Budget, Charge};
pub use file::{FileWriter, SharedFile};
pub use outbox::Outbox;
pub use pool::{Class, Pool, PoolStatus, StartGuard};
pub use segment::{Segment, View, Writer};

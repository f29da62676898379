//! What the shims of unmodified servers share: a server's state becomes a file, by the initscript or by a download of our own;
//! then the shim becomes the server. Marks on the timeline say when.

mod error;
mod s3;
mod server;
mod shim;
mod sign;
mod sparse;
mod state;

pub use error::{Error, Result};
pub use server::Probe;
pub use shim::Shim;
pub use sparse::without_reserving;
pub use state::State;

/// Stamps a point on the instance's timeline: a line of output that begins so is one.
pub fn mark(what: &str) {
    println!("mark: {what}");
}

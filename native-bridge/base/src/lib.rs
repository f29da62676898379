//! What every part of the bridge shares: the schema's generated code, the error type and the clock.

mod clock;
mod error;

pub use clock::{Nanos, now};
pub use error::{Error, ErrorCode, Result};

/// Generated from `schema/*.capnp`.
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::unwrap_used, unreachable_pub)]
mod generated {
    pub mod errors_capnp {
        include!(concat!(env!("OUT_DIR"), "/errors_capnp.rs"));
    }
    pub mod bridge_capnp {
        include!(concat!(env!("OUT_DIR"), "/bridge_capnp.rs"));
    }
    pub mod app_capnp {
        include!(concat!(env!("OUT_DIR"), "/app_capnp.rs"));
    }
}
pub use generated::{app_capnp, bridge_capnp, errors_capnp};

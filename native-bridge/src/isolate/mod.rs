//! An application in an isolate (docs/wasm.md): what its two sockets carry.
//!
//! The isolate cannot map memory nor take descriptors, so what other applications do by packets and segments goes by HTTP
//! here: the bridge sends it invocations (`drive`), and answers what it asks (`serve`), with bytes where others get a place.
//! What each of that means is the instance's own, the same for all kinds of applications.

mod drive;
mod pieces;
mod serve;

pub(crate) use drive::drive;
pub(crate) use serve::listen;

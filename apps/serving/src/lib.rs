//! What the example servers `cached` and `vecdb` share: their state comes from the initscript, or from where it lies when there is
//! none; they answer on a port, one thread a connection; and they tell how long taking over the state took.

mod assignment;
mod body;
mod bytes;
mod direct;
mod error;
mod fetch;
mod handover;
pub mod http;
mod listen;
mod signals;
mod splitmix;
mod url;

pub use assignment::{Assignment, MAX_SHARDS};
pub use body::Body;
pub use bytes::{u16_at, u32_at, u64_at};
pub use error::{Error, FormatError, Result};
pub use fetch::{Fetched, Fetcher};
pub use handover::{Handover, Stopwatch};
pub use listen::serve;
pub use signals::Held;
pub use splitmix::SplitMix;
pub use url::{Scheme, Url};

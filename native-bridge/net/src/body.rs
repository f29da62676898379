//! Where a body goes.

use headstart_base::Result;

use crate::head::ResponseHead;

/// Where a body goes. `space` is what recv(2) writes into: the instance's segment itself.
pub trait BodySink: Send {
    /// Begins a body: once per attempt whose answer has a head. A second call means: start a fresh segment, what came
    /// before is void.
    fn begin(&mut self, head: &ResponseHead) -> Result<()>;

    /// Room for the next bytes: at least 1, as much as can be given; an error when memory is full. The slice may be
    /// memory that others read at the same time: the client writes it and never reads it.
    fn space(&mut self) -> Result<&mut [u8]>;

    /// The first `count` bytes of the last `space` have been written.
    fn filled(&mut self, count: usize);
}

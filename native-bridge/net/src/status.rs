//! What the status of an answer says where the protocol has none.

/// It is what was asked for.
pub(crate) const FINE: u16 = 0;
/// The server refused; its text is the body.
pub(crate) const ERROR: u16 = 1;
/// There is no such thing: a nil, a miss. The body is empty.
pub(crate) const NOTHING: u16 = 2;

//! gRPC: unary calls over HTTP/2.

mod call;
mod kept;
mod request;

pub(crate) use call::Call;
pub(crate) use kept::Connections;
pub(crate) use request::{absolute, request};

//! Redis: commands as they are asked for and as they go out, and answers (RESP3, and RESP2 where a server insists).

mod reply;
mod request;

pub(crate) use reply::receive;
pub(crate) use request::{absolute, encode, hello, is_read, request};

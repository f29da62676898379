//! Short ways to this crate's errors.

use std::fmt::Display;
use std::io;

use headstart_base::{Error, ErrorCode};

/// The registry or the way to it.
pub(crate) fn pull(what: impl Display) -> Error {
    Error::new(ErrorCode::ImagePullFailed, what.to_string())
}

/// The image is not what an image may be.
pub(crate) fn invalid(what: impl Display) -> Error {
    Error::new(ErrorCode::ImageInvalid, what.to_string())
}

/// This machine refuses.
pub(crate) fn disk(what: impl Display, cause: &io::Error) -> Error {
    let code = match cause.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorCode::DiskFull,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("{what}: {cause}"))
}

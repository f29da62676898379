//! Short ways to this crate's errors.

use headstart_base::{Error, ErrorCode};
use std::fmt::Display;

/// Something of the machine refused: `what` names it.
pub(crate) fn failed(what: impl Display, cause: impl Display) -> Error {
    Error::new(ErrorCode::SandboxFailed, format!("{what}: {cause}"))
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::SandboxUnsupported, message)
}

/// Whether an I/O error says that the thing is not there (any more).
pub(crate) fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

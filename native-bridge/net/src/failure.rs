//! Why an attempt failed, and what that allows.

use std::io;

use headstart_base::{Error, ErrorCode};

/// Whether another attempt can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The same would happen again, or the caller's side failed.
    Never,
    /// The connection or the server failed: an idempotent request may be tried again.
    Again,
    /// A kept connection was dead before it gave any answer: try at once on another one.
    Stale,
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) retry: Retry,
}

/// What came of a part of an attempt.
pub(crate) type Attempt<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn again(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { error: Error::new(code, message), retry: Retry::Again }
    }

    /// The server breaks its protocol.
    pub(crate) fn bad_reply(why: &str) -> Self {
        Self { error: Error::new(ErrorCode::BadReply, format!("the answer is malformed: {why}")), retry: Retry::Never }
    }

    /// The server ended the connection where an answer should begin.
    pub(crate) fn closed() -> Self {
        Self::again(ErrorCode::ConnectionReset, "the service closed the connection without an answer")
    }

    pub(crate) fn truncated(why: &str) -> Self {
        Self::again(ErrorCode::BodyTruncated, format!("the answer ended early: {why}"))
    }

    pub(crate) fn timeout(what: &str) -> Self {
        Self { error: Error::new(ErrorCode::RpcTimeout, what), retry: Retry::Never }
    }
}

/// The caller's own errors (memory full): another attempt would not change them.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Never }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::truncated("the connection was closed without TLS's closing message"),
            io::ErrorKind::InvalidData => Self::again(ErrorCode::TlsFailed, format!("TLS failed: {error}")),
            _ => Self::again(ErrorCode::ConnectionReset, format!("the connection failed: {error}")),
        }
    }
}

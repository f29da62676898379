//! How a carried connection came to its end.

use std::io;
use std::os::fd::OwnedFd;

use headstart_base::{Error, ErrorCode};

/// Why nothing is moved any more.
#[derive(Debug)]
pub enum End {
    /// Both sides said that they were done, or the application closed its end.
    Done,
    /// The server or the network broke it, or nothing moved for too long.
    Broken(Error),
    /// The server's socket was taken back, with nothing on its way.
    TakenBack(OwnedFd),
}

/// What an error of the server's socket means.
pub(crate) fn broken(error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => {
            Error::new(ErrorCode::Deadline, "the server does not answer any more: its host timed out")
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorCode::ConnectionReset, "the server closed the connection without TLS's closing message")
        }
        _ if error.kind() == io::ErrorKind::InvalidData => {
            Error::new(ErrorCode::TlsFailed, format!("TLS failed: {error}"))
        }
        _ => Error::new(ErrorCode::ConnectionReset, format!("the connection broke: {error}")),
    }
}

pub(crate) fn silent(most: std::time::Duration) -> Error {
    Error::new(ErrorCode::Deadline, format!("nothing moved on the connection for {} s", most.as_secs_f32()))
}

//! What can go wrong.

use crate::numbers::{Code, ERRORS};

pub type Result<T> = std::result::Result<T, Error>;

/// An error by its code, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .code.name())]
pub struct Error {
    pub code: Code,
    pub message: String,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Code {
    /// Its name in `schema/errors.capnp`: "alreadyClaimed".
    pub fn name(self) -> &'static str {
        ERRORS[self as usize].1
    }

    /// The Linux errno that comes nearest.
    pub fn errno(self) -> i32 {
        ERRORS[self as usize].2
    }

    /// How a person mends it.
    pub fn hint(self) -> &'static str {
        ERRORS[self as usize].3
    }

    /// The code of a number off the wire; `Internal` for one that this client does not know.
    pub(crate) fn of(number: u64) -> Self {
        let row = usize::try_from(number).ok().and_then(|number| ERRORS.get(number));
        row.map_or(Self::Internal, |row| row.0)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = Self::from_raw_os_error(error.code.errno()).kind();
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_rows() {
        for (number, row) in ERRORS.iter().enumerate() {
            assert_eq!(row.0 as usize, number);
            assert_eq!(Code::of(number as u64), row.0);
        }
        assert_eq!(Code::of(u64::MAX), Code::Internal);
        assert_eq!(Error::new(Code::AlreadyClaimed, "twice").to_string(), "alreadyClaimed: twice");
        assert_eq!(std::io::Error::from(Error::new(Code::Deadline, "")).kind(), std::io::ErrorKind::TimedOut);
    }
}

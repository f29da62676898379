use std::io;
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not set")]
    Unset(&'static str),
    #[error("{0:?} is no \"s3://bucket/key\"")]
    Url(String),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("GET {from}: {error}")]
    Network { from: String, error: io::Error },
    #[error("GET {from}: {what}")]
    Reply { from: String, what: String },
    #[error("{from}: {error}")]
    Headstart { from: String, error: headstart::Error },
    #[error("{program}: {what}")]
    Program { program: &'static str, what: String },
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |error| Self::File { path: path.to_owned(), error }
    }
}

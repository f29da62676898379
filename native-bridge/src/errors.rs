//! The schema's table of errors.

use headstart_base::{Error, ErrorCode, errors_capnp};

/// The error's name as other parts write it ("functionFailed").
pub(crate) fn name(code: ErrorCode) -> String {
    let name = format!("{code:?}");
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// The HTTP status that the table gives.
pub(crate) fn http_status(code: ErrorCode) -> u16 {
    let found = || {
        let table = errors_capnp::ERRORS.get().ok()?;
        table.iter().find(|row| row.get_code().ok() == Some(code)).map(|row| row.get_http())
    };
    found().unwrap_or(500)
}

/// An error of a system call or file operation, with what was being done.
pub(crate) fn io(what: &str, error: &std::io::Error) -> Error {
    let code = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorCode::DiskFull,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("{what}: {error}"))
}

/// The end of an instance, as its waiting parts are told.
pub(crate) fn instance_closed() -> Error {
    Error::new(ErrorCode::InstanceClosed, "the instance has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_statuses_are_the_tables() {
        assert_eq!(name(ErrorCode::FunctionFailed), "functionFailed");
        assert_eq!(name(ErrorCode::Ok), "ok");
        assert_eq!(http_status(ErrorCode::FunctionTimeout), 504);
        assert_eq!(http_status(ErrorCode::DiskFull), 507);
    }
}

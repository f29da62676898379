//! The system calls under segments.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use headstart_base::{Error, ErrorCode, Result};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The machine's page size, in bytes.
pub(crate) const PAGE: usize = 4096;

/// `bytes` rounded up to whole pages, at least one.
pub(crate) fn pages(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(PAGE)
}

/// A memfd of this size that can be sealed, named `headstart:<owner>`.
pub(crate) fn create(owner: &str, bytes: usize) -> Result<OwnedFd> {
    let name = CString::new(format!("headstart:{owner}"))
        .map_err(|_| Error::new(ErrorCode::InvalidArgument, "a segment's owner has a zero byte in its name"))?;
    let file = memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
        .map_err(|error| failed("memfd_create", error))?;
    let length = i64::try_from(bytes).map_err(|_| Error::new(ErrorCode::InvalidArgument, "a segment is too large"))?;
    nix::unistd::ftruncate(&file, length).map_err(|error| failed("ftruncate", error))?;
    Ok(file)
}

pub(crate) fn seal(file: &OwnedFd, seals: SealFlag) -> Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))
        .map_err(|error| failed("F_ADD_SEALS", error))?;
    Ok(())
}

/// Another open file of the same memory, to read only.
pub(crate) fn reopen_read_only(file: &OwnedFd) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(&path)
        .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot reopen a segment: {error}")))?;
    Ok(file.into())
}

/// Whether an open file that was made by [`reopen_read_only`] is still there somewhere: as an fd, as a mapping, or on its
/// way in a socket. The kernel grants a write lease only to the one open file of an inode; memfds themselves do not count,
/// having been opened without a path.
pub(crate) fn is_open_elsewhere(file: &OwnedFd) -> Result<bool> {
    let probe = reopen_read_only(file)?;
    // SAFETY: a plain system call on an fd that we hold; the lease ends with the fd.
    let leased = unsafe { libc::fcntl(probe.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    Ok(leased != 0)
}

pub(crate) fn failed(call: &str, error: nix::Error) -> Error {
    let code = if error == nix::Error::ENOMEM { ErrorCode::NodeMemoryFull } else { ErrorCode::Internal };
    Error::new(code, format!("{call}: {error}"))
}

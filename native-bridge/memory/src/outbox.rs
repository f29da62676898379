//! Bytes from an application to the bridge.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use nix::fcntl::SealFlag;

use crate::budget::{Budget, Charge};
use crate::memfd;

/// A memfd that the application writes. It cannot be resized, and the bridge never maps it: it copies out of it with
/// pread(2) before it looks, so that nothing changes between a check and its use.
#[derive(Debug)]
pub struct Outbox {
    file: OwnedFd,
    capacity: usize,
    _charges: [Charge; 2],
}

impl Outbox {
    /// `bytes` are rounded up to whole pages.
    pub fn new(owner: &str, bytes: usize, instance: &Arc<Budget>, node: &Arc<Budget>) -> Result<Self> {
        let capacity = memfd::pages(bytes);
        let charges = [instance.charge(capacity as u64)?, node.charge(capacity as u64)?];
        let file = memfd::create(owner, capacity)?;
        memfd::seal(&file, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
        Ok(Self { file, capacity, _charges: charges })
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The fd to hand to the application.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A copy of `length` bytes from `offset`, both as the application said them.
    pub fn copy(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let end = offset.checked_add(length).filter(|end| *end <= self.capacity as u64);
        if end.is_none() {
            let message = format!("{length} bytes at {offset} lie outside the outbox of {}", self.capacity);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        read_exact(&self.file, offset, length as usize)
    }
}

/// `length` bytes of a memfd, by pread(2).
pub(crate) fn read_exact(file: &OwnedFd, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        let count = nix::sys::uio::pread(file, &mut bytes[done..], offset as i64 + done as i64)
            .map_err(|error| memfd::failed("pread", error))?;
        if count == 0 {
            return Err(Error::new(ErrorCode::Internal, "a segment is shorter than it was made"));
        }
        done += count;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn copies_what_the_application_wrote_and_cannot_be_resized() {
        let budget = Budget::instance(1 << 20);
        let node = Budget::node(1 << 20);
        let outbox = Outbox::new("test", 5000, &budget, &node).unwrap();
        assert_eq!(outbox.capacity(), 8192);
        assert_eq!(node.used(), 8192);
        let theirs = File::from(outbox.file().try_clone_to_owned().unwrap());
        theirs.write_all_at(b"hello", 8000).unwrap();
        assert_eq!(outbox.copy(8000, 5).unwrap(), b"hello");
        assert!(theirs.set_len(0).is_err());
        assert!(theirs.set_len(1 << 20).is_err());
        assert_eq!(outbox.copy(8190, 3).unwrap_err().code, ErrorCode::InvalidArgument);
        assert_eq!(outbox.copy(u64::MAX, 2).unwrap_err().code, ErrorCode::InvalidArgument);
        drop(outbox);
        assert_eq!(budget.used(), 0);
    }
}

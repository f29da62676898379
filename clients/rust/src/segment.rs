//! Memory that is shared with the bridge.

use std::ffi::c_void;
use std::fmt::Display;
use std::fs::File;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::error::Error;
use crate::numbers::Code;

const PAGE: usize = 4096;
const FRONT: usize = 256 << 10;

/// A mapped segment, unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and nothing here changes it.
unsafe impl Send for Mapping {}
// SAFETY: as above; its bytes are only read, but for those of an outbox, through &mut.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of a segment; `writable` for an outbox.
    pub(crate) fn new(file: &OwnedFd, writable: bool) -> Result<Self, Errno> {
        let length = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| Errno::INVAL)?;
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: the kernel chooses a free address, so no memory of this program is changed.
        let base = unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) }?;
        let base = NonNull::new(base).ok_or(Errno::INVAL)?;
        Ok(Self { base, length })
    }

    /// Has the first pages mapped now, where heads and indexes lie.
    pub(crate) fn touch(&self) {
        let front = self.bytes(0, self.length.min(FRONT)).unwrap_or_default();
        for page in front.chunks(PAGE) {
            black_box(page[0]);
        }
    }

    /// Has all pages mapped now. gVisor does not: there they are as they are touched.
    pub(crate) fn populate(&self) {
        // SAFETY: the mapping is ours, and this changes none of its bytes.
        let _ = unsafe { madvise(self.base.as_ptr(), self.length, Advice::LinuxPopulateRead) };
    }

    /// Maps a file of the application's, in which an answer's bytes lie.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Error> {
        let failed = |error: &dyn Display| Error::new(Code::NotFound, format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(|error| failed(&error))?;
        Self::new(&file.into(), false).map_err(|error| failed(&error))
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// `length` bytes at `offset`; none where they do not lie in the segment. The bridge has written them before it named
    /// them, and does not change them.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Option<&[u8]> {
        let end = offset.checked_add(length)?;
        // SAFETY: the bytes lie in the mapping, which lives as long as `self`; the segment is sealed, so it cannot shrink,
        // and these bytes do not change any more.
        (end <= self.length)
            .then(|| unsafe { std::slice::from_raw_parts(self.base.cast::<u8>().add(offset).as_ptr(), length) })
    }

    /// Copies bytes to the front of a writable mapping; false where they do not fit.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.length;
        if fits {
            // SAFETY: the mapping is longer than `bytes`, writable (it is an outbox), and no memory of this program overlaps it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.cast::<u8>().as_ptr(), bytes.len()) };
        }
        fits
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody refers to its bytes any more: references borrow `self`.
        let _ = unsafe { munmap(self.base.as_ptr(), self.length) };
    }
}

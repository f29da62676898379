//! One piece of an instance's memory, written by the bridge and read by the application.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headstart_base::{Error, ErrorCode, Result};
use nix::fcntl::SealFlag;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::budget::Charge;
use crate::memfd;
use crate::outbox::read_exact;

/// Where regions begin: whole cache lines.
const ALIGNMENT: usize = 64;

/// A memfd, mapped read-write here and sealed against everybody else's writing and resizing. Regions are carved from its
/// front to its end; they never overlap and never return, so bytes that were handed out never change.
#[derive(Debug)]
pub struct Segment {
    file: OwnedFd,
    address: NonNull<u8>,
    capacity: usize,
    used: AtomicUsize,
    /// Given back when the memory is: the node's share, and the instance's once it has one.
    charges: std::sync::Mutex<Vec<Charge>>,
}

// SAFETY: the mapping belongs to the segment, lives as long as it does, and is written through `Writer`s only, whose
// regions are disjoint; `read` goes through the file.
unsafe impl Send for Segment {}
// SAFETY: as above; `used` is atomic and `charges` is locked.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a segment of whole pages, not yet prefaulted.
    pub(crate) fn new(owner: &str, bytes: usize, charge: Charge) -> Result<Self> {
        let capacity = memfd::pages(bytes);
        let file = memfd::create(owner, capacity)?;
        let length = std::num::NonZeroUsize::new(capacity)
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a segment of no bytes"))?;
        // SAFETY: a new shared mapping of a file that we own, at an address of the kernel's choice.
        let address =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0) }
                .map_err(|error| memfd::failed("mmap", error))?;
        let segment = Self {
            file,
            address: address.cast(),
            capacity,
            used: AtomicUsize::new(0),
            charges: std::sync::Mutex::new(vec![charge]),
        };
        memfd::seal(&segment.file, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_FUTURE_WRITE)?;
        Ok(segment)
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that no region has yet.
    pub fn free(&self) -> usize {
        self.capacity - self.used.load(Ordering::Relaxed).min(self.capacity)
    }

    /// The addresses of the mapping in this process, for tests of where bytes land.
    pub fn addresses(&self) -> std::ops::Range<usize> {
        let start = self.address.as_ptr() as usize;
        start..start + self.capacity
    }

    /// The fd that this process maps. It is never handed out: see [`Segment::share`].
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A read-only open file of this memory, to hand to the application.
    pub fn share(&self) -> Result<OwnedFd> {
        memfd::reopen_read_only(&self.file)
    }

    /// Whether somebody still has what [`Segment::share`] gave: an fd or a mapping. What cannot be found out counts as yes.
    pub fn is_shared(&self) -> bool {
        memfd::is_open_elsewhere(&self.file).unwrap_or(true)
    }

    /// Adds what is to be given back when the memory is.
    pub(crate) fn hold(&self, charge: Charge) {
        self.charges.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(charge);
    }

    /// Carves the next `bytes` out; none when they do not fit.
    pub fn region(self: &Arc<Self>, bytes: usize) -> Option<Writer> {
        let capacity = self.capacity;
        let mut offset = 0;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                offset = used.next_multiple_of(ALIGNMENT);
                offset.checked_add(bytes).filter(|end| *end <= capacity)
            })
            .ok()?;
        Some(Writer { segment: Arc::clone(self), offset, capacity: bytes, written: 0 })
    }

    /// A copy of bytes that were written.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.capacity as u64);
        if end.is_none() {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("{length} bytes at {offset} lie outside the segment"),
            ));
        }
        read_exact(&self.file, offset, length)
    }

    /// Bytes that were written, where they lie; none when they lie outside.
    ///
    /// # Safety
    /// All of them were written before, by the writer of one region, and that was seen by who asks: they never change again.
    pub unsafe fn view(self: &Arc<Self>, offset: u64, length: usize) -> Option<View> {
        let offset = usize::try_from(offset).ok()?;
        offset.checked_add(length).filter(|end| *end <= self.capacity)?;
        Some(View { segment: Arc::clone(self), offset, length })
    }

    /// Brings the pages of a range in. What cannot be brought in is left to page faults.
    pub(crate) fn populate(&self, offset: usize, length: usize) {
        let end = offset.saturating_add(length).min(self.capacity);
        if offset >= end {
            return;
        }
        // SAFETY: the range lies in our mapping, and MADV_POPULATE_WRITE changes no byte of it.
        unsafe {
            libc::madvise(self.address.as_ptr().add(offset).cast(), end - offset, libc::MADV_POPULATE_WRITE);
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no `Writer` is left: each holds an Arc of the segment.
        let unmapped = unsafe { munmap(self.address.cast(), self.capacity) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "munmap of a segment");
        }
    }
}

/// Bytes of a segment that do not change any more. They stay mapped as long as it lives.
#[derive(Debug)]
pub struct View {
    segment: Arc<Segment>,
    offset: usize,
    length: usize,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lies in the mapping, which lives as long as the segment, and nobody writes to it: who made the
        // view has promised that (`Segment::view`), and no other process can (it is sealed).
        unsafe { std::slice::from_raw_parts(self.segment.address.as_ptr().add(self.offset), self.length) }
    }
}

/// The only way to write a region: bytes go in from its front to its end.
#[derive(Debug)]
pub struct Writer {
    segment: Arc<Segment>,
    offset: usize,
    capacity: usize,
    written: usize,
}

impl Writer {
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where the region begins in its segment.
    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many bytes are written.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The bytes that are not written yet: what recv(2) is given. Empty when the region is full.
    pub fn space(&mut self) -> &mut [u8] {
        // SAFETY: [offset, offset + capacity) lies in the mapping and belongs to this writer alone, no other process can
        // write it (it is sealed), and the memory is initialised (zero pages).
        unsafe {
            let start = self.segment.address.as_ptr().add(self.offset + self.written);
            std::slice::from_raw_parts_mut(start, self.capacity - self.written)
        }
    }

    /// Says that the first `count` bytes of `space` are written.
    pub fn filled(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.capacity);
    }

    /// Copies bytes in; `false` when they do not fit (then none is written).
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        match self.space().get_mut(..bytes.len()) {
            Some(space) => space.copy_from_slice(bytes),
            None => return false,
        }
        self.filled(bytes.len());
        true
    }

    /// Copies what `other` has written; `false` when it does not fit. For a body that outgrew its region.
    pub fn append_from(&mut self, other: &Writer) -> bool {
        if other.written > self.capacity - self.written {
            return false;
        }
        // SAFETY: both ranges lie in their mappings; they cannot overlap, being of two writers.
        unsafe {
            let from = other.segment.address.as_ptr().add(other.offset);
            let to = self.segment.address.as_ptr().add(self.offset + self.written);
            std::ptr::copy_nonoverlapping(from, to, other.written);
        }
        self.filled(other.written);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::budget::Budget;

    fn segment(bytes: usize) -> Arc<Segment> {
        let charge = Budget::node(1 << 30).charge(bytes as u64).unwrap();
        Arc::new(Segment::new("test", bytes, charge).unwrap())
    }

    #[test]
    fn its_receiver_can_only_read_and_the_bridge_still_writes() {
        let segment = segment(8192);
        let mut writer = segment.region(100).unwrap();
        assert!(writer.append(b"before"));
        let shared = segment.share().unwrap();

        let mapped = |file: &OwnedFd, protection| {
            // SAFETY: a new shared mapping of a file we hold.
            unsafe { mmap(None, std::num::NonZeroUsize::new(4096).unwrap(), protection, MapFlags::MAP_SHARED, file, 0) }
        };
        let read = mapped(&shared, ProtFlags::PROT_READ).unwrap();
        assert!(mapped(&shared, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_err());

        // Reopening through /proc gives a writable open file to root; the seals hold nevertheless.
        let path = format!("/proc/self/fd/{}", shared.as_raw_fd());
        if let Ok(mut again) = File::options().read(true).write(true).open(path) {
            assert!(again.write_all(b"attack").is_err());
            assert!(again.set_len(0).is_err());
            assert!(again.set_len(1 << 20).is_err());
            let again = OwnedFd::from(again);
            assert!(mapped(&again, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_err());
            // SAFETY: a plain system call on an fd that we hold.
            let punched = unsafe {
                libc::fallocate(again.as_raw_fd(), libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, 4096)
            };
            assert_eq!(punched, -1);
        }

        assert!(writer.append(b" after"));
        // SAFETY: the mapping is 4,096 bytes long and stays until the end of the test.
        let seen = unsafe { std::slice::from_raw_parts(read.as_ptr().cast::<u8>().cast_const(), 12) };
        assert_eq!(seen, b"before after");
        assert_eq!(segment.read(0, 12).unwrap(), b"before after");
        // SAFETY: mapped above, not used below.
        unsafe { munmap(read, 4096) }.unwrap();
    }

    #[test]
    fn knows_whether_its_receiver_still_has_it() {
        let segment = segment(4096);
        assert!(!segment.is_shared());
        let shared = segment.share().unwrap();
        assert!(segment.is_shared());
        let length = std::num::NonZeroUsize::new(4096).unwrap();
        // SAFETY: a new shared mapping of a file we hold.
        let mapped = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &shared, 0) }.unwrap();
        drop(shared);
        assert!(segment.is_shared(), "a mapping counts");
        // SAFETY: mapped above, not used below.
        unsafe { munmap(mapped, 4096) }.unwrap();
        assert!(!segment.is_shared());
    }

    #[test]
    fn regions_are_disjoint_and_bounded() {
        let segment = segment(4096);
        let first = segment.region(100).unwrap();
        let second = segment.region(0).unwrap();
        let third = segment.region(100).unwrap();
        assert_eq!((first.offset(), second.offset(), third.offset()), (0, 128, 128));
        assert!(segment.region(4096).is_none());
        assert!(segment.region(usize::MAX).is_none());
        let mut last = segment.region(segment.free() - 28).unwrap();
        assert!(last.append(b""));
        assert!(segment.region(1).is_none());
    }

    #[test]
    fn a_body_that_outgrew_its_region_moves() {
        let segment = segment(4096);
        let mut small = segment.region(4).unwrap();
        assert!(small.append(b"abcd"));
        assert!(!small.append(b"e"));
        let mut large = segment.region(8).unwrap();
        assert!(large.append_from(&small));
        assert!(large.append(b"efgh"));
        assert!(!large.append_from(&small));
        assert_eq!(segment.read(large.offset() as u64, 8).unwrap(), b"abcdefgh");
        assert!(segment.read(4000, 97).is_err());
    }

    #[test]
    fn what_the_bridge_writes_lands_in_the_mapping() {
        let segment = segment(4096);
        let mut writer = segment.region(10).unwrap();
        let at = writer.space().as_ptr() as usize;
        assert!(segment.addresses().contains(&at));
    }
}

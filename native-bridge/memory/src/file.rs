//! A file that an application maps at a path of its own, and that the bridge receives into.
//!
//! It lies in /dev/shm and is shared: the application reads, writes and *resizes* it at any time (a file on tmpfs cannot be
//! sealed). So the bridge's own code never touches its mapping, which would end the bridge where the application has cut
//! the file: only recv(2) is given those addresses and fails there (EFAULT), and all else goes through pwrite(2) and pread(2).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use headstart_base::{Error, ErrorCode, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::budget::Charge;
use crate::memfd;

/// A file in /dev/shm, mapped here. It is removed when the last of its holders lets go.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    address: NonNull<u8>,
    bytes: usize,
    path: PathBuf,
    charges: Mutex<Vec<Charge>>,
}

// SAFETY: the mapping belongs to the file and lives as long as it does; nobody but the kernel reads or writes through it.
unsafe impl Send for SharedFile {}
// SAFETY: as above; `charges` is locked.
unsafe impl Sync for SharedFile {}

impl SharedFile {
    /// Makes a file of so many bytes, not yet prefaulted. It is ours until a sandbox gives it to its user.
    pub(crate) fn create(path: PathBuf, bytes: usize, charge: Charge) -> Result<Self> {
        let length = std::num::NonZeroUsize::new(memfd::pages(bytes))
            .filter(|_| bytes > 0)
            .ok_or_else(|| Error::new(ErrorCode::InvalidArgument, "a file of no bytes"))?;
        let broken = |error: io::Error| Error::new(ErrorCode::Internal, format!("{}: {error}", path.display()));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(broken)?;
        let prepared = file.set_len(bytes as u64).map_err(broken).and_then(|()| {
            let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            // SAFETY: a new shared mapping of a file that we own, at an address of the kernel's choice.
            unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &file, 0) }
                .map_err(|error| memfd::failed("mmap", error))
        });
        match prepared {
            Ok(address) => Ok(Self { file, address: address.cast(), bytes, path, charges: Mutex::new(vec![charge]) }),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// Where it lies on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How large it was made.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives it another name, in the same folder.
    pub(crate) fn rename(&mut self, path: PathBuf) -> Result<()> {
        std::fs::rename(&self.path, &path)
            .map_err(|error| Error::new(ErrorCode::Internal, format!("{}: {error}", path.display())))?;
        self.path = path;
        Ok(())
    }

    /// Adds what is to be given back when the memory is.
    pub(crate) fn hold(&self, charge: Charge) {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner).push(charge);
    }

    /// A place for a body: `room` bytes from `offset`. None when it does not lie within the file.
    pub fn place(self: &Arc<Self>, offset: u64, room: u64) -> Option<FileWriter> {
        let end = offset.checked_add(room).filter(|end| *end <= self.bytes as u64);
        end?;
        let (offset, room) = (usize::try_from(offset).ok()?, usize::try_from(room).ok()?);
        Some(FileWriter { file: Arc::clone(self), offset, room, written: 0 })
    }

    /// A copy of what lies in it now. `protocol` when the application has cut it.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(|_| cut())?;
        Ok(bytes)
    }

    /// Brings the pages of a range in. What cannot be brought in is left to page faults.
    pub(crate) fn populate(&self, offset: usize, length: usize) {
        let end = offset.saturating_add(length).min(memfd::pages(self.bytes));
        if offset >= end {
            return;
        }
        // SAFETY: the range lies in our mapping; MADV_POPULATE_WRITE changes no byte of it, and fails where there is no file.
        unsafe {
            libc::madvise(self.address.as_ptr().add(offset).cast(), end - offset, libc::MADV_POPULATE_WRITE);
        }
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        remove(&self.path);
        // SAFETY: the mapping is ours, and no `FileWriter` is left: each holds an Arc of the file.
        let unmapped = unsafe { munmap(self.address.cast(), memfd::pages(self.bytes)) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "munmap of a shared file");
        }
    }
}

/// A body on its way into a file.
#[derive(Debug)]
pub struct FileWriter {
    file: Arc<SharedFile>,
    offset: usize,
    room: usize,
    written: usize,
}

impl FileWriter {
    pub fn file(&self) -> &Arc<SharedFile> {
        &self.file
    }

    /// Where in the file it begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn room(&self) -> usize {
        self.room
    }

    pub fn written(&self) -> usize {
        self.written
    }

    /// Begins again at the same place.
    pub fn restart(&mut self) {
        self.written = 0;
    }

    /// Room that is left, for recv(2) alone: nobody else may write there, and nobody may read.
    pub fn space(&mut self) -> &mut [u8] {
        // SAFETY: the range lies in our mapping, which lives as long as the file, and is this writer's alone among those
        // here. Another process may write it or take its pages away; the caller gives the slice to the kernel only, whose
        // copy fails where there is no page.
        unsafe {
            let start = self.file.address.as_ptr().add(self.offset + self.written);
            std::slice::from_raw_parts_mut(start, self.room - self.written)
        }
    }

    /// Says that the first `count` bytes of `space` are written.
    pub fn filled(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.room);
    }

    /// Writes bytes that are here already, as many as there is room for; how many.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(self.room - self.written);
        let at = (self.offset + self.written) as u64;
        let bytes = bytes.get(..count).unwrap_or_default();
        self.file.file.write_all_at(bytes, at).map_err(|error| {
            let code = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::ENOMEM) => ErrorCode::NodeMemoryFull,
                _ => ErrorCode::Internal,
            };
            Error::new(code, format!("cannot write into a shared file: {error}"))
        })?;
        self.filled(count);
        Ok(count)
    }
}

/// What is told when the pages of a place have gone.
pub(crate) fn cut() -> Error {
    Error::new(ErrorCode::Protocol, "the application has cut the file that the bytes are in")
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::error!(path = %path.display(), %error, "a shared file stays");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::budget::Budget;

    fn file(bytes: usize) -> Arc<SharedFile> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/headstart-unit-{}-{number}", std::process::id()));
        let charge = Budget::node(1 << 30).charge(bytes as u64).unwrap();
        Arc::new(SharedFile::create(path, bytes, charge).unwrap())
    }

    #[test]
    fn others_see_what_is_written_and_it_goes_with_its_holders() {
        let shared = file(5000);
        let path = shared.path().to_owned();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (5000, 0o600));
        let mut writer = shared.place(4090, 910).unwrap();
        assert_eq!(writer.put(b"hello").unwrap(), 5);
        let theirs = File::open(&path).unwrap();
        let mut seen = [0; 5];
        theirs.read_exact_at(&mut seen, 4090).unwrap();
        assert_eq!(&seen, b"hello");
        assert_eq!(writer.put(&[1; 2000]).unwrap(), 905, "no further than its room");
        assert_eq!(writer.put(b"x").unwrap(), 0);
        writer.restart();
        assert_eq!((writer.space().len(), writer.written()), (910, 0));
        drop((shared, writer));
        assert!(!path.exists());
    }

    #[test]
    fn a_place_lies_within_the_file() {
        let shared = file(4096);
        assert!(shared.place(0, 4096).is_some() && shared.place(4096, 0).is_some());
        for (offset, room) in [(1, 4096), (4097, 0), (u64::MAX, 1), (0, u64::MAX)] {
            assert!(shared.place(offset, room).is_none(), "{offset} {room}");
        }
    }

    /// What a hostile application does to its file is an error here, and no signal.
    #[test]
    fn a_file_that_was_cut_is_an_error() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let shared = file(1 << 20);
        let mut writer = shared.place(0, 1 << 20).unwrap();
        std::fs::OpenOptions::new().write(true).open(shared.path()).unwrap().set_len(0).unwrap();
        shared.populate(0, 1 << 20);
        assert_eq!(shared.read(0, 10).unwrap_err().code, ErrorCode::Protocol);
        let (mut from, into) = std::os::unix::net::UnixStream::pair().unwrap();
        from.write_all(b"bytes").unwrap();
        let space = writer.space();
        // SAFETY: the kernel is given our own mapping, whose pages are gone.
        let received = unsafe { libc::recv(into.as_raw_fd(), space.as_mut_ptr().cast(), space.len(), 0) };
        assert_eq!((received, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EFAULT)));
        // What the bridge writes itself makes the file longer again.
        assert_eq!(writer.put(b"bytes").unwrap(), 5);
        assert_eq!(shared.read(0, 5).unwrap(), b"bytes");
    }
}

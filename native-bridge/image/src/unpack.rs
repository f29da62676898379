//! An archive into a folder that becomes a layer of an overlay.
//!
//! The archive is hostile. Every place is looked up with the folder as its root, by the kernel; every file is made new. All
//! is root's, folders and programs 0755 and the rest 0644: nobody writes here, and the application may read what is its own
//! image. So no bit of the archive gives anyone a right, set-user-id least of all.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use headstart_base::Result;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::archive::{Entry, Kind, broken, each};
use crate::config::Bounds;
use crate::failure::{disk, invalid};
use crate::path::{Confined, components};

/// A name that takes one of the layers below away, and one that takes away all of a folder.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OVERLAY_OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// What a file takes on the disk beside its content, and what that is rounded up to: an empty one is not for nothing.
const BLOCK: u64 = 4096;
/// What is read of a file at once.
const BUFFER: usize = 128 << 10;

/// Unpacks an archive, and tells how much of the disk that takes: a block for each entry, and the content in whole blocks.
pub(crate) fn unpack(reader: impl Read, folder: &Path, bounds: Bounds) -> Result<u64> {
    let root = Confined::open(folder).map_err(|error| disk("a layer", &error))?;
    let mut layer = Layer { root, entries: 0, bounds, bytes: 0, buffer: vec![0; BUFFER] };
    each(reader, |entry, content| layer.put(&entry, content))?;
    Ok(layer.bytes)
}

struct Layer {
    root: Confined,
    entries: u64,
    bounds: Bounds,
    bytes: u64,
    /// Of all files: memory that is new for each costs more than most files do.
    buffer: Vec<u8>,
}

impl Layer {
    fn put(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let made = self.root.made();
        self.enter(entry, content)?;
        // Folders that it lies in and that no entry named are there as well.
        let more = 1 + self.root.made() - made;
        self.entries += more;
        self.bytes += more * BLOCK;
        let Bounds { entries, bytes, .. } = self.bounds;
        if self.entries > entries {
            return Err(invalid(format!("a layer has more than {entries} entries")));
        }
        if self.bytes > bytes {
            return Err(invalid(format!("a layer takes more than {bytes} bytes of the disk")));
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let shown = String::from_utf8_lossy(&entry.name).chars().take(200).collect::<String>();
        let Some(parts) = components(&entry.name) else {
            return Err(invalid(format!("a layer has an entry outside of it: {shown}")));
        };
        // The root itself.
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        let refused = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::EIO) => disk(&shown, &error),
            _ => invalid(format!("a layer's entry {shown}: {error}")),
        };
        let parent = self.root.folder(parents).map_err(refused)?;
        let parent = parent.as_fd();
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(parent, name, hidden).map_err(refused);
        }
        match &entry.kind {
            Kind::Folder => self.folder(parent, name).map_err(refused),
            Kind::File { is_program } => {
                let mut file = create(parent, name, *is_program).map_err(refused)?;
                self.bytes += copy(content, &mut file, &mut self.buffer)?.next_multiple_of(BLOCK);
                let time = TimeSpec::new(entry.modified, 0);
                futimens(&file, &time, &time).map_err(|error| refused(error.into()))
            }
            Kind::Symlink(target) => {
                clear(parent, name).map_err(refused)?;
                symlinkat(target.as_os_str(), parent, *name).map_err(|error| refused(error.into()))
            }
            Kind::Hardlink(target) => self.hardlink(target, parent, name).map_err(refused),
            Kind::Skipped => Ok(()),
        }
    }

    fn folder(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o755);
        match mkdirat(parent, name, mode) {
            Err(Errno::EEXIST) => {}
            other => return Ok(other?),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_PATH | OFlag::O_CLOEXEC;
        if openat(parent, name, flags, Mode::empty()).is_ok() {
            return Ok(());
        }
        self.root.forget();
        unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
        Ok(mkdirat(parent, name, mode)?)
    }

    fn hardlink(&mut self, target: &[u8], parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "it is a link out of the layer");
        let parts = components(target).ok_or_else(outside)?;
        let (last, parents) = parts.split_last().ok_or_else(outside)?;
        let from = self.root.find(&parents.iter().collect::<std::path::PathBuf>())?;
        clear(parent, name)?;
        // A link is not followed: a second name for it leads where it does, inside of the sandbox.
        Ok(linkat(from, *last, parent, name, AtFlags::empty())?)
    }
}

/// A new file, in the place of what an earlier entry put there.
fn create(parent: BorrowedFd<'_>, name: &OsStr, is_program: bool) -> io::Result<File> {
    let mode = Mode::from_bits_truncate(if is_program { 0o755 } else { 0o644 });
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, mode) {
        Err(Errno::EEXIST) => {
            clear(parent, name)?;
            Ok(openat(parent, name, flags, mode)?.into())
        }
        other => Ok(other?.into()),
    }
}

/// Content into a file. What goes wrong in reading is the layer's fault, in writing the disk's.
fn copy(content: &mut dyn Read, file: &mut File, buffer: &mut [u8]) -> Result<u64> {
    let mut total = 0;
    loop {
        let count = match content.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        io::Write::write_all(file, &buffer[..count]).map_err(|error| disk("a layer's file", &error))?;
        total += count as u64;
    }
}

/// Takes the place of what an earlier entry put there. A folder stays: it would have to be emptied first.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A name that hides one of the layers below, as the overlay file system writes it.
fn whiteout(parent: BorrowedFd<'_>, name: &OsStr, hidden: &[u8]) -> io::Result<()> {
    if name.as_bytes() == OPAQUE {
        // SAFETY: name and value are valid for the lengths that are given; the descriptor is open.
        let set = unsafe { libc::fsetxattr(parent.as_raw_fd(), OVERLAY_OPAQUE.as_ptr(), c"y".as_ptr().cast(), 1, 0) };
        return if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    }
    // Other packers' own notes.
    if hidden.starts_with(WHITEOUT) {
        return Ok(());
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it hides no name"));
    }
    let hidden = OsStr::from_bytes(hidden);
    clear(parent, hidden)?;
    Ok(mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), 0)?)
}

#[cfg(test)]
mod tests;

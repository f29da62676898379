//! A layer as a folder of the disk. Every place is looked up by the kernel, with the folder as its root.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use headstart_base::Result;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::{Files, Refused};
use crate::archive::broken;
use crate::failure::disk;
use crate::path::Confined;

const OVERLAY_OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// What is read of a file at once.
const BUFFER: usize = 128 << 10;

pub(crate) struct Folder {
    root: Confined,
    /// Of all files: memory that is new for each costs more than most files do.
    buffer: Vec<u8>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: Confined::open(path)?, buffer: vec![0; BUFFER] })
    }
}

impl Files for Folder {
    type Folder = OwnedFd;

    fn parent(&mut self, parts: &[&OsStr]) -> io::Result<OwnedFd> {
        self.root.folder(parts)
    }

    fn made(&self) -> u64 {
        self.root.made()
    }

    fn folder(&mut self, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
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

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        is_program: bool,
        modified: i64,
        content: &mut dyn Read,
        refused: &Refused<'_>,
    ) -> Result<u64> {
        let mut file = create(parent.as_fd(), name, is_program).map_err(refused)?;
        let bytes = copy(content, &mut file, &mut self.buffer)?;
        let time = TimeSpec::new(modified, 0);
        futimens(&file, &time, &time).map_err(|error| refused(error.into()))?;
        Ok(bytes)
    }

    fn symlink(&mut self, parent: &OwnedFd, name: &OsStr, target: &OsStr) -> io::Result<()> {
        clear(parent.as_fd(), name)?;
        Ok(symlinkat(target, parent, name)?)
    }

    fn hardlink(&mut self, parents: &[&OsStr], last: &OsStr, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let from = self.root.find(&parents.iter().collect::<PathBuf>())?;
        clear(parent.as_fd(), name)?;
        Ok(linkat(from, last, parent, name, AtFlags::empty())?)
    }

    fn hide(&mut self, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        clear(parent.as_fd(), name)?;
        Ok(mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0)?)
    }

    fn hide_below(&mut self, folder: &OwnedFd) -> io::Result<()> {
        // SAFETY: name and value are valid for the lengths that are given; the descriptor is open.
        let set = unsafe { libc::fsetxattr(folder.as_raw_fd(), OVERLAY_OPAQUE.as_ptr(), c"y".as_ptr().cast(), 1, 0) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

//! An archive into the files of a layer of an overlay.
//!
//! The archive is hostile. Every place is looked up with the layer as its root; every file is made new. All is root's, folders
//! and programs 0755 and the rest 0644: nobody writes here, and the application may read what is its own image. So no bit of
//! the archive gives anyone a right, set-user-id least of all.

mod folder;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use headstart_base::{Error, Result};

pub(crate) use self::folder::Folder;
use crate::archive::{Entry, Kind, each};
use crate::config::Bounds;
use crate::failure::{disk, invalid};
use crate::path::components;

/// A name that takes one of the layers below away, and one that takes away all of a folder.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a file takes on the disk beside its content, and what that is rounded up to: an empty one is not for nothing.
const BLOCK: u64 = 4096;

/// What an error in a layer's files means: an entry that cannot be there, or the disk.
pub(crate) type Refused<'a> = dyn Fn(io::Error) -> Error + 'a;

/// Where a layer's files are made. Names are single components, no "." or ".."; what an entry replaces is replaced, unless that is a folder.
pub(crate) trait Files {
    /// One of its folders.
    type Folder;

    /// A folder by its path, made with those above it where it is not there.
    fn parent(&mut self, parts: &[&OsStr]) -> io::Result<Self::Folder>;

    /// How many folders were made by [`Files::parent`].
    fn made(&self) -> u64;

    /// One that is there already stays as it is.
    fn folder(&mut self, parent: &Self::Folder, name: &OsStr) -> io::Result<()>;

    /// Tells its bytes.
    fn file(
        &mut self,
        parent: &Self::Folder,
        name: &OsStr,
        is_program: bool,
        modified: i64,
        content: &mut dyn Read,
        refused: &Refused<'_>,
    ) -> Result<u64>;

    fn symlink(&mut self, parent: &Self::Folder, name: &OsStr, target: &OsStr) -> io::Result<()>;

    /// Another name for `last` in the folder `parents`. A link is not followed: a second name for it leads where it does.
    fn hardlink(&mut self, parents: &[&OsStr], last: &OsStr, parent: &Self::Folder, name: &OsStr) -> io::Result<()>;

    /// Hides a name of the layers below.
    fn hide(&mut self, parent: &Self::Folder, name: &OsStr) -> io::Result<()>;

    /// Hides all that the layers below have in a folder.
    fn hide_below(&mut self, folder: &Self::Folder) -> io::Result<()>;
}

/// Unpacks an archive, and tells how much of the disk that takes: a block for each entry, and the content in whole blocks.
pub(crate) fn unpack(reader: impl Read, files: &mut impl Files, bounds: Bounds) -> Result<u64> {
    let mut layer = Layer { files, entries: 0, bounds, bytes: 0 };
    each(reader, |entry, content| layer.put(&entry, content))?;
    Ok(layer.bytes)
}

struct Layer<'a, F> {
    files: &'a mut F,
    entries: u64,
    bounds: Bounds,
    bytes: u64,
}

impl<F: Files> Layer<'_, F> {
    fn put(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let made = self.files.made();
        self.enter(entry, content)?;
        // Folders that it lies in and that no entry named are there as well.
        let more = 1 + self.files.made() - made;
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
        let shown = || String::from_utf8_lossy(&entry.name).chars().take(200).collect::<String>();
        let Some(parts) = components(&entry.name) else {
            return Err(invalid(format!("a layer has an entry outside of it: {}", shown())));
        };
        // The root itself.
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        let refused = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::EIO) => disk(shown(), &error),
            _ => invalid(format!("a layer's entry {}: {error}", shown())),
        };
        let files = &mut *self.files;
        let parent = files.parent(parents).map_err(refused)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(files, &parent, name, hidden).map_err(refused);
        }
        match &entry.kind {
            Kind::Folder => files.folder(&parent, name).map_err(refused),
            Kind::File { is_program } => {
                let bytes = files.file(&parent, name, *is_program, entry.modified, content, &refused)?;
                self.bytes += bytes.next_multiple_of(BLOCK);
                Ok(())
            }
            Kind::Symlink(target) => files.symlink(&parent, name, target).map_err(refused),
            Kind::Hardlink(target) => hardlink(files, target, &parent, name).map_err(refused),
            Kind::Skipped => Ok(()),
        }
    }
}

fn hardlink<F: Files>(files: &mut F, target: &[u8], parent: &F::Folder, name: &OsStr) -> io::Result<()> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "it is a link out of the layer");
    let parts = components(target).ok_or_else(outside)?;
    let (last, parents) = parts.split_last().ok_or_else(outside)?;
    files.hardlink(parents, last, parent, name)
}

fn whiteout<F: Files>(files: &mut F, parent: &F::Folder, name: &OsStr, hidden: &[u8]) -> io::Result<()> {
    if name.as_bytes() == OPAQUE {
        return files.hide_below(parent);
    }
    // Other packers' own notes.
    if hidden.starts_with(WHITEOUT) {
        return Ok(());
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it hides no name"));
    }
    files.hide(parent, OsStr::from_bytes(hidden))
}

#[cfg(test)]
mod tests;

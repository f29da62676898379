//! Unpacks an archive that nobody vouches for.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use headstart_base::{Error, ErrorCode, Result};

use crate::errors;

/// Bytes before a file: its header, and long names and attributes in entries of their own, which are read into memory.
const HEADERS: u64 = 1 << 20;
/// What a file takes on the disk beside its content, and what that is rounded up to: an empty one is not for nothing.
const BLOCK: u64 = 4096;

/// What an archive may unpack to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

impl Bounds {
    fn check(&self, entries: usize, bytes: u64) -> Result<()> {
        if entries > self.entries || bytes.saturating_add((entries as u64).saturating_mul(BLOCK)) > self.bytes {
            let message = format!("the bundle takes more than {} files or {} bytes", self.entries, self.bytes);
            return Err(Error::new(ErrorCode::PayloadTooLarge, message));
        }
        Ok(())
    }
}

/// How much of the disk a folder takes that was unpacked here. What cannot be looked at takes nothing.
pub(super) fn room_of(folder: &Path) -> u64 {
    let (mut room, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            room += BLOCK;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                room += metadata.len().next_multiple_of(BLOCK);
            }
        }
    }
    room
}

/// Unpacks regular files, folders and symbolic links, and tells how much of the disk that takes: a block for each, and its
/// content in whole blocks. Whatever else there is, or would leave the folder, is refused.
pub(super) fn unpack(archive: &Path, files: &Path, bounds: Bounds) -> Result<u64> {
    let unreadable = |error: io::Error| Error::new(ErrorCode::InvalidArgument, format!("the archive: {error}"));
    let failed = |error: io::Error| errors::io("cannot unpack the bundle", &error);
    std::fs::DirBuilder::new().mode(0o755).create(files).map_err(failed)?;
    let left = Rc::new(Cell::new(HEADERS));
    let mut archive = tar::Archive::new(Limited { file: File::open(archive).map_err(failed)?, left: Rc::clone(&left) });
    let (mut bytes, mut entries) = (0_u64, 0_usize);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        left.set(HEADERS);
        entries += 1;
        bytes = bytes.saturating_add(entry.size()).div_ceil(BLOCK).saturating_mul(BLOCK);
        bounds.check(entries, bytes)?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        let Some(inside) = inside(&path) else {
            return Err(refused(&path, "it would leave the bundle"));
        };
        if inside.as_os_str().is_empty() {
            continue;
        }
        let target = files.join(&inside);
        entries += folder_for(files, &inside)?;
        bounds.check(entries, bytes)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => match std::fs::DirBuilder::new().mode(0o755).create(&target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_real_folder(&target) => {}
                made => made.map_err(failed)?,
            },
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                let mut file = File::create_new(&target).map_err(|error| taken(&path, error))?;
                let size = entry.size();
                left.set(u64::MAX);
                let copied = io::copy(&mut entry.by_ref().take(size), &mut file).map_err(failed)?;
                left.set(HEADERS);
                if copied != size {
                    return Err(refused(&path, "it is cut short"));
                }
                let mode = if executable { 0o755 } else { 0o644 };
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
            }
            tar::EntryType::Symlink => {
                let link = entry.link_name().map_err(unreadable)?;
                let link = link.ok_or_else(|| refused(&path, "a link without a target"))?;
                if !stays_inside(&inside, &link) {
                    return Err(refused(&path, "a link that leaves the bundle"));
                }
                std::os::unix::fs::symlink(&link, &target).map_err(|error| taken(&path, error))?;
            }
            // Names and times of the entries that follow; the library has applied them.
            tar::EntryType::XGlobalHeader | tar::EntryType::XHeader => {}
            _ => return Err(refused(&path, "neither a file nor a folder nor a symbolic link")),
        }
    }
    Ok(bytes + entries as u64 * BLOCK)
}

/// A file of which only so much is read.
struct Limited {
    file: File,
    left: Rc<Cell<u64>>,
}

impl Read for Limited {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let most = space.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        if most == 0 && !space.is_empty() {
            return Err(io::Error::other("the names and attributes of a file are longer than 1 MiB"));
        }
        let count = self.file.read(&mut space[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// The path without "." parts; none when it is absolute or goes up.
fn inside(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Whether a link at `at` to `target` points into the bundle, by its text: links to links are followed by the sandbox only.
fn stays_inside(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count() as i64 - 1;
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Makes the folders above a file, and answers how many. Each must be a real folder: an archive may not write through a link of
/// its own.
fn folder_for(files: &Path, inside: &Path) -> Result<usize> {
    let (mut folder, mut count) = (files.to_owned(), 0);
    for part in inside.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        if is_real_folder(&folder) {
            continue;
        }
        let made = std::fs::DirBuilder::new().mode(0o755).create(&folder);
        made.map_err(|error| taken(inside, error))?;
        count += 1;
    }
    Ok(count)
}

fn is_real_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn taken(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => refused(path, "it is there twice"),
        _ => errors::io("cannot unpack the bundle", &error),
    }
}

fn refused(path: &Path, why: &str) -> Error {
    let path: String = path.display().to_string().chars().take(200).collect();
    Error::new(ErrorCode::InvalidArgument, format!("{path:?} in the archive: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 10 };

    fn tried(build: impl FnOnce(&mut tar::Builder<File>)) -> (tempfile::TempDir, Result<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        build(&mut builder);
        builder.into_inner().unwrap();
        let outcome = unpack(&archive, &folder.path().join("files"), BOUNDS);
        (folder, outcome)
    }

    fn file(builder: &mut tar::Builder<File>, path: &str, mode: u32, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }

    fn link(builder: &mut tar::Builder<File>, kind: tar::EntryType, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }

    #[test]
    fn unpacks_files_folders_and_links() {
        let (folder, outcome) = tried(|builder| {
            file(builder, "./a/b.py", 0o600, b"print()");
            file(builder, "run", 0o4755, b"#!");
            link(builder, tar::EntryType::Symlink, "a/up", "../run");
        });
        let files = folder.path().join("files");
        // Three entries, a folder that none names, and two contents.
        assert_eq!((outcome.unwrap(), room_of(&files)), (6 * BLOCK, 6 * BLOCK));
        assert_eq!(std::fs::read(files.join("a/b.py")).unwrap(), b"print()");
        assert_eq!(std::fs::metadata(files.join("run")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::metadata(files.join("a/b.py")).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read(files.join("a/up")).unwrap(), b"#!");
    }

    #[test]
    fn refuses_what_leaves_the_folder() {
        type Build = fn(&mut tar::Builder<File>);
        let bad: [Build; 8] = [
            |builder| file(builder, "../x", 0o644, b""),
            |builder| file(builder, "/x", 0o644, b""),
            |builder| file(builder, "a/../../x", 0o644, b""),
            |builder| link(builder, tar::EntryType::Symlink, "a", "/etc"),
            |builder| link(builder, tar::EntryType::Symlink, "a", "b/../../c"),
            |builder| link(builder, tar::EntryType::Link, "a", "b"),
            |builder| link(builder, tar::EntryType::Char, "a", "b"),
            |builder| {
                link(builder, tar::EntryType::Symlink, "a", "b");
                file(builder, "a/x", 0o644, b"");
            },
        ];
        for (number, build) in bad.into_iter().enumerate() {
            let (_folder, outcome) = tried(build);
            assert_eq!(outcome.unwrap_err().code, ErrorCode::InvalidArgument, "case {number}");
        }
    }

    #[test]
    fn is_bounded() {
        let (_folder, outcome) = tried(|builder| (0..11).for_each(|n| file(builder, &format!("f{n}"), 0o644, b"")));
        assert_eq!(outcome.unwrap_err().code, ErrorCode::PayloadTooLarge);
        let (_folder, outcome) = tried(|builder| file(builder, "f", 0o644, &vec![0; 2 << 20]));
        assert_eq!(outcome.unwrap_err().code, ErrorCode::PayloadTooLarge);
        let (_folder, outcome) = tried(|builder| {
            file(builder, &format!("{}f", "a/".repeat(12)), 0o644, b"");
            file(builder, "f", 0o644, b"");
        });
        assert_eq!(outcome.unwrap_err().code, ErrorCode::PayloadTooLarge, "folders that no entry names");
    }

    #[test]
    fn what_is_empty_counts_too() {
        let bounds = Bounds { bytes: 8 * BLOCK, entries: 1000 };
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        (0..9).for_each(|n| file(&mut builder, &format!("f{n}"), 0o644, b""));
        builder.into_inner().unwrap();
        let error = unpack(&archive, &folder.path().join("files"), bounds).unwrap_err();
        assert_eq!(error.code, ErrorCode::PayloadTooLarge);
    }

    #[test]
    fn names_and_attributes_are_not_read_without_bound() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            let (_folder, outcome) = tried(|builder| {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(kind);
                header.set_size(3 << 20);
                header.set_cksum();
                builder.append(&header, io::repeat(b'a').take(3 << 20)).unwrap();
                file(builder, "x", 0o644, b"");
            });
            let error = outcome.unwrap_err();
            assert!(error.message.contains("longer than 1 MiB"), "{kind:?}: {error}");
        }
    }
}

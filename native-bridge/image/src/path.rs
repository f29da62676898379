//! Names in an archive, and places in a folder that nothing leads out of.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// The components of a name in an archive: "/a/./b" and "a//b/" are a/b. None where one is "..", or holds a zero byte.
pub(crate) fn components(name: &[u8]) -> Option<Vec<&OsStr>> {
    let plain = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<&OsStr> = plain.map(OsStr::from_bytes).collect();
    let allowed = |part: &&OsStr| part.as_bytes() != b".." && !part.as_bytes().contains(&0);
    parts.iter().all(allowed).then_some(parts)
}

/// A folder in which places are looked up with itself as their root: links in it, absolute ones too, stay inside.
pub(crate) struct Confined {
    root: File,
    /// The folder that was last asked for: archives list a folder's entries together.
    last: Option<(PathBuf, OwnedFd)>,
    /// Folders that no entry named, and that were made.
    made: u64,
}

impl Confined {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: File::open(root)?, last: None, made: 0 })
    }

    /// A folder inside, made where it is not there.
    pub(crate) fn folder(&mut self, parts: &[&OsStr]) -> io::Result<OwnedFd> {
        let path: PathBuf = parts.iter().collect();
        if let Some((last, fd)) = &self.last
            && *last == path
        {
            return fd.try_clone();
        }
        let fd = match self.find(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(parts)?,
            other => other?,
        };
        self.last = Some((path, fd.try_clone()?));
        Ok(fd)
    }

    /// How many folders were made by [`Confined::folder`].
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// A folder that was found before may have been replaced.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// A folder inside that is there.
    pub(crate) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(&self.root, path, how)?)
    }

    fn make(&mut self, parts: &[&OsStr]) -> io::Result<OwnedFd> {
        let mut path = PathBuf::new();
        let mut folder = self.find(&path)?;
        for part in parts {
            path.push(part);
            folder = match self.find(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match mkdirat(folder.as_fd(), *part, Mode::from_bits_truncate(0o755)) {
                        Ok(()) => {
                            self.made += 1;
                            self.find(&path)?
                        }
                        // A link to nothing.
                        Err(Errno::EEXIST) => self.find(&path)?,
                        Err(error) => return Err(error.into()),
                    }
                }
                other => other?,
            };
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |name: &str| {
            components(name.as_bytes())
                .map(|parts| parts.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parts("/a/./b//c/"), Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(parts("./"), Some(vec![]));
        assert_eq!([parts("a/../b"), parts(".."), parts("a\0b")], [None, None, None]);
    }

    #[test]
    fn links_lead_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../../../..", root.path().join("up")).unwrap();
        std::os::unix::fs::symlink("loop", root.path().join("loop")).unwrap();
        let mut confined = Confined::open(root.path()).unwrap();
        // It has no such path inside, and a link to nothing is not a folder.
        assert!(confined.folder(&[OsStr::new("out"), OsStr::new("x")]).is_err());
        assert!(confined.folder(&[OsStr::new("loop")]).is_err());
        confined.folder(&[OsStr::new("up"), OsStr::new("etc")]).unwrap();
        assert!(root.path().join("etc").is_dir());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

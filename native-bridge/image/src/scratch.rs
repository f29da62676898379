//! A folder for what is being made: gone when it is dropped, with all that was not put in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

const PREFIX: &str = ".incoming-";

pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(beside: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = beside.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is made in it: a file, or a folder.
    pub(crate) fn content(&self) -> PathBuf {
        self.path.join("content")
    }

    /// Puts what was made in its place. What is there already stays: it has the same name, so the same content.
    pub(crate) fn settle(&self, place: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, self.content(), CWD, place, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back what was settled: it goes with this.
    pub(crate) fn unsettle(&self, place: &Path) -> io::Result<()> {
        fs::rename(place, self.path.join("unsettled"))
    }

    /// Moves something here, from where it is removed with this.
    pub(crate) fn take(&self, path: &Path) -> io::Result<()> {
        match path.file_name() {
            Some(name) => fs::rename(path, self.path.join(name)),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Removes what a previous life left.
    pub(crate) fn reap(beside: &Path) -> io::Result<()> {
        for entry in fs::read_dir(beside)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                tracing::info!(path = %entry.path().display(), "removing what a previous life left");
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "cannot remove a scratch folder");
            }
            _ => {}
        }
    }
}

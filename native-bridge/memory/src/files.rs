//! Shared files of the sizes that functions name, made and prefaulted before an instance needs them.

use crate::file::SharedFile;

/// One of each size is kept ready. Like segments, a file that was handed out never comes back.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Sizes, each once.
    wanted: Vec<usize>,
    ready: Vec<SharedFile>,
}

impl Files {
    /// Keeps files of these sizes from now on: the first of them that have `most` bytes together. Gives those back that are
    /// not wanted any more, to be dropped without the lock.
    pub(crate) fn want(&mut self, sizes: impl Iterator<Item = usize>, most: usize) -> Vec<SharedFile> {
        self.wanted.clear();
        let mut left = most;
        for bytes in sizes {
            if bytes > 0 && bytes <= left && !self.wanted.contains(&bytes) {
                left -= bytes;
                self.wanted.push(bytes);
            }
        }
        self.ready.extract_if(.., |file| !self.wanted.contains(&file.bytes())).collect()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Option<SharedFile> {
        let at = self.ready.iter().position(|file| file.bytes() == bytes)?;
        Some(self.ready.swap_remove(at))
    }

    /// All that is ready, to be dropped without the lock.
    pub(crate) fn give_up(&mut self) -> Vec<SharedFile> {
        std::mem::take(&mut self.ready)
    }

    /// A size of which there is none.
    pub(crate) fn missing(&self) -> Option<usize> {
        let has = |bytes| self.ready.iter().any(|file| file.bytes() == bytes);
        self.wanted.iter().copied().find(|bytes| !has(*bytes))
    }

    /// Keeps a file, unless nobody wants it any more.
    pub(crate) fn keep(&mut self, file: SharedFile) -> Option<SharedFile> {
        if self.wanted.contains(&file.bytes()) && !self.ready.iter().any(|other| other.bytes() == file.bytes()) {
            self.ready.push(file);
            return None;
        }
        Some(file)
    }

    /// Sizes, and whether one is ready.
    pub(crate) fn status(&self) -> Vec<(usize, bool)> {
        let has = |bytes| self.ready.iter().any(|file| file.bytes() == bytes);
        self.wanted.iter().map(|bytes| (*bytes, has(*bytes))).collect()
    }
}

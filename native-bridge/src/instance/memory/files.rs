//! The application's own files, which replies may be received into. They stay until the instance's end.

use std::path::PathBuf;
use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::FileWriter;

use super::table::FileEntry;
use super::{Memory, too_large};
use crate::functions::FileSpec;
use crate::instance::file_sink::Destination;
use crate::sync::lock;

impl Memory {
    /// Makes the application's files: for each its path in the sandbox, and on the host.
    pub(crate) fn make_files(&self, files: &[FileSpec]) -> Result<Vec<(String, PathBuf)>> {
        let mut made = Vec::new();
        for FileSpec { path, bytes } in files {
            let bytes = usize::try_from(*bytes).map_err(|_| too_large(*bytes))?;
            let take = || self.pool.take_file(&self.owner, bytes, &self.results);
            let mut file = take();
            while file.as_ref().is_err_and(|full| self.relieve(full.code)) {
                file = take();
            }
            let file = file?;
            made.push((path.clone(), file.path().to_owned()));
            let mut table = lock(&self.table);
            let number = table.number();
            table.files.insert(number, FileEntry { path: path.as_str().into(), file });
        }
        Ok(made)
    }

    /// A place in a file that is named by its path: `room` bytes from `offset`, 0 for all that there are.
    pub(crate) fn destination(&self, path: &str, offset: u64, room: u64) -> Result<Destination> {
        let table = lock(&self.table);
        let Some((number, entry)) = table.files.iter().find(|(_, entry)| &*entry.path == path) else {
            let message = format!("file:{path:.200} is none of the function's [app.files]");
            return Err(Error::new(ErrorCode::NotFound, message));
        };
        let bytes = entry.file.bytes() as u64;
        let room = if room == 0 { bytes.saturating_sub(offset) } else { room };
        if room == 0 || offset.checked_add(room).is_none_or(|end| end > bytes) {
            let message = format!("{room} bytes at {offset} do not lie in file:{path}, which has {bytes}");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        Ok(Destination { path: Arc::clone(&entry.path), file: *number, offset, room })
    }

    /// What writes into a place.
    pub(crate) fn writer(&self, to: &Destination) -> Result<FileWriter> {
        let file = lock(&self.table).files.get(&to.file).map(|entry| Arc::clone(&entry.file));
        file.and_then(|file| file.place(to.offset, to.room)).ok_or_else(crate::errors::instance_closed)
    }

    /// The path of a file by its number, where the number is a file's.
    pub(crate) fn file_path(&self, number: u32) -> Option<Arc<str>> {
        lock(&self.table).files.get(&number).map(|entry| Arc::clone(&entry.path))
    }

    /// Number, path and bytes of each file.
    pub(crate) fn list_files(&self) -> Vec<(u32, Arc<str>, usize)> {
        let table = lock(&self.table);
        table.files.iter().map(|(number, entry)| (*number, Arc::clone(&entry.path), entry.file.bytes())).collect()
    }
}

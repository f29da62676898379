//! What is on the disk, and what is on its way there. Files are in the machine's memory first: a process that is killed leaves them
//! there, a machine that loses its power does not.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::manifest::Record;

/// Names this boot of the machine.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns when all of a folder's file system is on the disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Writes a record beside its place, where it is no record yet.
pub(crate) fn write_beside(path: &Path, record: &Record) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(record).map_err(io::Error::other)?)?;
    file.sync_all()
}

//! What is written down beside a snapshot's files: whose it is, what made it, and what must be in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use headstart_sandbox::IMAGE_FILES;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const NAME: &str = "record.json";
/// A record is shorter than this.
const MOST_BYTES: u64 = 64 << 10;
const PIECE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) tenant: String,
    /// The function's name, and its version's digest.
    pub(super) function: String,
    pub(super) version: String,
    /// What it was made with, and can go on with only.
    pub(super) made_with: String,
    files: Vec<Content>,
}

/// What a file has in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    name: String,
    bytes: u64,
    /// In hex.
    sha256: String,
}

impl Record {
    /// Reads a snapshot's files through, and writes its record.
    pub(super) fn write(
        folder: &Path,
        tenant: &str,
        function: &str,
        version: &str,
        made_with: &str,
    ) -> io::Result<Self> {
        let files = IMAGE_FILES.iter().map(|name| Content::of(folder, name)).collect::<io::Result<_>>()?;
        let [tenant, function, version, made_with] = [tenant, function, version, made_with].map(str::to_owned);
        let record = Self { tenant, function, version, made_with, files };
        std::fs::write(folder.join(NAME), serde_json::to_vec(&record)?)?;
        Ok(record)
    }

    /// The record of a folder whose files are as long as it says.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(folder.join(NAME))?.take(MOST_BYTES).read_to_end(&mut text)?;
        let record: Self = serde_json::from_slice(&text)?;
        if record.files.iter().map(|content| content.name.as_str()).ne(IMAGE_FILES) {
            return Err(io::Error::other("it names other files than a snapshot has"));
        }
        record.check_lengths(folder)?;
        Ok(record)
    }

    pub(super) fn check_lengths(&self, folder: &Path) -> io::Result<()> {
        for Content { name, bytes, .. } in &self.files {
            let found = std::fs::metadata(folder.join(name))?.len();
            if found != *bytes {
                return Err(io::Error::other(format!("{name} has {found} bytes, not {bytes}")));
            }
        }
        Ok(())
    }

    /// Reads all files through. Blocks for a while.
    pub(super) fn check_contents(&self, folder: &Path) -> io::Result<()> {
        for wanted in &self.files {
            if Content::of(folder, &wanted.name)? != *wanted {
                return Err(io::Error::other(format!("{} is not what was written", wanted.name)));
            }
        }
        Ok(())
    }

    /// Of all its files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|content| content.bytes).sum()
    }
}

impl Content {
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let mut file = File::open(folder.join(name))?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE];
        loop {
            let read = file.read(&mut piece)?;
            let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
            hash.update(part);
            bytes += read as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: name.to_owned(), bytes, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in IMAGE_FILES {
            std::fs::write(folder.path().join(name), name.repeat(1000)).unwrap();
        }
        folder
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = folder();
        let written = Record::write(folder.path(), "t", "f", "v", "gVisor 1").unwrap();
        let read = Record::read(folder.path()).unwrap();
        assert_eq!(written, read);
        assert_eq!(read.bytes(), IMAGE_FILES.iter().map(|name| name.len() as u64 * 1000).sum::<u64>());
        read.check_contents(folder.path()).unwrap();
    }

    #[test]
    fn what_is_short_or_damaged_is_seen() {
        let folder = folder();
        Record::write(folder.path(), "t", "f", "v", "gVisor 1").unwrap();
        let pages = folder.path().join(IMAGE_FILES[1]);
        let mut bytes = std::fs::read(&pages).unwrap();
        bytes[500] ^= 1;
        std::fs::write(&pages, &bytes).unwrap();
        let record = Record::read(folder.path()).unwrap();
        assert!(record.check_contents(folder.path()).is_err());
        std::fs::write(&pages, &bytes[..500]).unwrap();
        assert!(Record::read(folder.path()).is_err() && record.check_lengths(folder.path()).is_err());
        std::fs::remove_file(pages).unwrap();
        assert!(Record::read(folder.path()).is_err());
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let folder = folder();
        Record::write(folder.path(), "t", "f", "v", "gVisor 1").unwrap();
        let path = folder.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        for bad in ["", "{}", "[", &text.replace("pages.img", "../other"), &text[..text.len() / 2]] {
            std::fs::write(&path, bad).unwrap();
            assert!(Record::read(folder.path()).is_err(), "{bad}");
        }
    }
}

//! The node's key: `STATE/node.key`, 32 random bytes, for the bridge's user only. Made at a node's first start.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use headstart_base::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use crate::errors::io;

pub(super) const KEY_BYTES: usize = 32;

pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// Reads the key. None when there is none yet; an error when it is not usable or others can read it.
pub(super) fn read(path: &Path) -> Result<Option<Key>> {
    let cannot = |error| io(&format!("cannot read {}", path.display()), &error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(cannot)?,
    };
    let wrong = |what: &str| Error::new(ErrorCode::InvalidArgument, format!("{} {what}", path.display()));
    let about = file.metadata().map_err(cannot)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(wrong("can be read by others: its mode must be 0600"));
    }
    if about.len() != KEY_BYTES as u64 {
        return Err(wrong("is no key of 32 bytes"));
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(key.as_mut_slice()).map_err(cannot)?;
    Ok(Some(key))
}

/// Makes a key. It is on the disk, whole, when this returns.
pub(super) fn make(path: &Path) -> Result<Key> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    random(key.as_mut_slice())?;
    write_whole(path, key.as_slice())?;
    Ok(key)
}

/// Writes a file of mode 0600 so that it is there with these bytes or as it was before.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |error| io(&format!("cannot write {}", path.display()), &error);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorCode::Internal, format!("{} is no file's path", path.display())));
    };
    // A dot: no secret's name has one.
    let scratch = folder.join(format!(".{}.new", name.to_string_lossy()));
    match std::fs::remove_file(&scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch).map_err(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(cannot)?;
    std::fs::rename(&scratch, path).map_err(cannot)?;
    sync_folder(folder)
}

/// What was renamed or removed in a folder is on the disk when this returns.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io(&format!("cannot sync {}", folder.display()), &error))
}

/// Fills a buffer with random bytes of the kernel.
pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, bytes)
        .map_err(|_| Error::new(ErrorCode::Internal, "the kernel gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_refused_where_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        assert!(read(&path).unwrap().is_none());
        let key = make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read(&path).unwrap().unwrap(), *key);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().message.contains("0600"));
        write_whole(&path, b"short").unwrap();
        assert!(read(&path).unwrap_err().message.contains("32 bytes"));
    }
}

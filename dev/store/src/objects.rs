//! Objects as files: `DIR/bucket/key`, the key's slashes being folders. Files are replaced by rename and never changed in
//! place, so a mapped object stays whole.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::mapping::Mapping;

/// The store's folder.
pub(crate) struct Objects {
    dir: PathBuf,
    /// Mapped objects, so that a hot one is mapped and faulted in once.
    mapped: Mutex<HashMap<PathBuf, (Version, Bytes)>>,
    temporary: AtomicU64,
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    modified: i128,
}

/// What is known of an object without its bytes.
pub(crate) struct Meta {
    pub(crate) length: u64,
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("there is no such bucket")]
    NoBucket,
    #[error("there is no such key")]
    NoKey,
    #[error("the key is not usable as a file's path")]
    BadKey,
    #[error("{0}")]
    Io(#[from] io::Error),
}

const MAX_MAPPED: usize = 64;
/// Where uploads grow; no bucket's name begins with a dot.
const UPLOADS: &str = ".uploads";

impl Objects {
    pub(crate) fn new(dir: PathBuf) -> io::Result<Self> {
        let uploads = dir.join(UPLOADS);
        fs::create_dir_all(&uploads)?;
        for left in fs::read_dir(&uploads)? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self { dir, mapped: Mutex::default(), temporary: AtomicU64::new(0) })
    }

    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        match bucket.starts_with('.') || bucket.contains('/') {
            true => Err(ObjectError::BadKey),
            false => Ok(fs::create_dir(self.dir.join(bucket))?),
        }
    }

    pub(crate) fn buckets(&self) -> Result<Vec<String>, ObjectError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        self.bucket(bucket).is_ok()
    }

    pub(crate) fn meta(&self, bucket: &str, key: &str) -> Result<Meta, ObjectError> {
        let metadata = fs::metadata(self.path(bucket, key)?).map_err(missing)?;
        match metadata.is_file() {
            true => Ok(meta(&metadata)),
            false => Err(ObjectError::NoKey),
        }
    }

    /// An object and its bytes, which are the file's pages.
    pub(crate) fn read(&self, bucket: &str, key: &str) -> Result<(Meta, Bytes), ObjectError> {
        let path = self.path(bucket, key)?;
        let file = File::open(&path).map_err(missing)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ObjectError::NoKey);
        }
        let version = version(&metadata);
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = mapped.get(&path)
            && *known == version
        {
            return Ok((meta(&metadata), bytes.clone()));
        }
        let bytes = Bytes::from_owner(Mapping::new(&file, version.length)?);
        if mapped.len() >= MAX_MAPPED {
            mapped.clear();
        }
        mapped.insert(path, (version, bytes.clone()));
        Ok((meta(&metadata), bytes))
    }

    /// Begins an upload; nothing is seen of it before [`Objects::finish`].
    pub(crate) fn begin(&self, bucket: &str, key: &str) -> Result<Upload, ObjectError> {
        let target = self.path(bucket, key)?;
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(UPLOADS).join(number.to_string());
        Ok(Upload { file: File::create(&path)?, path, target, done: false })
    }

    /// Makes an upload the object.
    pub(crate) fn finish(&self, mut upload: Upload) -> Result<Meta, ObjectError> {
        if let Some(folder) = upload.target.parent() {
            fs::create_dir_all(folder)?;
        }
        let meta = meta(&upload.file.metadata()?);
        fs::rename(&upload.path, &upload.target)?;
        upload.done = true;
        Ok(meta)
    }

    /// Deletes an object; one that is not there is no error.
    pub(crate) fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        let path = self.path(bucket, key)?;
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
        match fs::remove_file(path).map_err(missing) {
            Err(ObjectError::NoKey) => Ok(()),
            done => done,
        }
    }

    /// All keys of a bucket that begin with `prefix`, in order.
    pub(crate) fn list(&self, bucket: &str, prefix: &str) -> Result<BTreeMap<String, Meta>, ObjectError> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(self.bucket(bucket)?, String::new())];
        while let Some((folder, base)) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let key = format!("{base}{}", entry.file_name().to_string_lossy());
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    let base = format!("{key}/");
                    if base.starts_with(prefix) || prefix.starts_with(&base) {
                        folders.push((entry.path(), base));
                    }
                } else if key.starts_with(prefix) {
                    found.insert(key, meta(&metadata));
                }
            }
        }
        Ok(found)
    }

    fn bucket(&self, bucket: &str) -> Result<PathBuf, ObjectError> {
        let path = self.dir.join(bucket);
        match !bucket.starts_with('.') && !bucket.contains('/') && path.is_dir() {
            true => Ok(path),
            false => Err(ObjectError::NoBucket),
        }
    }

    fn path(&self, bucket: &str, key: &str) -> Result<PathBuf, ObjectError> {
        let plain = |segment: &str| !matches!(segment, "" | "." | "..") && segment.len() <= 255;
        if key.contains('\0') || !key.split('/').all(plain) {
            return Err(ObjectError::BadKey);
        }
        Ok(self.bucket(bucket)?.join(key))
    }
}

/// An object that is being written. Dropped before its end, it leaves nothing.
pub(crate) struct Upload {
    file: File,
    path: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Upload {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, bytes)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.done {
            discard(&self.path);
        }
    }
}

fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        eprintln!("headstart-store: {} stays behind: {error}", path.display());
    }
}

fn missing(error: io::Error) -> ObjectError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ObjectError::NoKey,
        _ => ObjectError::Io(error),
    }
}

fn version(metadata: &fs::Metadata) -> Version {
    let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Version { inode: metadata.ino(), length: metadata.len(), modified }
}

fn meta(metadata: &fs::Metadata) -> Meta {
    let Version { inode, length, modified } = version(metadata);
    Meta {
        length,
        etag: format!("{inode:x}-{length:x}-{modified:x}"),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

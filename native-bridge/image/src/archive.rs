//! Reads a layer's archive: tar with the long names of GNU and POSIX, each of them bounded.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use headstart_base::Result;
use tar::{Archive, EntryType, PaxExtensions};

use crate::failure::invalid;

/// The longest header that belongs to an entry: long names and extended attributes.
const LONGEST_HEADER: u64 = 1 << 20;
/// The longest name. A file system takes no longer one.
const LONGEST_NAME: usize = 4096;

/// One entry. Owners, groups, set-user-id bits and extended attributes are not looked at.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// Seconds.
    pub(crate) modified: i64,
}

pub(crate) enum Kind {
    File {
        is_program: bool,
    },
    Folder,
    Symlink(OsString),
    /// The name of an entry before it.
    Hardlink(Vec<u8>),
    /// Devices and pipes: an application gets its own /dev.
    Skipped,
}

/// Gives each entry of an archive to `put`, with its content.
pub(crate) fn each<R: Read>(reader: R, mut put: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = Archive::new(reader);
    let mut long = Long::default();
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let header = entry.header().clone();
        match header.entry_type() {
            EntryType::GNULongName => long.name = Some(text(&mut entry)?),
            EntryType::GNULongLink => long.link = Some(text(&mut entry)?),
            EntryType::XHeader => long.extend(&bytes(&mut entry)?, header.entry_size().unwrap_or_default())?,
            EntryType::XGlobalHeader => drop(bytes(&mut entry)?),
            kind => {
                let long = std::mem::take(&mut long);
                let name = long.name.unwrap_or_else(|| header.path_bytes().into_owned());
                let link = || long.link.clone().or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
                if long.size.is_some_and(|size| header.entry_size().ok() != Some(size)) {
                    return Err(invalid("an entry of a layer has two sizes"));
                }
                let kind = match kind {
                    EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Folder,
                    EntryType::Regular | EntryType::Continuous => {
                        Kind::File { is_program: header.mode().map_err(broken)? & 0o111 != 0 }
                    }
                    EntryType::Directory => Kind::Folder,
                    EntryType::Symlink => Kind::Symlink(OsString::from_vec(link().unwrap_or_default())),
                    EntryType::Link => Kind::Hardlink(link().unwrap_or_default()),
                    EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Skipped,
                    other => return Err(invalid(format!("a layer has an entry of type {other:?}"))),
                };
                let links = match &kind {
                    Kind::Symlink(to) => to.len(),
                    Kind::Hardlink(to) => to.len(),
                    _ => 0,
                };
                if name.len().max(links) > LONGEST_NAME {
                    return Err(invalid("a layer has an entry with a name of more than 4096 bytes"));
                }
                let modified = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
                put(Entry { name, kind, modified }, &mut entry)?;
            }
        }
    }
    Ok(())
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Long {
    fn extend(&mut self, bytes: &[u8], length: u64) -> Result<()> {
        if bytes.len() as u64 != length {
            return Err(invalid("an extended header of a layer is truncated"));
        }
        for extension in PaxExtensions::new(bytes) {
            let extension = extension.map_err(broken)?;
            let value = extension.value_bytes().to_vec();
            match extension.key_bytes() {
                b"path" => self.name = Some(value),
                b"linkpath" => self.link = Some(value),
                b"size" => self.size = extension.value().ok().and_then(|size| size.parse().ok()),
                b"GNU.sparse.major" | b"GNU.sparse.map" => return Err(invalid("a layer has a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }
}

fn bytes(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = entry.take(LONGEST_HEADER + 1).read_to_end(&mut bytes).map_err(broken)?;
    match count as u64 <= LONGEST_HEADER {
        true => Ok(bytes),
        false => Err(invalid("a header of a layer is larger than 1 MiB")),
    }
}

fn text(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut text = bytes(entry)?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

pub(crate) fn broken(error: io::Error) -> headstart_base::Error {
    invalid(format!("a layer cannot be unpacked: {error}"))
}

//! Archives: whatever is in one, nothing is made outside its folder, and its bounds hold.

use std::fs;
use std::path::Path;

use crate::unpack::{Bounds, unpack};

const BOUNDS: Bounds = Bounds { bytes: 256 << 10, entries: 40 };
/// Folders that one path can have the last entry make, beyond the bound.
const DEPTH: usize = 2048;

pub(crate) fn run(data: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let archive = folder.path().join("archive");
    let root = folder.path().join("files");
    if fs::write(&archive, data).is_err() {
        return;
    }
    let done = unpack(&archive, &root, BOUNDS);
    let found = Found::below(&root);
    assert!(found.entries <= BOUNDS.entries + DEPTH, "{} entries", found.entries);
    assert!(found.bytes <= BOUNDS.bytes, "{} bytes", found.bytes);
    if done.is_ok() {
        let room = found.bytes + 4096 * found.entries as u64;
        assert!(room <= BOUNDS.bytes, "{room} bytes of the disk");
    }
    let beside = fs::read_dir(folder.path()).map_or(0, Iterator::count);
    assert_eq!(beside, 2, "something was made outside: {done:?}");
}

#[derive(Default)]
struct Found {
    entries: usize,
    bytes: u64,
}

impl Found {
    fn below(root: &Path) -> Self {
        let mut found = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                found.entries += 1;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.is_symlink() {
                    found.link(root, &folder, &entry.path());
                } else {
                    assert!(metadata.is_file());
                    found.bytes += metadata.len();
                }
            }
        }
        found
    }

    /// A link, by its text, does not lead up beyond the root.
    fn link(&self, root: &Path, folder: &Path, link: &Path) {
        let Ok(target) = fs::read_link(link) else { return };
        assert!(!target.is_absolute(), "{target:?}");
        let Ok(inside) = folder.strip_prefix(root) else { return };
        let mut depth = inside.components().count() as i64;
        for part in target.components() {
            match part {
                std::path::Component::ParentDir => depth -= 1,
                std::path::Component::Normal(_) => depth += 1,
                _ => {}
            }
            assert!(depth >= 0, "{link:?} leads to {target:?}");
        }
    }
}

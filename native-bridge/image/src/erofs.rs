//! A layer as one file, which the kernel mounts as EROFS. A folder of a thousand files costs the disk's file system a thousand inodes, and as
//! many again when the layer goes; this costs it one.
//!
//! Names come from a hostile archive, and are only ever looked up in memory; the file system that the kernel reads is made here, and none of
//! its structures is the archive's.

mod format;
mod tree;
mod writer;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use headstart_base::Result;

use crate::failure::disk;
use crate::unpack::{Files, Refused};
use format::{BLOCK, FIRST, Inode, SUPERBLOCK_AT, Type};
use tree::{Body, Id, Node, ROOT, Tree, error};
use writer::Writer;

/// The longest link that Linux follows.
const LONGEST_LINK: usize = 4095;

/// A layer that is being written.
pub(crate) struct Packed {
    tree: Tree,
    writer: Writer,
}

impl Packed {
    /// Begins a new file.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let mut writer = Writer::new(file);
        // For the superblock, which is known last.
        writer.put(&[0; BLOCK])?;
        Ok(Self { tree: Tree::new(), writer })
    }

    /// Writes what names the content that was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { tree, mut writer } = self;
        let inodes = number(&tree)?;
        let places = folders(&tree, &inodes, &mut writer)?;
        let table = writer.block()?;
        let mut bytes = vec![0; FIRST as usize * 32];
        for Numbered { id, number, links } in &inodes.order {
            let inode = inode_of(tree.node(*id)?, *links, places.get(*id as usize).copied().unwrap_or_default());
            format::put_inode(&mut bytes, *number, &inode);
            if bytes.len() >= 64 * BLOCK {
                writer.put(&bytes)?;
                bytes.clear();
            }
        }
        writer.put(&bytes)?;
        let blocks = writer.block()?;
        let file: File = writer.finish()?;
        file.write_all_at(&format::superblock(inodes.order.len() as u64, blocks, table), SUPERBLOCK_AT)
    }
}

impl Files for Packed {
    type Folder = Id;

    fn parent(&mut self, parts: &[&OsStr]) -> io::Result<Id> {
        self.tree.folder(parts)
    }

    fn made(&self) -> u64 {
        self.tree.made()
    }

    fn folder(&mut self, parent: &Id, name: &OsStr) -> io::Result<()> {
        if let Some(id) = self.tree.get(*parent, name)? {
            if matches!(self.tree.node(id)?.body, Body::Folder(_)) {
                return Ok(());
            }
            self.tree.clear(*parent, name)?;
        }
        self.tree.new_folder(*parent, name).map(drop)
    }

    fn file(
        &mut self,
        parent: &Id,
        name: &OsStr,
        is_program: bool,
        modified: i64,
        content: &mut dyn Read,
        refused: &Refused<'_>,
    ) -> Result<u64> {
        self.tree.clear(*parent, name).map_err(refused)?;
        let start = self.writer.block().map_err(|error| disk("a layer's file", &error))?;
        let size = self.writer.put_all(content)?;
        self.tree.add(*parent, name, Body::File { start, size, is_program }, modified).map_err(refused)?;
        Ok(size)
    }

    fn symlink(&mut self, parent: &Id, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let target = target.as_bytes();
        match target.len() {
            0 => return Err(error(libc::ENOENT)),
            length if length > LONGEST_LINK => return Err(error(libc::ENAMETOOLONG)),
            _ if target.contains(&0) => return Err(error(libc::EINVAL)),
            _ => {}
        }
        self.tree.clear(*parent, name)?;
        let start = self.writer.block()?;
        self.writer.put(target)?;
        self.tree.add(*parent, name, Body::Link { start, target: target.into() }, 0).map(drop)
    }

    fn hardlink(&mut self, parents: &[&OsStr], last: &OsStr, parent: &Id, name: &OsStr) -> io::Result<()> {
        let from = self.tree.find(parents)?;
        self.tree.clear(*parent, name)?;
        let id = self.tree.get(from, last)?.ok_or_else(|| error(libc::ENOENT))?;
        match self.tree.node(id)?.body {
            Body::Folder(_) => Err(error(libc::EPERM)),
            _ => self.tree.name(*parent, name, id),
        }
    }

    fn hide(&mut self, parent: &Id, name: &OsStr) -> io::Result<()> {
        self.tree.clear(*parent, name)?;
        self.tree.add(*parent, name, Body::Whiteout, 0).map(drop)
    }

    fn hide_below(&mut self, folder: &Id) -> io::Result<()> {
        self.tree.hide_below(*folder)
    }
}

/// What has a name, from the root, in the order of its numbers.
struct Inodes {
    order: Vec<Numbered>,
    /// By id; 0: it has none.
    numbers: Vec<u64>,
}

struct Numbered {
    id: Id,
    number: u64,
    links: u32,
}

fn number(tree: &Tree) -> io::Result<Inodes> {
    let mut next = FIRST;
    let mut numbers = vec![0; tree.len()];
    let mut links = vec![0_u32; tree.len()];
    let mut ids = vec![ROOT];
    let mut reached = 0;
    while let Some(id) = ids.get(reached).copied() {
        reached += 1;
        let node = tree.node(id)?;
        let is_opaque = matches!(&node.body, Body::Folder(folder) if folder.is_opaque);
        numbers[id as usize] = next;
        next = format::after(next, is_opaque);
        let Body::Folder(folder) = &node.body else { continue };
        links[id as usize] += 2;
        for child in folder.names.values() {
            match tree.node(*child)?.body {
                Body::Folder(_) => {
                    links[id as usize] += 1;
                    ids.push(*child);
                }
                _ => {
                    links[*child as usize] += 1;
                    if links[*child as usize] == 1 {
                        ids.push(*child);
                    }
                }
            }
        }
    }
    let order = ids.iter().map(|id| Numbered { id: *id, number: numbers[*id as usize], links: links[*id as usize] });
    Ok(Inodes { order: order.collect(), numbers })
}

/// First block and bytes of each folder, by id.
fn folders(tree: &Tree, inodes: &Inodes, writer: &mut Writer) -> io::Result<Vec<(u32, u64)>> {
    let mut places = vec![(0, 0); tree.len()];
    let number = |id: Id| inodes.numbers[id as usize];
    for Numbered { id, .. } in &inodes.order {
        let Body::Folder(folder) = &tree.node(*id)?.body else { continue };
        let mut entries: Vec<(&[u8], u64, Type)> =
            vec![(b".", number(*id), Type::Folder), (b"..", number(folder.parent), Type::Folder)];
        for (name, child) in &folder.names {
            entries.push((name, number(*child), type_of(tree.node(*child)?)));
        }
        entries.sort_unstable_by_key(|(name, ..)| *name);
        let blocks = format::folder(&entries);
        places[*id as usize] = (writer.block()?, blocks.len() as u64);
        writer.put(&blocks)?;
    }
    Ok(places)
}

fn type_of(node: &Node) -> Type {
    match node.body {
        Body::Folder(_) => Type::Folder,
        Body::File { .. } => Type::File,
        Body::Link { .. } => Type::Link,
        Body::Whiteout => Type::Device,
    }
}

/// `place`: a folder's.
fn inode_of(node: &Node, links: u32, place: (u32, u64)) -> Inode {
    let (mode, start, size, is_opaque) = match &node.body {
        Body::Folder(folder) => (libc::S_IFDIR | 0o755, place.0, place.1, folder.is_opaque),
        Body::File { start, size, is_program: true } => (libc::S_IFREG | 0o755, *start, *size, false),
        Body::File { start, size, is_program: false } => (libc::S_IFREG | 0o644, *start, *size, false),
        Body::Link { start, target } => (libc::S_IFLNK | 0o777, *start, target.len() as u64, false),
        // The device 0, 0.
        Body::Whiteout => (libc::S_IFCHR, 0, 0, false),
    };
    Inode { mode, size, start, modified: node.modified, links, is_opaque }
}

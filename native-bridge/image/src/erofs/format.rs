//! The bytes that the kernel reads as EROFS: the little of its format that a layer needs. All of it is in blocks of 4 KiB, nothing is
//! packed or shared, and files, folders and links have blocks of their own.
//!
//! Block 0 has the superblock; then come the content of files and links, folders, and the inodes, which name those.

/// Of the file system.
pub(super) const BLOCK: usize = 4096;
/// Inodes are numbered by where they are, in slots of so many bytes.
const SLOT: usize = 32;
const INODE: usize = 64;
/// What is not numbered at all would be taken for "no inode".
pub(super) const FIRST: u64 = 2;
/// Of the superblock, in its block.
pub(super) const SUPERBLOCK_AT: u64 = 1024;

const MAGIC: u32 = 0xe0f5_e1e2;
/// An inode of 64 bytes, whose content lies in blocks one after the other.
const EXTENDED_PLAIN: u16 = 1;
/// Of attributes whose names begin with "trusted.".
const TRUSTED: u8 = 4;
/// An entry of a folder, without its name.
const DIRENT: usize = 12;

pub(super) struct Inode {
    /// Kind and permissions.
    pub(super) mode: u32,
    pub(super) size: u64,
    /// The first block of its content.
    pub(super) start: u32,
    pub(super) modified: i64,
    pub(super) links: u32,
    /// It hides what the layers below have in this folder.
    pub(super) is_opaque: bool,
}

/// The number after the one that an inode has here.
pub(super) fn after(number: u64, is_opaque: bool) -> u64 {
    number + (INODE * if is_opaque { 2 } else { 1 } / SLOT) as u64
}

/// Adds an inode of this number to the table that begins with number 0.
pub(super) fn put_inode(table: &mut Vec<u8>, number: u64, inode: &Inode) {
    let at = table.len();
    let attributes = if inode.is_opaque { opaque() } else { Vec::new() };
    // In words of four bytes, the head of twelve counting as one.
    let words = if attributes.is_empty() { 0 } else { 1 + (attributes.len() - 12) / 4 };
    table.extend(EXTENDED_PLAIN.to_le_bytes());
    table.extend((words as u16).to_le_bytes());
    table.extend((inode.mode as u16).to_le_bytes());
    table.extend([0; 2]);
    table.extend(inode.size.to_le_bytes());
    table.extend(inode.start.to_le_bytes());
    table.extend((number as u32).to_le_bytes());
    // Owner and group: root.
    table.extend([0; 8]);
    table.extend(inode.modified.to_le_bytes());
    table.extend([0; 4]);
    table.extend(inode.links.to_le_bytes());
    table.extend([0; 16]);
    table.extend(attributes);
    table.resize((table.len() - at).next_multiple_of(INODE) + at, 0);
}

/// The attribute "trusted.overlay.opaque", which is "y".
fn opaque() -> Vec<u8> {
    const NAME: &[u8] = b"overlay.opaque";
    let mut bytes = vec![0; 12];
    bytes.extend([NAME.len() as u8, TRUSTED, 1, 0]);
    bytes.extend(NAME);
    bytes.push(b'y');
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What an entry of a folder is.
#[derive(Clone, Copy)]
pub(super) enum Type {
    File = 1,
    Folder = 2,
    Device = 3,
    Link = 7,
}

/// The blocks of a folder. `entries`: in the order of their names, "." and ".." among them.
pub(super) fn folder(mut entries: &[(&[u8], u64, Type)]) -> Vec<u8> {
    let mut blocks = Vec::new();
    while !entries.is_empty() {
        let mut room = BLOCK;
        let fits = entries.iter().take_while(|(name, ..)| match room.checked_sub(DIRENT + name.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        // Names have at most 255 bytes, so that one always fits.
        let (these, rest) = entries.split_at(fits.count().max(1).min(entries.len()));
        let begun = blocks.len();
        let mut name_at = these.len() * DIRENT;
        for (name, number, kind) in these {
            blocks.extend(number.to_le_bytes());
            blocks.extend((name_at as u16).to_le_bytes());
            blocks.extend([*kind as u8, 0]);
            name_at += name.len();
        }
        these.iter().for_each(|(name, ..)| blocks.extend(*name));
        blocks.resize(begun + BLOCK, 0);
        entries = rest;
    }
    blocks
}

/// `inodes`: how many; `blocks`: of the whole; `table`: the block in which inodes begin.
pub(super) fn superblock(inodes: u64, blocks: u32, table: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(MAGIC.to_le_bytes());
    // No checksum, and nothing that an old kernel may leave out.
    bytes.extend([0; 8]);
    bytes.extend([BLOCK.trailing_zeros() as u8, 0]);
    bytes.extend((FIRST as u16).to_le_bytes());
    bytes.extend(inodes.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(blocks.to_le_bytes());
    bytes.extend(table.to_le_bytes());
    bytes.resize(128, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_that_the_kernel_expects() {
        let inode = |is_opaque| Inode { mode: 0, size: 0, start: 0, modified: -1, links: 1, is_opaque };
        let mut table = Vec::new();
        put_inode(&mut table, FIRST, &inode(false));
        assert_eq!(table.len(), INODE);
        assert_eq!(table[32..40], [255; 8]);
        put_inode(&mut table, after(FIRST, false), &inode(true));
        assert_eq!(table.len() as u64, (after(after(FIRST, false), true) - FIRST) * SLOT as u64);
        assert_eq!(superblock(1, 2, 3).len(), 128);
    }

    #[test]
    fn a_folder_takes_as_many_blocks_as_its_names_need() {
        let names: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![b'a' + number / 2; 200 + usize::from(number)]).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_slice(), 1, Type::File)).collect();
        let blocks = folder(&entries);
        assert_eq!(blocks.len() % BLOCK, 0);
        // Where the first name of a block begins says how many entries the block has.
        let counts = blocks.chunks(BLOCK).map(|block| usize::from(u16::from_le_bytes([block[8], block[9]])) / DIRENT);
        assert_eq!(counts.sum::<usize>(), entries.len());
        assert_eq!(folder(&[]), Vec::<u8>::new());
    }
}

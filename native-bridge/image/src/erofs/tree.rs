//! The files of a layer while it is unpacked: their names, and where their content is. Places are looked up as the kernel does with the layer
//! as its root: links, absolute ones too, and ".." lead nowhere else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use libc::{EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR};

/// What links may lead through on one way, as the kernel has it.
const LINKS: u32 = 40;
/// Names that are looked up on one way.
const STEPS: u32 = 4096;
/// Of a name.
const LONGEST: usize = 255;
/// Of all names and links of a layer: they are in memory until it is unpacked.
const NAMES: usize = 64 << 20;

/// A node's index.
pub(super) type Id = u32;
pub(super) const ROOT: Id = 0;

pub(super) struct Node {
    pub(super) body: Body,
    pub(super) modified: i64,
}

pub(super) enum Body {
    Folder(Folder),
    /// `start`: its first block.
    File {
        start: u32,
        size: u64,
        is_program: bool,
    },
    Link {
        start: u32,
        target: Box<[u8]>,
    },
    /// Hides a name of the layers below.
    Whiteout,
}

pub(super) struct Folder {
    pub(super) parent: Id,
    pub(super) names: BTreeMap<Box<[u8]>, Id>,
    pub(super) is_opaque: bool,
}

pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Bytes of names and links so far.
    names: usize,
    /// The folder that was last asked for: archives list a folder's entries together.
    last: Option<(Vec<u8>, Id)>,
    /// Folders that no entry named, and that were made.
    made: u64,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Folder { parent: ROOT, names: BTreeMap::new(), is_opaque: false };
        Self { nodes: vec![Node { body: Body::Folder(root), modified: 0 }], names: 0, last: None, made: 0 }
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// How many nodes there are, also such as have no name any more.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: Id) -> io::Result<&Node> {
        self.nodes.get(id as usize).ok_or_else(|| error(ENOENT))
    }

    /// A folder, made where it is not there.
    pub(super) fn folder(&mut self, parts: &[&OsStr]) -> io::Result<Id> {
        let path = parts.join(OsStr::new("/")).as_bytes().to_vec();
        if let Some((last, id)) = &self.last
            && *last == path
        {
            return Ok(*id);
        }
        let mut way = Way::default();
        let mut at = ROOT;
        for part in parts {
            at = match self.step(at, part.as_bytes(), &mut way)? {
                Some(next) => next,
                None => {
                    self.made += 1;
                    self.new_folder(at, part)?
                }
            };
        }
        self.last = Some((path, at));
        Ok(at)
    }

    /// A folder that is there.
    pub(super) fn find(&self, parts: &[&OsStr]) -> io::Result<Id> {
        let mut way = Way::default();
        parts.iter().try_fold(ROOT, |at, part| self.step(at, part.as_bytes(), &mut way)?.ok_or_else(|| error(ENOENT)))
    }

    /// What has a name, links not followed.
    pub(super) fn get(&self, parent: Id, name: &OsStr) -> io::Result<Option<Id>> {
        Ok(self.at(parent)?.names.get(name.as_bytes()).copied())
    }

    pub(super) fn new_folder(&mut self, parent: Id, name: &OsStr) -> io::Result<Id> {
        self.add(parent, name, Body::Folder(Folder { parent, names: BTreeMap::new(), is_opaque: false }), 0)
    }

    /// Gives a name to something new, or, with [`Tree::name`], to something that has one.
    pub(super) fn add(&mut self, parent: Id, name: &OsStr, body: Body, modified: i64) -> io::Result<Id> {
        let id = Id::try_from(self.nodes.len()).map_err(|_| error(EINVAL))?;
        if let Body::Link { target, .. } = &body {
            self.count(target.len())?;
        }
        self.name(parent, name, id)?;
        self.nodes.push(Node { body, modified });
        Ok(id)
    }

    pub(super) fn name(&mut self, parent: Id, name: &OsStr, id: Id) -> io::Result<()> {
        let name = name.as_bytes();
        if name.len() > LONGEST {
            return Err(error(ENAMETOOLONG));
        }
        self.count(name.len())?;
        match self.at_mut(parent)?.names.insert(name.into(), id) {
            None => Ok(()),
            Some(_) => Err(error(EEXIST)),
        }
    }

    /// Takes a name away, if it is there. Not a folder's: that would have to be emptied first.
    pub(super) fn clear(&mut self, parent: Id, name: &OsStr) -> io::Result<()> {
        let Some(id) = self.get(parent, name)? else { return Ok(()) };
        if let Body::Folder(_) = self.node(id)?.body {
            return Err(error(EISDIR));
        }
        self.at_mut(parent)?.names.remove(name.as_bytes());
        // It may have been a link on the way there.
        self.last = None;
        Ok(())
    }

    pub(super) fn hide_below(&mut self, folder: Id) -> io::Result<()> {
        self.at_mut(folder)?.is_opaque = true;
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.names += bytes;
        match self.names <= NAMES {
            true => Ok(()),
            false => Err(io::Error::other(format!("its names have more than {NAMES} bytes"))),
        }
    }

    /// The folder that a name in another leads to, by links where it is one. None: there is no such name.
    fn step(&self, from: Id, name: &[u8], way: &mut Way) -> io::Result<Option<Id>> {
        let (mut at, mut is_followed) = (from, false);
        let mut left = vec![name];
        while let Some(name) = left.pop() {
            way.step()?;
            match name {
                b"" | b"." => continue,
                b".." => {
                    at = self.at(at)?.parent;
                    continue;
                }
                _ => {}
            }
            let Some(id) = self.at(at)?.names.get(name).copied() else {
                return if is_followed { Err(error(ENOENT)) } else { Ok(None) };
            };
            match &self.node(id)?.body {
                Body::Folder(_) => at = id,
                Body::Link { target, .. } => {
                    way.follow()?;
                    is_followed = true;
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                    left.extend(target.split(|byte| *byte == b'/').rev());
                }
                Body::File { .. } | Body::Whiteout => return Err(error(ENOTDIR)),
            }
        }
        Ok(Some(at))
    }

    fn at(&self, id: Id) -> io::Result<&Folder> {
        match &self.node(id)?.body {
            Body::Folder(folder) => Ok(folder),
            _ => Err(error(ENOTDIR)),
        }
    }

    fn at_mut(&mut self, id: Id) -> io::Result<&mut Folder> {
        match self.nodes.get_mut(id as usize).map(|node| &mut node.body) {
            Some(Body::Folder(folder)) => Ok(folder),
            _ => Err(error(ENOTDIR)),
        }
    }
}

/// What looking one path up has taken so far.
#[derive(Default)]
struct Way {
    steps: u32,
    links: u32,
}

impl Way {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        if self.steps > STEPS { Err(error(ELOOP)) } else { Ok(()) }
    }

    fn follow(&mut self) -> io::Result<()> {
        self.links += 1;
        if self.links > LINKS { Err(error(ELOOP)) } else { Ok(()) }
    }
}

pub(super) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

//! The segments of an instance that this process has mapped. All its connections share them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::segment::Mapping;

/// How long a claim waits for the thread that maps ahead, before it asks for the segment itself; either takes about a millisecond.
const PATIENCE: Duration = Duration::from_millis(3);

static TABLES: OnceLock<Box<Node>> = OnceLock::new();

/// A process's table for one socket. A forked child passes its parent's by and adds its own: it takes no lock for that, which a
/// thread that it does not have could hold.
struct Node {
    path: Arc<str>,
    pid: Pid,
    segments: Arc<Segments>,
    next: OnceLock<Box<Node>>,
}

/// Mappings by their segments' numbers.
#[derive(Default)]
pub(crate) struct Segments {
    table: Mutex<Table>,
    /// Told when a segment was mapped ahead, and when no more will be.
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    ahead: Ahead,
    /// The number of the last news.
    heard: u64,
}

/// The thread that maps what comes.
#[derive(Clone, Copy, Default, PartialEq)]
enum Ahead {
    #[default]
    None,
    /// It waits for news since then.
    Listening(Instant),
    Mapping,
}

struct Entry {
    mapping: Arc<Mapping>,
    /// Bodies in it that are this program's: so many are given back. None: nothing in it was claimed so far.
    bodies: u32,
}

impl Segments {
    /// The one table of an instance's socket in this process.
    pub(crate) fn of(path: &Arc<str>) -> Arc<Self> {
        let pid = getpid();
        let mut place = &TABLES;
        loop {
            let node = place.get_or_init(|| {
                Box::new(Node { path: Arc::clone(path), pid, segments: Arc::default(), next: OnceLock::new() })
            });
            if node.pid == pid && node.path == *path {
                return Arc::clone(&node.segments);
            }
            place = &node.next;
        }
    }

    /// The mapping of a segment, in which one body more is this program's. None: it has neither that nor a file.
    pub(crate) fn claim(&self, segment: u64, file: Option<OwnedFd>) -> Result<Option<Arc<Mapping>>, Errno> {
        if let Some(mapping) = self.lock().claim(segment) {
            return Ok(Some(mapping));
        }
        match file {
            Some(file) => {
                self.enter(segment, Arc::new(Mapping::new(&file, false)?));
                Ok(self.lock().claim(segment))
            }
            None => Ok(None),
        }
    }

    /// As `claim`, of a segment that may be about to be mapped ahead; it is waited for at most 3 ms.
    pub(crate) fn claim_soon(&self, segment: u64) -> Option<Arc<Mapping>> {
        let table = self.lock();
        let patience = match table.ahead {
            // What was sent before is told at once: it is none of that.
            Ahead::Listening(since) => PATIENCE.saturating_sub(since.elapsed()),
            Ahead::None | Ahead::Mapping => PATIENCE,
        };
        let awaited = |table: &mut Table| table.ahead != Ahead::None && !table.entries.contains_key(&segment);
        let waited = self.changed.wait_timeout_while(table, patience, awaited);
        waited.unwrap_or_else(PoisonError::into_inner).0.claim(segment)
    }

    /// Maps a segment that something will be claimed in.
    pub(crate) fn map_ahead(&self, segment: u64, file: &OwnedFd) -> Result<Arc<Mapping>, Errno> {
        let mapping = Arc::new(Mapping::new(file, false)?);
        self.enter(segment, Arc::clone(&mapping));
        self.changed.notify_all();
        // In gVisor the first page fault maps the segment, which takes long.
        mapping.touch();
        Ok(mapping)
    }

    /// Nothing in a segment will ever be claimed.
    pub(crate) fn forget(&self, segment: u64) {
        let mut table = self.lock();
        if table.entries.get(&segment).is_some_and(|entry| entry.bodies == 0) {
            table.entries.remove(&segment);
        }
    }

    /// Segments that nobody refers to any more, and how many bodies in each were this program's. They are forgotten.
    pub(crate) fn unused(&self) -> Vec<(u64, u32)> {
        let mut table = self.lock();
        let unused = |_: &u64, entry: &mut Entry| entry.bodies > 0 && Arc::strong_count(&entry.mapping) == 1;
        table.entries.extract_if(unused).map(|(segment, entry)| (segment, entry.bodies)).collect()
    }

    /// Whether what this many claims are answered with is likely to be mapped: then they want no fds.
    pub(crate) fn expects(&self, claims: usize) -> bool {
        let table = self.lock();
        table.ahead != Ahead::None || table.entries.values().filter(|entry| entry.bodies == 0).count() >= claims
    }

    /// The number of the last news.
    pub(crate) fn heard(&self) -> u64 {
        self.lock().heard
    }

    /// News comes; false for what is none any more.
    pub(crate) fn hear(&self, news: u64) -> bool {
        let mut table = self.lock();
        let new = news > table.heard;
        table.heard = table.heard.max(news);
        new
    }

    /// A thread begins to map what comes; false where one does already.
    pub(crate) fn begin(&self) -> bool {
        let before = std::mem::replace(&mut self.lock().ahead, Ahead::Mapping);
        before == Ahead::None
    }

    /// The thread waits for news, or has heard some.
    pub(crate) fn listening(&self, yes: bool) {
        self.lock().ahead = if yes { Ahead::Listening(Instant::now()) } else { Ahead::Mapping };
    }

    /// Nothing is mapped ahead any more.
    pub(crate) fn end(&self) {
        self.lock().ahead = Ahead::None;
        self.changed.notify_all();
    }

    fn enter(&self, segment: u64, mapping: Arc<Mapping>) {
        self.lock().entries.entry(segment).or_insert(Entry { mapping, bodies: 0 });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn claim(&mut self, segment: u64) -> Option<Arc<Mapping>> {
        let entry = self.entries.get_mut(&segment)?;
        entry.bodies += 1;
        Some(Arc::clone(&entry.mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn memory(length: u64) -> OwnedFd {
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, length).unwrap();
        file
    }

    #[test]
    fn a_socket_has_one_table() {
        let (one, other): (Arc<str>, Arc<str>) = ("/one".into(), "/other".into());
        assert!(Arc::ptr_eq(&Segments::of(&one), &Segments::of(&Arc::from("/one"))));
        assert!(!Arc::ptr_eq(&Segments::of(&one), &Segments::of(&other)));
    }

    #[test]
    fn what_is_mapped_is_given_back_once_for_each_body_and_not_before() {
        let segments = Segments::default();
        assert!(segments.claim(1, None).unwrap().is_none());
        let first = segments.claim(1, Some(memory(10))).unwrap().unwrap();
        let second = segments.claim(1, Some(memory(99))).unwrap().unwrap();
        assert_eq!((first.length(), second.length()), (10, 10));
        drop(first);
        assert!(segments.unused().is_empty());
        drop(second);
        assert_eq!(segments.unused(), [(1, 2)]);
        assert!(segments.unused().is_empty());
        assert_eq!(segments.claim(1, Some(memory(0))).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn what_is_mapped_ahead_stays_until_it_is_claimed_or_will_not_be() {
        let segments = Segments::default();
        segments.map_ahead(1, &memory(10)).unwrap();
        segments.map_ahead(2, &memory(10)).unwrap();
        assert!(segments.unused().is_empty());
        let claimed = segments.claim(1, None).unwrap();
        segments.forget(1);
        segments.forget(2);
        assert!(segments.claim(2, None).unwrap().is_none());
        drop(claimed);
        assert_eq!(segments.unused(), [(1, 1)]);
    }

    #[test]
    fn a_claim_waits_for_what_is_about_to_be_mapped() {
        let segments = Segments::default();
        assert!(segments.claim_soon(1).is_none(), "nobody maps anything");
        assert!(segments.begin() && !segments.begin() && segments.expects(9));
        assert!(segments.claim_soon(1).is_none(), "it does not come");
        std::thread::scope(|scope| {
            scope.spawn(|| drop(segments.map_ahead(1, &memory(10)).unwrap()));
            while segments.claim_soon(1).is_none() {}
        });
        segments.listening(true);
        segments.end();
        segments.map_ahead(2, &memory(10)).unwrap();
        assert!(segments.expects(1) && !segments.expects(2));
    }
}

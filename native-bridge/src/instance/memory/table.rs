//! An instance's segments and files by their numbers, and the news of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::{Segment, SharedFile};

use super::Region;

/// Segments that an instance may have at one time: each is an fd in the application and here.
const MOST_SEGMENTS: usize = 4096;
/// News of segments that are kept. Whoever is further behind maps what it missed when it needs it.
const MOST_NEWS: usize = 2 * MOST_SEGMENTS;

#[derive(Default)]
pub(super) struct Table {
    /// The last number given. Numbers are never given twice.
    last: u32,
    pub(super) segments: BTreeMap<u32, Entry>,
    /// Files of the application's, numbered as segments are. They stay until the instance's end.
    pub(super) files: BTreeMap<u32, FileEntry>,
    /// Freed segments that the application has not unmapped: they count until it does, or it could hold any amount.
    pub(super) held: Vec<Arc<Segment>>,
    /// Whose segments are or were among them.
    pub(super) owners: BTreeSet<String>,
    /// The segment that small bodies go to now.
    pub(super) heap: Option<u32>,
    /// How many there have been, the largest number at one time.
    pub(super) made: u32,
    /// Segments with something for the application, and those that went away without it, in the order of the news.
    pub(super) news: BTreeMap<u64, u32>,
    pub(super) last_news: u64,
}

pub(super) struct Entry {
    pub(super) segment: Arc<Segment>,
    /// Bodies that lie in it.
    pub(super) bodies: u32,
    /// The application may have it.
    pub(super) told: bool,
    /// The number of the news of it, 0 before there is any.
    pub(super) news: u64,
}

pub(super) struct FileEntry {
    /// In the sandbox.
    pub(super) path: Arc<str>,
    pub(super) file: Arc<SharedFile>,
}

/// What an application learns of a segment.
pub(crate) struct News {
    pub(crate) order: u64,
    pub(crate) number: u32,
    /// None: it went away, so nothing in it will ever be named.
    pub(crate) segment: Option<Arc<Segment>>,
}

impl Table {
    pub(super) fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    pub(super) fn add(&mut self, segment: Arc<Segment>) -> Result<u32> {
        if self.segments.len() >= MOST_SEGMENTS || self.last == u32::MAX {
            let message = format!("an instance has at most {MOST_SEGMENTS} segments: free some");
            return Err(Error::new(ErrorCode::InstanceMemoryFull, message));
        }
        let number = self.number();
        self.made += 1;
        self.segments.insert(number, Entry { segment, bodies: 0, told: false, news: 0 });
        Ok(number)
    }

    pub(super) fn entered(&mut self, number: u32) {
        if let Some(entry) = self.segments.get_mut(&number) {
            entry.bodies += 1;
        }
    }

    pub(super) fn in_heap(&mut self, bytes: usize) -> Option<Region> {
        let number = self.heap?;
        let writer = self.segments.get(&number)?.segment.region(bytes)?;
        self.entered(number);
        Some(Region { segment: number, writer })
    }

    pub(super) fn drop_if_empty(&mut self, number: u32) {
        let empty = self.segments.get(&number).is_some_and(|entry| entry.bodies == 0);
        if empty
            && self.heap != Some(number)
            && let Some(entry) = self.segments.remove(&number)
        {
            self.news.remove(&entry.news);
            self.held.push(entry.segment);
        }
    }

    pub(super) fn add_news(&mut self, segment: u32) {
        self.last_news += 1;
        self.news.insert(self.last_news, segment);
        if self.news.len() > MOST_NEWS {
            self.news.pop_first();
        }
    }

    pub(super) fn news_after(&self, after: u64) -> Option<News> {
        let (order, number) = self.news.range(after.checked_add(1)?..).next()?;
        let segment = self.segments.get(number).map(|entry| Arc::clone(&entry.segment));
        Some(News { order: *order, number: *number, segment })
    }
}

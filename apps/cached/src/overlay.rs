//! What clients have written since the start: on the heap, over the shards.

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Beside key and value, what an entry takes, about.
const ENTRY: usize = 96;
/// Expiry times up to this are relative, as memcached has it.
const MONTH: i64 = 60 * 60 * 24 * 30;

#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    pub bytes: Vec<u8>,
    pub flags: u32,
    expires: Option<SystemTime>,
}

impl Item {
    pub fn new(bytes: Vec<u8>, flags: u32, expires: Option<SystemTime>) -> Self {
        Self { bytes, flags, expires }
    }

    /// Seconds until it expires; None: it does not.
    pub fn left(&self) -> Option<u64> {
        self.expires.map(|at| at.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs()))
    }

    fn is_over(&self) -> bool {
        self.expires.is_some_and(|at| at <= SystemTime::now())
    }
}

/// When a memcached expiry time is: 0 never, negative now, up to 30 days from now, else by the clock.
pub(crate) fn expiry(seconds: i64) -> Option<SystemTime> {
    let span = Duration::from_secs(seconds.unsigned_abs());
    match seconds {
        0 => None,
        ..0 => Some(UNIX_EPOCH),
        1..=MONTH => SystemTime::now().checked_add(span),
        _ => UNIX_EPOCH.checked_add(span),
    }
}

/// What the overlay says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing: what its shard has is its value.
    Not,
    Deleted,
    Item(Arc<Item>),
}

/// It would take more memory than it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
struct Entries {
    /// None: deleted.
    of: HashMap<Box<[u8]>, Option<Arc<Item>>>,
    bytes: usize,
    /// Whether nothing of the shards holds any more.
    flushed: bool,
}

impl Entries {
    fn size_of(&self, key: &[u8]) -> usize {
        self.of.get(key).map_or(0, |item| size(key, item.as_deref()))
    }
}

/// About what an entry takes.
fn size(key: &[u8], item: Option<&Item>) -> usize {
    ENTRY + key.len() + item.map_or(0, |item| item.bytes.len())
}

#[derive(Debug)]
pub(crate) struct Overlay {
    entries: RwLock<Entries>,
    most: usize,
}

impl Overlay {
    /// Takes at most `most` bytes, about.
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: RwLock::default(), most }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Written {
        let entries = self.read();
        match entries.of.get(key) {
            Some(Some(item)) if !item.is_over() => Written::Item(Arc::clone(item)),
            None if !entries.flushed => Written::Not,
            _ => Written::Deleted,
        }
    }

    /// Writes an item.
    pub(crate) fn put(&self, key: &[u8], item: Item) -> Result<(), Full> {
        let mut entries = self.write();
        let bytes = entries.bytes - entries.size_of(key) + size(key, Some(&item));
        if bytes > self.most {
            return Err(Full);
        }
        entries.bytes = bytes;
        entries.of.insert(key.into(), Some(Arc::new(item)));
        Ok(())
    }

    /// Deletes a key. `hides`: a shard has it, so that it must be known here that it is deleted.
    pub(crate) fn delete(&self, key: &[u8], hides: bool) {
        let mut entries = self.write();
        entries.bytes -= entries.size_of(key);
        entries.of.remove(key);
        if hides && !entries.flushed {
            entries.bytes += size(key, None);
            entries.of.insert(key.into(), None);
        }
    }

    pub(crate) fn flush(&self) {
        *self.write() = Entries { flushed: true, ..Entries::default() };
    }

    /// Items and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let entries = self.read();
        (entries.of.values().flatten().count(), entries.bytes)
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str, seconds: i64) -> Item {
        Item::new(text.into(), 0, expiry(seconds))
    }

    #[test]
    fn what_was_written_last_holds() {
        let overlay = Overlay::new(10_000);
        assert_eq!(overlay.get(b"a"), Written::Not);
        overlay.put(b"a", item("1", 0)).unwrap();
        overlay.put(b"b", item("2", -1)).unwrap();
        assert!(matches!(overlay.get(b"a"), Written::Item(it) if it.bytes == b"1" && it.left().is_none()));
        assert_eq!(overlay.get(b"b"), Written::Deleted);
        overlay.delete(b"a", true);
        assert_eq!(overlay.get(b"a"), Written::Deleted);
        overlay.flush();
        assert_eq!((overlay.get(b"c"), overlay.size()), (Written::Deleted, (0, 0)));
        overlay.put(b"c", item("3", 100)).unwrap();
        assert!(matches!(overlay.get(b"c"), Written::Item(it) if it.left().is_some_and(|left| left > 90)));
        overlay.delete(b"c", true);
        assert_eq!(overlay.size(), (0, 0));
    }

    #[test]
    fn it_is_bounded_and_what_is_replaced_is_given_back() {
        let overlay = Overlay::new(1000);
        for _ in 0..100 {
            overlay.put(b"a", item(&"x".repeat(800), 0)).unwrap();
        }
        assert_eq!(overlay.put(b"b", item(&"x".repeat(800), 0)), Err(Full));
        overlay.delete(b"a", true);
        overlay.put(b"b", item(&"x".repeat(500), 0)).unwrap();
        overlay.delete(b"b", false);
        assert_eq!((overlay.get(b"b"), overlay.size()), (Written::Not, (0, 97)));
    }

    #[test]
    fn far_expiry_times_are_by_the_clock() {
        assert_eq!(expiry(0), None);
        assert!(expiry(MONTH).unwrap() > SystemTime::now());
        assert_eq!(expiry(MONTH + 1), Some(UNIX_EPOCH + Duration::from_secs(MONTH as u64 + 1)));
        assert_eq!(expiry(i64::MAX).is_some(), UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64)).is_some());
    }
}

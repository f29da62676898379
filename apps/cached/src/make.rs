//! Shards to start from: the same ones each time. Value N is its own key, again and again.

use std::fs;
use std::io;
use std::path::Path;

use headstart_serving::SplitMix;

use crate::shard::{ALIGNMENT, ENTRY, Entry, HEAD, MAGIC, MOST_SHARDS, hash};

/// Writes `of` shards of together exactly `bytes` bytes to DIR/0, DIR/1 …
pub fn write(folder: &Path, of: u32, bytes: usize) -> io::Result<()> {
    let made = shards(of, bytes).ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    made.iter().enumerate().try_for_each(|(number, shard)| fs::write(folder.join(number.to_string()), shard))
}

/// `of` shards of together exactly `bytes` bytes; none where these are too few or the shards too many.
pub fn shards(of: u32, bytes: usize) -> Option<Vec<Vec<u8>>> {
    if of == 0 || of > MOST_SHARDS || bytes / (of as usize) < 4096 {
        return None;
    }
    let mut open: Vec<Draft> = (0..of as usize).map(|number| Draft::new(share(bytes, of as usize, number))).collect();
    let mut numbers = SplitMix::new(15);
    let mut full = 0;
    for number in 0u64.. {
        let key = format!("key-{number}");
        let hash = hash(key.as_bytes());
        let draft = open.get_mut(usize::try_from(hash % u64::from(of)).ok()?)?;
        let length = 400 + usize::try_from(numbers.number() % 1200).ok()?;
        full += usize::from(draft.add(hash, key, length));
        if full == open.len() {
            break;
        }
    }
    (0..of).zip(open).map(|(number, draft)| draft.written(number, of)).collect()
}

/// Bytes of shard `number`, of which the first ones have one more where it does not divide.
fn share(bytes: usize, of: usize, number: usize) -> usize {
    bytes / of + usize::from(number < bytes % of)
}

struct Draft {
    total: usize,
    used: usize,
    full: bool,
    records: Vec<(u64, String, usize)>,
}

impl Draft {
    fn new(total: usize) -> Self {
        Self { total, used: HEAD, full: false, records: Vec::new() }
    }

    /// Adds a record, if it is not full; whether it is full now and was not before.
    fn add(&mut self, hash: u64, key: String, length: usize) -> bool {
        let size = ENTRY + (key.len() + length).next_multiple_of(ALIGNMENT as usize);
        if self.full || self.used + size > self.total {
            return !std::mem::replace(&mut self.full, true);
        }
        self.used += size;
        self.records.push((hash, key, length));
        false
    }

    fn written(mut self, number: u32, of: u32) -> Option<Vec<u8>> {
        self.records.sort();
        let mut shard = Vec::with_capacity(self.total);
        shard.extend(MAGIC);
        shard.extend(number.to_le_bytes());
        shard.extend(of.to_le_bytes());
        shard.extend((self.records.len() as u64).to_le_bytes());
        shard.extend((self.total as u64).to_le_bytes());
        shard.resize(HEAD, 0);
        let mut at = (HEAD + ENTRY * self.records.len()) as u64;
        for (hash, key, length) in &self.records {
            let (key, value) = (u16::try_from(key.len()).ok()?, u32::try_from(*length).ok()?);
            Entry { hash: *hash, at, key, value, flags: 0 }.write(&mut shard);
            at = (at + u64::from(key) + u64::from(value)).next_multiple_of(ALIGNMENT);
        }
        for (_, key, length) in &self.records {
            shard.extend(key.bytes());
            shard.extend(format!("{key} ").bytes().cycle().take(*length));
            shard.resize(shard.len().next_multiple_of(ALIGNMENT as usize), 0);
        }
        shard.resize(self.total, 0);
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_the_size_that_was_asked_for_and_are_always_the_same() {
        let made = shards(3, 100_001).unwrap();
        assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [33_334, 33_334, 33_333]);
        assert_eq!(shards(3, 100_001).unwrap(), made);
        assert_eq!((shards(0, 9000), shards(3, 9000), shards(5000, usize::MAX)), (None, None, None));
    }

    #[test]
    fn they_are_written_as_files() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 2, 20_000).unwrap();
        assert_eq!(fs::read(folder.path().join("1")).unwrap(), shards(2, 20_000).unwrap()[1]);
    }
}

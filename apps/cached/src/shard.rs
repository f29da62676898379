//! A shard as it travels and as it is used: nothing of it is unpacked. All numbers are little-endian.
//!
//! ```text
//! 0    8   "HSCACHE1"
//! 8    4   which shard it is, from 0
//! 12   4   of how many
//! 16   8   entries
//! 24   8   length of the whole shard, bytes
//! 32   32  0
//! 64   24  for each entry, by rising hash: the key's hash (8), where its record is (8), value's length (4), key's length (2),
//!          the client's flags (2)
//! …        records, in the same order, each aligned to 8: the key's bytes, then the value's
//! ```
//! The index stands first, so it is read and checked while the records still come.

use headstart_serving::{Body, FormatError, Result, u16_at, u32_at, u64_at};

pub(crate) const MAGIC: &[u8; 8] = b"HSCACHE1";
pub(crate) const HEAD: usize = 64;
pub(crate) const ENTRY: usize = 24;
pub(crate) const ALIGNMENT: u64 = 8;
/// As many shards there may be of one cache.
pub(crate) const MOST_SHARDS: u32 = 4096;

/// FNV-1a 64: says which shard a key is in, and where.
pub(crate) fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What a shard's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub number: u32,
    pub of: u32,
    pub entries: usize,
}

impl Head {
    /// Reads the first [`HEAD`] bytes of a shard that has `total`.
    pub fn read(bytes: &[u8], total: u64) -> Result<Self, FormatError> {
        let value = |what, value| FormatError::Value { what, value };
        if !bytes.starts_with(MAGIC) {
            return Err(FormatError::Magic);
        }
        let (number, of) = (u32_at(bytes, 8), u32_at(bytes, 12));
        if of == 0 || of > MOST_SHARDS {
            return Err(value("the number of shards", of.into()));
        }
        if number >= of {
            return Err(value("the shard's number", number.into()));
        }
        let said = u64_at(bytes, 24);
        if said != total {
            return Err(FormatError::Length { said, there: total });
        }
        let entries = u64_at(bytes, 16);
        let room = total.saturating_sub(HEAD as u64) / ENTRY as u64;
        match usize::try_from(entries) {
            Ok(entries) if entries as u64 <= room => Ok(Self { number, of, entries }),
            _ => Err(value("the number of entries", entries)),
        }
    }

    /// Where the records begin.
    pub fn records(&self) -> usize {
        HEAD + self.entries * ENTRY
    }
}

/// Where an entry's key and value lie in their shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub hash: u64,
    pub at: u64,
    pub key: u16,
    pub value: u32,
    pub flags: u16,
}

impl Entry {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self {
            hash: u64_at(bytes, 0),
            at: u64_at(bytes, 8),
            value: u32_at(bytes, 16),
            key: u16_at(bytes, 20),
            flags: u16_at(bytes, 22),
        }
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.hash.to_le_bytes());
        to.extend(self.at.to_le_bytes());
        to.extend(self.value.to_le_bytes());
        to.extend(self.key.to_le_bytes());
        to.extend(self.flags.to_le_bytes());
    }

    fn end(&self) -> Option<u64> {
        self.at.checked_add(u64::from(self.key) + u64::from(self.value))
    }
}

/// Checks all entries once, so that none leads outside of the shard or into another's bytes. Whether a key belongs into this shard is not
/// asked: one that does not is not found.
pub(crate) fn check(index: &[u8], head: &Head, total: u64) -> Result<(), FormatError> {
    let mut end = head.records() as u64;
    let mut hash = 0;
    for (entry, bytes) in (0..).zip(index.chunks_exact(ENTRY)) {
        let it = Entry::read(bytes);
        if it.hash < hash {
            return Err(FormatError::Unsorted { entry });
        }
        if !it.at.is_multiple_of(ALIGNMENT) {
            return Err(FormatError::Misaligned { entry });
        }
        if it.at < end {
            return Err(FormatError::Overlapping { entry });
        }
        end = it.end().filter(|end| *end <= total).ok_or(FormatError::Outside { entry })?;
        hash = it.hash;
    }
    Ok(())
}

/// A value where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub bytes: &'a [u8],
    pub flags: u16,
}

/// A shard in the memory where it was received.
#[derive(Debug)]
pub struct Shard {
    body: Body,
    head: Head,
}

impl Shard {
    /// Reads and checks the index, as soon as that is there.
    pub fn open(body: Body) -> Result<Self> {
        let total = body.total()?;
        let head = Head::read(body.at_least(HEAD as u64)?, total)?;
        let front = body.at_least(head.records() as u64)?;
        check(&front[HEAD..head.records()], &head, total)?;
        Ok(Self { body, head })
    }

    pub fn head(&self) -> Head {
        self.head
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    pub fn get(&self, hash: u64, key: &[u8]) -> Option<Value<'_>> {
        let first = self.first(hash);
        let same = (first..self.head.entries).map_while(|at| self.entry(at).filter(|entry| entry.hash == hash));
        same.filter_map(|entry| self.record(&entry)).find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Value<'_>)> {
        (0..self.head.entries).filter_map(|at| self.record(&self.entry(at)?))
    }

    /// The first entry whose hash is not less.
    fn first(&self, hash: u64) -> usize {
        let (mut low, mut high) = (0, self.head.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some(entry) if entry.hash < hash => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        self.body.bytes().get(HEAD + at * ENTRY..)?.get(..ENTRY).map(Entry::read)
    }

    fn record(&self, entry: &Entry) -> Option<(&[u8], Value<'_>)> {
        let rest = self.body.bytes().get(usize::try_from(entry.at).ok()?..)?;
        let (key, rest) = rest.split_at_checked(entry.key.into())?;
        Some((key, Value { bytes: rest.get(..entry.value as usize)?, flags: entry.flags }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::shards;
    use headstart_serving::Error;

    fn made() -> Vec<u8> {
        shards(2, 40_000).unwrap().remove(0)
    }

    fn opened(bytes: Vec<u8>) -> Result<Shard> {
        Shard::open(Body::own(bytes))
    }

    /// What is wrong with a shard into which `bytes` were written at `at`.
    fn wrong(at: usize, bytes: &[u8]) -> FormatError {
        let mut shard = made();
        shard[at..at + bytes.len()].copy_from_slice(bytes);
        match opened(shard) {
            Err(Error::Format(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_in_it_is_found_and_nothing_else() {
        let shard = opened(made()).unwrap();
        let all: Vec<_> = shard.iter().collect();
        assert!(all.len() > 10 && all.len() == shard.head().entries);
        for (key, value) in all {
            assert_eq!(shard.get(hash(key), key), Some(value));
            assert!(value.bytes.starts_with(key));
        }
        assert_eq!(shard.get(hash(b"none"), b"none"), None);
        assert_eq!(shard.get(0, b""), None);
        assert_eq!(shard.get(u64::MAX, b"x"), None);
    }

    #[test]
    fn one_that_is_cut_off_is_refused_at_each_byte_of_its_front() {
        let shard = made();
        let front = HEAD + ENTRY * opened(shard.clone()).unwrap().head().entries;
        for length in (0..front).chain([shard.len() - 1]) {
            assert!(matches!(
                opened(shard[..length].to_vec()),
                Err(Error::Truncated { .. } | Error::Format(FormatError::Length { .. }))
            ));
        }
        assert!(opened([shard, vec![0]].concat()).is_err());
    }

    #[test]
    fn a_head_that_lies_is_refused() {
        assert_eq!(wrong(0, b"x"), FormatError::Magic);
        assert!(matches!(wrong(8, &[2]), FormatError::Value { what: "the shard's number", value: 2 }));
        assert!(matches!(wrong(12, &[0]), FormatError::Value { .. }));
        assert!(matches!(wrong(12, &[255; 4]), FormatError::Value { .. }));
        assert!(matches!(wrong(24, &[0; 8]), FormatError::Length { said: 0, .. }));
        // Huge counts: also those whose product with an entry's size overflows.
        for count in [2_000, u64::from(u32::MAX), u64::MAX / 24 + 1, u64::MAX] {
            let error = wrong(16, &count.to_le_bytes());
            assert_eq!(error, FormatError::Value { what: "the number of entries", value: count });
        }
    }

    #[test]
    fn an_entry_that_lies_is_refused() {
        let second = HEAD + ENTRY;
        let first = Entry::read(&made()[HEAD..]);
        assert_eq!(wrong(HEAD, &u64::MAX.to_le_bytes()), FormatError::Unsorted { entry: 1 });
        assert_eq!(wrong(second, &0u64.to_le_bytes()), FormatError::Unsorted { entry: 1 });
        assert_eq!(wrong(second + 8, &first.at.to_le_bytes()), FormatError::Overlapping { entry: 1 });
        assert_eq!(wrong(HEAD + 8, &0u64.to_le_bytes()), FormatError::Overlapping { entry: 0 });
        assert_eq!(wrong(HEAD + 8, &(first.at + 1).to_le_bytes()), FormatError::Misaligned { entry: 0 });
        assert_eq!(wrong(HEAD + 8, &(u64::MAX - 7).to_le_bytes()), FormatError::Outside { entry: 0 });
        assert_eq!(wrong(HEAD + 16, &u32::MAX.to_le_bytes()), FormatError::Outside { entry: 0 });
        assert_eq!(wrong(HEAD + 20, &u16::MAX.to_le_bytes()), FormatError::Outside { entry: 0 });
        assert_eq!(wrong(HEAD + 16, &5000u32.to_le_bytes()), FormatError::Overlapping { entry: 1 });
    }

    #[test]
    fn any_byte_may_be_wrong() {
        let shard = made();
        let front = opened(shard.clone()).unwrap().head().records();
        for at in 0..front {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = shard.clone();
                bytes[at] ^= flip;
                if let Ok(shard) = opened(bytes) {
                    for (key, value) in shard.iter() {
                        assert!(key.len() + value.bytes.len() < 40_000);
                    }
                }
            }
        }
    }
}

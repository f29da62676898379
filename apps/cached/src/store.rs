//! The cache: shards as they were received, or copied, and what was written over them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headstart_serving::{Body, Error, FormatError, Handover, Result};

use crate::overlay::{Item, Overlay, Written};
use crate::shard::{Head, Shard, Value, hash};

/// What clients' writes may take, bytes.
const WRITES: usize = 256 << 20;

/// A value and its flags.
type Copied = (Box<[u8]>, u16);

/// The state from the start.
#[derive(Debug)]
pub enum Base {
    /// By a shard's number; nothing of them was copied.
    Shared(Vec<Option<Shard>>),
    /// Each key and value in memory of its own, as a cache that was not written for it would have them.
    Copied(HashMap<Box<[u8]>, Copied>),
}

impl Base {
    /// Takes shards over, waiting for the last of their bytes. With it how long was waited.
    pub fn new(bodies: Vec<Body>, copy: bool) -> Result<(Self, Duration)> {
        let opened: Vec<Shard> = bodies.into_iter().map(Shard::open).collect::<Result<_>>()?;
        for shard in &opened {
            shard.body().whole()?;
        }
        let waited = opened.iter().map(|shard| shard.body().waited()).sum();
        let base = if copy { Self::copied(&opened) } else { Self::shared(opened)? };
        Ok((base, waited))
    }

    fn shared(opened: Vec<Shard>) -> Result<Self> {
        let mut shards: Vec<Option<Shard>> = Vec::new();
        for shard in opened {
            let Head { number, of, .. } = shard.head();
            let wrong = |what, value: u32| Error::Format(FormatError::Value { what, value: value.into() });
            if shards.is_empty() {
                shards.resize_with(of as usize, || None);
            }
            if shards.len() != of as usize {
                return Err(wrong("the number of shards", of));
            }
            match shards.get_mut(number as usize) {
                Some(place @ None) => *place = Some(shard),
                _ => return Err(wrong("the shard's number", number)),
            }
        }
        Ok(Self::Shared(shards))
    }

    fn copied(opened: &[Shard]) -> Self {
        let copy = |(key, Value { bytes, flags }): (&[u8], Value<'_>)| (key.into(), (bytes.into(), flags));
        let mut values = HashMap::with_capacity(opened.iter().map(|shard| shard.head().entries).sum());
        values.extend(opened.iter().flat_map(Shard::iter).map(copy));
        Self::Copied(values)
    }

    fn get(&self, key: &[u8]) -> Option<Value<'_>> {
        match self {
            Self::Shared(shards) => {
                let hash = hash(key);
                let of = u64::try_from(shards.len()).ok().filter(|of| *of > 0)?;
                shards.get(usize::try_from(hash % of).ok()?)?.as_ref()?.get(hash, key)
            }
            Self::Copied(values) => values.get(key).map(|(bytes, flags)| Value { bytes, flags: *flags }),
        }
    }

    fn entries(&self) -> usize {
        match self {
            Self::Shared(shards) => shards.iter().flatten().map(|shard| shard.head().entries).sum(),
            Self::Copied(values) => values.len(),
        }
    }
}

/// A value that was found.
pub enum Found<'a> {
    Base(Value<'a>),
    Written(Arc<Item>),
}

impl Found<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Base(value) => value.bytes,
            Self::Written(item) => &item.bytes,
        }
    }

    pub fn flags(&self) -> u32 {
        match self {
            Self::Base(value) => value.flags.into(),
            Self::Written(item) => item.flags,
        }
    }

    /// Seconds until it expires, or -1.
    pub fn left(&self) -> i64 {
        let left = if let Self::Written(item) = self { item.left() } else { None };
        left.map_or(-1, |left| i64::try_from(left).unwrap_or(i64::MAX))
    }
}

#[derive(Debug)]
pub struct Store {
    base: Base,
    overlay: Overlay,
    handover: Handover,
}

impl Store {
    pub fn new(base: Base, handover: Handover) -> Self {
        Self { base, overlay: Overlay::new(WRITES), handover }
    }

    pub fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        match self.overlay.get(key) {
            Written::Item(item) => Some(Found::Written(item)),
            Written::Deleted => None,
            Written::Not => self.base.get(key).map(Found::Base),
        }
    }

    /// Whether there was room for it.
    pub fn set(&self, key: &[u8], item: Item) -> bool {
        self.overlay.put(key, item).is_ok()
    }

    /// Whether there was anything to delete.
    pub fn delete(&self, key: &[u8]) -> bool {
        let found = self.get(key).is_some();
        self.overlay.delete(key, self.base.get(key).is_some());
        found
    }

    pub fn flush(&self) {
        self.overlay.flush();
    }

    /// A shard as it was received, for a peer that starts.
    pub fn shard(&self, number: usize) -> Option<&[u8]> {
        match &self.base {
            Base::Shared(shards) => shards.get(number)?.as_ref().map(|shard| shard.body().bytes()),
            Base::Copied(_) => None,
        }
    }

    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Entries of the shards, written items and their bytes.
    pub fn size(&self) -> (usize, usize, usize) {
        let (items, bytes) = self.overlay.size();
        (self.base.entries(), items, bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::make::shards;

    /// A cache of all of two shards, or of the first one.
    pub(crate) fn store(count: usize, copy: bool) -> Store {
        let bodies = || shards(2, 40_000).unwrap().into_iter().take(count).map(Body::own).collect();
        let base = Base::new(bodies(), copy).unwrap().0;
        let handover = Handover {
            handover_ms: 0.25,
            waited_ms: 0.0,
            shards: count,
            bytes: 40_000,
            from_initscript: 0,
            copied: copy,
        };
        Store::new(base, handover)
    }

    #[test]
    fn shared_and_copied_ones_have_the_same() {
        let (shared, copied, half) = (store(2, false), store(2, true), store(1, false));
        assert_eq!(shared.size().0, copied.size().0);
        let mut found = [0; 2];
        for number in 0..30 {
            let key = format!("key-{number}");
            let bytes = |store: &Store| store.get(key.as_bytes()).map(|it| it.bytes().to_vec());
            assert_eq!(bytes(&shared), bytes(&copied));
            found[0] += usize::from(bytes(&shared).is_some());
            found[1] += usize::from(bytes(&half).is_some());
        }
        assert!(found[0] == 30 && found[1] > 5 && found[1] < 25, "{found:?}");
        assert!(shared.shard(1).is_some() && half.shard(1).is_none() && shared.shard(2).is_none());
        assert!(copied.shard(0).is_none());
    }

    #[test]
    fn writes_go_over_the_shards() {
        let store = store(2, false);
        assert!(store.set(b"key-1", Item::new(b"new".to_vec(), 3, None)));
        let found = store.get(b"key-1").unwrap();
        assert_eq!((found.bytes(), found.flags(), found.left()), (&b"new"[..], 3, -1));
        assert!(store.delete(b"key-1") && !store.delete(b"key-1") && !store.delete(b"none"));
        assert_eq!(store.size().1, 0);
        store.flush();
        assert!(store.get(b"key-2").is_none());
    }

    #[test]
    fn shards_that_do_not_fit_together_are_refused() {
        let one = || shards(2, 40_000).unwrap().remove(0);
        let other = shards(3, 40_000).unwrap().remove(1);
        for bodies in [vec![one(), one()], vec![one(), other]] {
            let base = Base::new(bodies.into_iter().map(Body::own).collect(), false);
            assert!(matches!(base, Err(Error::Format(FormatError::Value { .. }))));
        }
    }
}

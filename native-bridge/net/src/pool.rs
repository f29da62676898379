//! Connections that are kept, per tenant and destination.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headstart_base::Result;
use tokio::sync::oneshot;

use crate::address::Address;
use crate::stream::Stream;

/// Whose connection, and where to. One tenant never gets another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: String,
    pub(crate) endpoint: Address,
    /// Whether it is a store's: such a connection is not for requests that name the endpoint themselves.
    pub(crate) is_store: bool,
}

/// A connection that waits for a request.
pub(crate) enum Kept {
    Open(Box<Stream>),
    /// Being opened.
    Opening(oneshot::Receiver<Result<Stream>>),
}

struct Slot {
    kept: Kept,
    since: Instant,
}

/// The kept connections: bounded per destination and in all, dropped when they have waited too long.
pub(crate) struct Pool {
    slots: Mutex<HashMap<Key, VecDeque<Slot>>>,
    per_key: usize,
    total: usize,
    idle: Duration,
}

impl Pool {
    pub(crate) fn new(per_key: usize, total: usize, idle: Duration) -> Self {
        Self { slots: Mutex::default(), per_key, total, idle }
    }

    /// The connection that waited least.
    pub(crate) fn take(&self, key: &Key) -> Option<Kept> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = slots.get_mut(key)?;
        let slot = waiting.pop_back();
        if waiting.is_empty() {
            slots.remove(key);
        }
        slot.filter(|slot| slot.since.elapsed() < self.idle).map(|slot| slot.kept)
    }

    /// Whether a connection waits or is being opened.
    pub(crate) fn has(&self, key: &Key) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(key).is_some_and(|waiting| waiting.iter().any(|slot| slot.since.elapsed() < self.idle))
    }

    /// Keeps a connection; another one makes room where there are too many.
    pub(crate) fn keep(&self, key: Key, kept: Kept) {
        // What makes room is dropped, and so closed, after the lock.
        let mut gone = Vec::new();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.values().map(VecDeque::len).sum::<usize>() >= self.total {
            let oldest = slots
                .iter()
                .filter_map(|(key, waiting)| Some((waiting.front()?.since, key)))
                .min_by_key(|(since, _)| *since)
                .map(|(_, key)| key.clone());
            if let Some(oldest) = oldest
                && let Some(waiting) = slots.get_mut(&oldest)
            {
                gone.extend(waiting.pop_front());
                if waiting.is_empty() {
                    slots.remove(&oldest);
                }
            }
        }
        let waiting = slots.entry(key).or_default();
        if waiting.len() >= self.per_key {
            gone.extend(waiting.pop_front());
        }
        waiting.push_back(Slot { kept, since: Instant::now() });
        drop(slots);
        drop(gone);
    }

    /// Closes a tenant's connection that has waited longest, to make room for another. Answers whether there was one.
    pub(crate) fn drop_one_of(&self, tenant: &str) -> bool {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = slots
            .iter()
            .filter(|(key, _)| key.tenant == tenant)
            .filter_map(|(key, waiting)| Some((waiting.front()?.since, key)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, key)| key.clone());
        let gone = oldest.and_then(|key| {
            let waiting = slots.get_mut(&key)?;
            let gone = waiting.pop_front();
            if waiting.is_empty() {
                slots.remove(&key);
            }
            gone
        });
        drop(slots);
        gone.is_some()
    }

    /// Drops what has waited too long. Answers how many connections still wait.
    pub(crate) fn sweep(&self) -> usize {
        let mut gone = Vec::new();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, waiting| {
            while waiting.front().is_some_and(|slot| slot.since.elapsed() >= self.idle) {
                gone.extend(waiting.pop_front());
            }
            !waiting.is_empty()
        });
        let left = slots.values().map(VecDeque::len).sum();
        drop(slots);
        drop(gone);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str, port: u16) -> Key {
        let endpoint = Address::parse(&format!("http://h:{port}")).unwrap();
        Key { tenant: tenant.to_owned(), endpoint, is_store: false }
    }

    fn opening() -> (oneshot::Sender<Result<Stream>>, Kept) {
        let (sender, receiver) = oneshot::channel();
        (sender, Kept::Opening(receiver))
    }

    #[test]
    fn is_bounded_per_destination_and_in_all() {
        let pool = Pool::new(2, 3, Duration::from_secs(60));
        let mut senders = Vec::new();
        for port in [1, 1, 1, 2, 3] {
            let (sender, kept) = opening();
            pool.keep(key("t", port), kept);
            senders.push(sender);
        }
        let closed: Vec<bool> = senders.iter().map(oneshot::Sender::is_closed).collect();
        assert_eq!(closed, [true, true, false, false, false], "the oldest made room");
        assert_eq!(pool.sweep(), 3);
    }

    #[test]
    fn tenants_do_not_share() {
        let pool = Pool::new(2, 3, Duration::from_secs(60));
        let (_sender, kept) = opening();
        pool.keep(key("a", 1), kept);
        assert!(pool.take(&key("b", 1)).is_none() && !pool.has(&key("a", 2)));
        assert!(pool.has(&key("a", 1)) && pool.take(&key("a", 1)).is_some());
        assert!(pool.take(&key("a", 1)).is_none());
    }

    #[test]
    fn the_oldest_of_a_tenant_makes_room() {
        let pool = Pool::new(2, 8, Duration::from_secs(60));
        let mut senders = Vec::new();
        for (tenant, port) in [("a", 1), ("b", 1), ("b", 2)] {
            let (sender, kept) = opening();
            pool.keep(key(tenant, port), kept);
            senders.push(sender);
        }
        assert!(pool.drop_one_of("b") && !pool.drop_one_of("c"));
        let closed: Vec<bool> = senders.iter().map(oneshot::Sender::is_closed).collect();
        assert_eq!(closed, [false, true, false]);
        assert!(pool.drop_one_of("b") && !pool.drop_one_of("b") && pool.has(&key("a", 1)));
    }

    #[test]
    fn nothing_waits_for_ever() {
        let pool = Pool::new(2, 3, Duration::ZERO);
        let (sender, kept) = opening();
        pool.keep(key("a", 1), kept);
        assert!(!pool.has(&key("a", 1)));
        assert_eq!(pool.sweep(), 0);
        assert!(sender.is_closed());
    }
}

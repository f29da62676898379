//! An instance's segments.

mod files;
mod table;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::{Budget, Outbox, Pool, Segment, Writer};
use tokio::sync::Notify;

pub(crate) use self::table::News;
use self::table::Table;
use crate::instance::body::Place;
use crate::shared::Shared;
use crate::sync::lock;

/// Bodies up to this size share a segment.
const SMALL: usize = 64 << 10;

/// Segments by number, and the budget they draw on.
pub(crate) struct Memory {
    owner: String,
    /// Replies and messages.
    results: Arc<Budget>,
    /// Events and outboxes.
    traffic: Arc<Budget>,
    pool: Arc<Pool>,
    table: Mutex<Table>,
    /// Told when there is news.
    announced: Notify,
    /// Gives shared replies up when memory is short, and the tenant.
    relief: Option<(Arc<Shared>, String)>,
}

/// A region of a segment that has a number.
pub(crate) struct Region {
    pub(crate) segment: u32,
    pub(crate) writer: Writer,
}

impl Region {
    pub(crate) fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.writer.offset() as u64 }
    }
}

/// A region that is given back unless it is kept.
pub(crate) struct Tentative<'a> {
    memory: &'a Memory,
    region: Option<Region>,
}

impl Tentative<'_> {
    /// Copies bytes in; false when they do not fit.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        self.region.as_mut().is_some_and(|region| region.writer.append(bytes))
    }

    /// Keeps it: whoever is told the place releases it.
    pub(crate) fn keep(mut self) -> Place {
        self.region.take().map_or(Place::default(), |region| region.place())
    }
}

impl Drop for Tentative<'_> {
    fn drop(&mut self) {
        if let Some(Region { segment, writer }) = self.region.take() {
            drop(writer);
            self.memory.release(segment);
        }
    }
}

impl Memory {
    pub(crate) fn new(owner: &str, pool: &Arc<Pool>, tenant: &Arc<Budget>) -> Self {
        Self {
            owner: owner.to_owned(),
            // A spare holds nothing; its function's limits come with the start.
            results: Budget::instance_of(tenant, 0),
            traffic: Budget::instance_of(tenant, 0),
            pool: Arc::clone(pool),
            table: Mutex::default(),
            announced: Notify::new(),
            relief: None,
        }
    }

    /// When memory is short, shared replies that nobody uses are given up.
    pub(crate) fn relieved_by(mut self, shared: &Arc<Shared>, tenant: &str) -> Self {
        self.relief = Some((Arc::clone(shared), tenant.to_owned()));
        self
    }

    /// Sets the bounds: of replies and messages, and of events and outboxes.
    pub(crate) fn limit(&self, results: u64, traffic: u64) {
        self.results.set_limit(results.max(SMALL as u64));
        self.traffic.set_limit(traffic);
    }

    /// Bytes of replies and messages, and of events and outboxes.
    pub(crate) fn used(&self) -> (u64, u64) {
        (self.results.used(), self.traffic.used())
    }

    /// Room for a body of `bytes`.
    pub(crate) fn region(&self, bytes: u64) -> Result<Region> {
        let bytes = usize::try_from(bytes).map_err(|_| too_large(bytes))?;
        if bytes > SMALL { self.own(bytes) } else { self.shared(bytes) }
    }

    /// Room in a segment of its own.
    pub(crate) fn own(&self, bytes: usize) -> Result<Region> {
        self.alone(bytes, &self.results)
    }

    /// Room for an invocation's event, in a segment of its own.
    pub(crate) fn event(&self, bytes: u64) -> Result<Tentative<'_>> {
        let region = self.alone(usize::try_from(bytes).map_err(|_| too_large(bytes))?, &self.traffic)?;
        Ok(Tentative { memory: self, region: Some(region) })
    }

    fn alone(&self, bytes: usize, budget: &Arc<Budget>) -> Result<Region> {
        let segment = self.take(bytes, budget)?;
        let writer = segment.region(bytes).ok_or_else(|| too_large(bytes as u64))?;
        let mut table = lock(&self.table);
        let number = table.add(segment)?;
        table.entered(number);
        Ok(Region { segment: number, writer })
    }

    /// Takes a segment; when memory is full, looks first whether the application has unmapped what it freed.
    fn take(&self, bytes: usize, budget: &Arc<Budget>) -> Result<Arc<Segment>> {
        let mut full = match self.pool.take(&self.owner, bytes, budget) {
            Err(full) => full,
            taken => return taken,
        };
        let mut swept = self.sweep() > 0;
        while swept || self.relieve(full.code) {
            swept = false;
            full = match self.pool.take(&self.owner, bytes, budget) {
                Err(full) => full,
                taken => return taken,
            };
        }
        Err(full)
    }

    /// Has a shared reply given up, where that may help.
    fn relieve(&self, full: ErrorCode) -> bool {
        let Some((shared, tenant)) = &self.relief else { return false };
        match full {
            ErrorCode::NodeMemoryFull => shared.evict(None),
            ErrorCode::QuotaExceeded => shared.evict(Some(tenant)),
            _ => false,
        }
    }

    /// Another's segment becomes one of this instance's, with a body in it. Its memory counts there.
    pub(crate) fn adopt(&self, segment: Arc<Segment>, owner: String) -> Result<u32> {
        let mut table = lock(&self.table);
        let number = table.add(segment)?;
        table.owners.insert(owner);
        table.entered(number);
        Ok(number)
    }

    /// Whose segments it has adopted.
    pub(crate) fn owners(&self) -> Vec<String> {
        lock(&self.table).owners.iter().cloned().collect()
    }

    /// Whether nobody else holds any of its segments.
    pub(crate) fn is_alone(&self) -> bool {
        lock(&self.table).segments.values().all(|entry| Arc::strong_count(&entry.segment) == 1)
    }

    /// Gives freed segments back that the application has unmapped. How many.
    fn sweep(&self) -> usize {
        let held = std::mem::take(&mut lock(&self.table).held);
        let (held, gone): (Vec<_>, Vec<_>) = held.into_iter().partition(|segment| segment.is_shared());
        lock(&self.table).held.extend(held);
        gone.len()
    }

    fn shared(&self, bytes: usize) -> Result<Region> {
        if let Some(region) = lock(&self.table).in_heap(bytes) {
            return Ok(region);
        }
        // Without the lock: this may map memory. If two come here at once, one heap is used for one body only.
        let segment = self.take(SMALL, &self.results)?;
        let mut table = lock(&self.table);
        let number = table.add(segment)?;
        if let Some(old) = table.heap.replace(number) {
            table.drop_if_empty(old);
        }
        table.in_heap(bytes).ok_or_else(|| too_large(bytes as u64))
    }

    pub(crate) fn find(&self, segment: u32) -> Option<Arc<Segment>> {
        lock(&self.table).segments.get(&segment).map(|entry| Arc::clone(&entry.segment))
    }

    /// As `find`, of those that the application may have.
    pub(crate) fn find_told(&self, segment: u32) -> Option<Arc<Segment>> {
        let table = lock(&self.table);
        table.segments.get(&segment).filter(|entry| entry.told).map(|entry| Arc::clone(&entry.segment))
    }

    /// The application is told of a segment, and may ask for it from now on.
    pub(crate) fn told(&self, segment: u32) {
        if let Some(entry) = lock(&self.table).segments.get_mut(&segment) {
            entry.told = true;
        }
    }

    /// A segment has something for the application, which may map it before it claims that. Of segment 0 there is nothing
    /// to say.
    pub(crate) fn announce(&self, segment: u32) {
        let mut table = lock(&self.table);
        let order = table.last_news + 1;
        let Some(entry) = table.segments.get_mut(&segment).filter(|entry| entry.news == 0) else { return };
        (entry.told, entry.news) = (true, order);
        table.add_news(segment);
        drop(table);
        self.announced.notify_waiters();
    }

    /// Waits for the first news after that of number `after`.
    pub(crate) async fn news(&self, after: u64) -> News {
        loop {
            let announced = self.announced.notified();
            tokio::pin!(announced);
            announced.as_mut().enable();
            if let Some(news) = lock(&self.table).news_after(after) {
                return news;
            }
            announced.await;
        }
    }

    /// A copy of bytes that were written.
    pub(crate) fn read(&self, place: Place, length: u64) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let length = usize::try_from(length).map_err(|_| too_large(length))?;
        if let Some(segment) = self.find(place.segment) {
            return segment.read(place.offset, length);
        }
        let file = lock(&self.table).files.get(&place.segment).map(|entry| Arc::clone(&entry.file));
        match file {
            Some(file) => file.read(place.offset, length),
            None => Err(Error::new(ErrorCode::NotFound, format!("segment {} was freed", place.segment))),
        }
    }

    /// Bytes that were written, without a copy.
    ///
    /// # Safety
    /// As of [`Segment::view`]: a body has told that they are written.
    pub(crate) unsafe fn view(&self, place: Place, length: u64) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let segment = self
            .find(place.segment)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("segment {} was freed", place.segment)))?;
        let length = usize::try_from(length).map_err(|_| too_large(length))?;
        // SAFETY: the caller's promise.
        let view = unsafe { segment.view(place.offset, length) };
        view.map(Bytes::from_owner).ok_or_else(|| too_large(length as u64))
    }

    /// One body in this segment will never be named to the application, which may have mapped it by now.
    pub(crate) fn retract(&self, segment: u32) {
        let announced = lock(&self.table).segments.get(&segment).is_some_and(|entry| entry.news != 0);
        self.release(segment);
        let mut table = lock(&self.table);
        if announced && !table.segments.contains_key(&segment) {
            table.add_news(segment);
            drop(table);
            self.announced.notify_waiters();
        }
    }

    /// One body in this segment is not needed any more. False when there is no such segment.
    pub(crate) fn release(&self, segment: u32) -> bool {
        let mut table = lock(&self.table);
        let Some(entry) = table.segments.get_mut(&segment) else { return false };
        entry.bodies = entry.bodies.saturating_sub(1);
        table.drop_if_empty(segment);
        drop(table);
        self.sweep();
        true
    }

    /// A segment that the application writes, to be given a number.
    pub(crate) fn outbox(&self, bytes: u64) -> Result<(u32, Outbox)> {
        let bytes = usize::try_from(bytes).map_err(|_| too_large(bytes))?;
        let outbox = Outbox::new(&self.owner, bytes, &self.traffic, self.pool.node_budget())?;
        Ok((lock(&self.table).number(), outbox))
    }

    /// Gives all memory back, and tells how many segments there have been.
    pub(crate) fn clear(&self) -> u32 {
        let mut table = lock(&self.table);
        table.heap = None;
        let segments = (std::mem::take(&mut table.segments), std::mem::take(&mut table.held));
        let files = std::mem::take(&mut table.files);
        let made = table.made;
        table.owners.clear();
        // Unmapping takes time, and needs no lock.
        drop(table);
        drop((segments, files));
        made
    }

    /// Number, capacity and bodies of each segment.
    pub(crate) fn list(&self) -> Vec<(u32, usize, u32)> {
        let table = lock(&self.table);
        table.segments.iter().map(|(number, entry)| (*number, entry.segment.capacity(), entry.bodies)).collect()
    }
}

fn too_large(bytes: u64) -> Error {
    Error::new(ErrorCode::InstanceMemoryFull, format!("{bytes} bytes do not fit into a segment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(limit: u64) -> Memory {
        let pool = Pool::new(&[], Budget::node(1 << 30)).unwrap();
        let memory = Memory::new("test", &pool, &Budget::tenant(u64::MAX));
        memory.limit(limit, limit);
        memory
    }

    #[test]
    fn small_bodies_share_a_segment_and_large_ones_do_not() {
        let memory = memory(1 << 20);
        let first = memory.region(1000).unwrap();
        let second = memory.region(1000).unwrap();
        let large = memory.region(100_000).unwrap();
        assert_eq!(first.segment, second.segment);
        assert_ne!(first.place(), second.place());
        assert_ne!(first.segment, large.segment);
        assert_eq!(memory.list().len(), 2);
    }

    #[test]
    fn memory_comes_back_when_the_last_body_of_a_segment_goes() {
        let memory = memory(300_000);
        let large = memory.region(200_000).unwrap();
        assert_eq!(memory.region(200_000).err().unwrap().code, ErrorCode::InstanceMemoryFull);
        let number = large.segment;
        drop(large);
        assert!(memory.release(number));
        assert!(!memory.release(number));
        assert!(memory.region(200_000).is_ok());
        assert_eq!(memory.region(u64::MAX).err().unwrap().code, ErrorCode::InstanceMemoryFull);
    }

    #[test]
    fn an_event_that_breaks_off_gives_its_memory_back() {
        let memory = memory(300_000);
        drop(memory.event(200_000).unwrap());
        let mut event = memory.event(200_000).unwrap();
        assert!(event.append(b"x"));
        let place = event.keep();
        assert!(memory.event(200_000).is_err());
        assert!(memory.release(place.segment));
        assert!(memory.event(200_000).is_ok());
    }

    #[test]
    fn what_is_freed_but_still_mapped_counts() {
        let memory = memory(300_000);
        let number = memory.region(200_000).unwrap().segment;
        let shared = memory.find(number).unwrap().share().unwrap();
        assert!(memory.release(number));
        assert_eq!(memory.region(200_000).err().unwrap().code, ErrorCode::InstanceMemoryFull);
        drop(shared);
        assert!(memory.region(200_000).is_ok());
    }

    #[test]
    fn a_full_heap_is_replaced_and_given_back_when_it_is_empty() {
        let memory = memory(1 << 20);
        let first = memory.region(60_000).unwrap().segment;
        let second = memory.region(60_000).unwrap().segment;
        assert_ne!(first, second);
        assert!(memory.release(first));
        assert!(memory.find(first).is_none());
        assert!(memory.release(second));
        assert!(memory.find(second).is_some(), "the present heap stays");
        assert_eq!(memory.clear(), 2);
        assert_eq!(memory.used(), (0, 0));
    }
}

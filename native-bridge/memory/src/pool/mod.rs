//! Segments whose pages are already there.
//!
//! Zeroing and mapping 200 MB costs over 100 ms of CPU, so it is done beforehand (`refill`). A segment that was handed out
//! never comes back to the pool: its next user would see another instance's bytes.

mod refill;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use headstart_base::{Error, ErrorCode, Result};

use crate::budget::{Budget, Charge};
use crate::file::SharedFile;
use crate::files::Files;
use crate::memfd;
use crate::pool::refill::prefault_beside;
use crate::segment::Segment;

/// How much larger than what is asked for a pooled segment may be.
const MOST_WASTE: usize = 4;
/// Shared files that are kept ready have at most this part of the node's memory.
const FILES_PART: u64 = 4;

/// `count` segments of `bytes` are kept ready.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    pub bytes: usize,
    pub count: usize,
}

/// Ready segments by class, and the node's budget.
#[derive(Debug)]
pub struct Pool {
    node: Arc<Budget>,
    classes: Vec<Class>,
    state: Mutex<State>,
    /// Told when there is something to refill or a start has ended.
    changed: Condvar,
    /// Where shared files lie.
    folder: OnceLock<PathBuf>,
    last_file: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    ready: BTreeMap<usize, Vec<Segment>>,
    files: Files,
    starts: HashMap<u64, Instant>,
    next_start: u64,
    /// When the stock was last given up.
    given_up: Option<Instant>,
    closed: bool,
    hits: u64,
    misses: u64,
}

/// What `Pool::status` tells.
#[derive(Clone, Debug, Default)]
pub struct PoolStatus {
    /// Bytes of a class, segments ready, segments wanted.
    pub classes: Vec<(usize, usize, usize)>,
    /// Bytes of a shared file that is wanted, and whether one is ready.
    pub files: Vec<(usize, bool)>,
    pub hits: u64,
    pub misses: u64,
}

/// Holds refilling back until it is dropped (at most ten seconds).
#[derive(Debug)]
pub struct StartGuard {
    pool: Weak<Pool>,
    number: u64,
}

impl Pool {
    /// Makes the pool and the thread that fills it. The thread ends with the pool.
    pub fn new(classes: &[Class], node: Arc<Budget>) -> Result<Arc<Self>> {
        let mut classes: Vec<Class> =
            classes.iter().map(|class| Class { bytes: memfd::pages(class.bytes), count: class.count }).collect();
        classes.sort_by_key(|class| class.bytes);
        let pool = Arc::new(Self {
            node,
            classes,
            state: Mutex::default(),
            changed: Condvar::new(),
            folder: OnceLock::new(),
            last_file: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&pool);
        std::thread::Builder::new()
            .name("prefault".into())
            .spawn(move || refill::run(&weak))
            .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot start the pool's thread: {error}")))?;
        Ok(pool)
    }

    pub fn node_budget(&self) -> &Arc<Budget> {
        &self.node
    }

    /// A segment of at least `bytes`, from the pool if it has one. The instance is charged what it asked for in whole
    /// pages, the node what the segment has.
    pub fn take(&self, owner: &str, bytes: usize, instance: &Arc<Budget>) -> Result<Arc<Segment>> {
        let charge = instance.charge(bytes.max(1).checked_next_multiple_of(memfd::PAGE).unwrap_or(usize::MAX) as u64)?;
        let segment = match self.take_ready(bytes) {
            Some(segment) => Arc::new(segment),
            None => self.make(owner, bytes)?,
        };
        segment.hold(charge);
        Ok(segment)
    }

    /// Says that a start is under way, so that refilling waits.
    pub fn start(self: &Arc<Self>) -> StartGuard {
        let mut state = self.lock();
        let number = state.next_start;
        state.next_start += 1;
        state.starts.insert(number, Instant::now());
        StartGuard { pool: Arc::downgrade(self), number }
    }

    pub fn status(&self) -> PoolStatus {
        let state = self.lock();
        let classes = self
            .classes
            .iter()
            .map(|class| (class.bytes, state.ready.get(&class.bytes).map_or(0, Vec::len), class.count))
            .collect();
        PoolStatus { classes, files: state.files.status(), hits: state.hits, misses: state.misses }
    }

    /// Whether each class has all its segments, and each shared file that is wanted is there.
    pub fn is_full(&self) -> bool {
        self.missing(&self.lock()).is_none()
    }

    /// Says where shared files lie, on tmpfs. The folder is made anew: a previous life's files are in nobody's hands.
    pub fn open_files(&self, folder: &Path) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let broken = |error: std::io::Error| Error::new(ErrorCode::Internal, format!("{}: {error}", folder.display()));
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(broken(error)),
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(broken)?;
        self.folder
            .set(folder.to_owned())
            .map_err(|_| Error::new(ErrorCode::AlreadyExists, "shared files have a folder already"))
    }

    /// Removes the folder of shared files with all that is in it.
    pub fn close_files(&self) {
        let ready = {
            let mut state = self.lock();
            drop(state.files.want(std::iter::empty(), 0));
            state.files.give_up()
        };
        drop(ready);
        let Some(folder) = self.folder.get() else { return };
        // A file that is being made ready may come into it meanwhile: one, since no other is wanted any more.
        for _ in 0..2 {
            if std::fs::remove_dir_all(folder).is_ok() {
                return;
            }
        }
    }

    /// Says which shared files will be asked for: one of each size is kept ready, as long as they are few.
    pub fn want_files(&self, sizes: impl Iterator<Item = usize>) {
        let most = usize::try_from(self.node.limit() / FILES_PART).unwrap_or(usize::MAX);
        let dropped = self.lock().files.want(sizes, most);
        drop(dropped);
        self.changed.notify_one();
    }

    /// A shared file of exactly so many bytes, which counts for the instance and the node as a segment does.
    pub fn take_file(&self, owner: &str, bytes: usize, instance: &Arc<Budget>) -> Result<Arc<SharedFile>> {
        let whole = memfd::pages(bytes) as u64;
        let charge = instance.charge(whole)?;
        let ready = self.lock().files.take(bytes);
        self.changed.notify_one();
        let path = self.file_path(owner)?;
        let file = match ready {
            Some(mut file) => {
                file.rename(path)?;
                Arc::new(file)
            }
            None => {
                let file = Arc::new(SharedFile::create(path, bytes, self.charge_node(whole)?)?);
                let beside = Arc::downgrade(&file);
                prefault_beside(bytes, move |offset, length| {
                    let Some(file) = beside.upgrade() else { return false };
                    file.populate(offset, length);
                    true
                });
                file
            }
        };
        file.hold(charge);
        Ok(file)
    }

    fn file_path(&self, owner: &str) -> Result<PathBuf> {
        let folder = self
            .folder
            .get()
            .ok_or_else(|| Error::new(ErrorCode::Unsupported, "this node has no place for shared files"))?;
        Ok(folder.join(format!("{owner}.{}", self.last_file.fetch_add(1, Ordering::Relaxed))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_ready(&self, bytes: usize) -> Option<Segment> {
        let largest = memfd::pages(bytes).saturating_mul(MOST_WASTE);
        let mut state = self.lock();
        let found = state.ready.range_mut(bytes..=largest.max(bytes)).find_map(|(_, ready)| ready.pop());
        if found.is_some() {
            state.hits += 1;
        } else {
            state.misses += 1;
        }
        drop(state);
        self.changed.notify_one();
        found
    }

    fn make(&self, owner: &str, bytes: usize) -> Result<Arc<Segment>> {
        let charge = self.charge_node(memfd::pages(bytes) as u64)?;
        let segment = Arc::new(Segment::new(owner, bytes, charge)?);
        let beside = Arc::downgrade(&segment);
        prefault_beside(bytes, move |offset, length| {
            let Some(segment) = beside.upgrade() else { return false };
            segment.populate(offset, length);
            true
        });
        Ok(segment)
    }

    fn charge_node(&self, bytes: u64) -> Result<Charge> {
        self.node.charge(bytes).or_else(|_| {
            // What is kept ready counts as used: give it up before an instance goes without.
            let mut state = self.lock();
            state.given_up = Some(Instant::now());
            let stock = (std::mem::take(&mut state.ready), state.files.give_up());
            drop(state);
            drop(stock);
            self.node.charge(bytes)
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.lock().starts.remove(&self.number);
            pool.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;

    fn full(pool: &Arc<Pool>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !pool.is_full() {
            assert!(Instant::now() < deadline, "the pool was not filled: {:?}", pool.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn inode(segment: &Segment) -> u64 {
        nix::sys::stat::fstat(segment.file()).unwrap().st_ino
    }

    #[test]
    fn never_reuses_what_was_handed_out() {
        let pool = Pool::new(&[Class { bytes: 65536, count: 2 }], Budget::node(1 << 24)).unwrap();
        let budget = Budget::instance(1 << 24);
        let mut seen = std::collections::HashSet::new();
        for round in 0..6 {
            full(&pool);
            let segment = pool.take("test", 60000, &budget).unwrap();
            assert!(seen.insert(inode(&segment)), "round {round} got a segment again");
            assert_eq!(segment.read(0, 65536).unwrap(), vec![0; 65536]);
            let mut region = segment.region(65536).unwrap();
            region.space().fill(7);
            region.filled(65536);
        }
        assert_eq!(pool.status().hits, 6);
    }

    #[test]
    fn charges_the_instance_what_it_asked_for_and_the_node_what_is_used() {
        let node = Budget::node(1 << 22);
        let pool = Pool::new(&[Class { bytes: 1 << 20, count: 1 }], Arc::clone(&node)).unwrap();
        let budget = Budget::instance(500_000);
        full(&pool);
        assert_eq!(node.used(), 1 << 20);
        let guard = pool.start();
        let segment = pool.take("test", 400_000, &budget).unwrap();
        assert_eq!(segment.capacity(), 1 << 20);
        assert_eq!(budget.used(), 401_408);
        assert_eq!(pool.take("test", 100_000, &budget).unwrap_err().code, ErrorCode::InstanceMemoryFull);
        drop(segment);
        assert_eq!(budget.used(), 0);
        drop(guard);
        let error = pool.take("test", 5 << 20, &Budget::instance(1 << 30)).unwrap_err();
        assert_eq!(error.code, ErrorCode::NodeMemoryFull);
    }

    #[test]
    fn gives_its_stock_up_before_an_instance_goes_without() {
        let node = Budget::node(3 << 20);
        let pool = Pool::new(&[Class { bytes: 1 << 20, count: 2 }], Arc::clone(&node)).unwrap();
        full(&pool);
        let _guard = pool.start();
        let segment = pool.take("test", 3 << 20, &Budget::instance(1 << 30)).unwrap();
        assert!(segment.capacity() == 3 << 20);
    }

    #[test]
    fn is_not_refilled_during_a_start() {
        let pool = Pool::new(&[Class { bytes: 65536, count: 1 }], Budget::node(1 << 24)).unwrap();
        full(&pool);
        let guard = pool.start();
        let segment = pool.take("test", 65536, &Budget::instance(1 << 20)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(!pool.is_full());
        drop(guard);
        full(&pool);
        assert!(segment.file().as_raw_fd() >= 0);
    }

    #[test]
    fn files_of_known_sizes_are_kept_ready_and_counted() {
        let folder = PathBuf::from(format!("/dev/shm/headstart-unit-{}-pool", std::process::id()));
        std::fs::create_dir_all(folder.join("left-by-a-previous-life")).unwrap();
        let node = Budget::node(64 << 20);
        let pool = Pool::new(&[], Arc::clone(&node)).unwrap();
        assert_eq!(pool.take_file("i", 1, &Budget::instance(9999)).unwrap_err().code, ErrorCode::Unsupported);
        pool.open_files(&folder).unwrap();
        let names = || std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(names(), 0);
        // The second does not fit beside the first into a quarter of the node's memory.
        pool.want_files([9 << 20, 8 << 20, 4 << 20].into_iter());
        full(&pool);
        assert_eq!((names(), node.used()), (2, 13 << 20));
        let budget = Budget::instance(10 << 20);
        let guard = pool.start();
        let file = pool.take_file("i-x", 9 << 20, &budget).unwrap();
        assert_eq!((file.bytes(), budget.used(), node.used()), (9 << 20, 9 << 20, 13 << 20));
        assert!(file.path().starts_with(&folder) && file.path().to_string_lossy().contains("i-x."));
        let error = pool.take_file("i-x", 2 << 20, &budget).unwrap_err();
        assert_eq!(error.code, ErrorCode::InstanceMemoryFull);
        let error = pool.take_file("i-y", 60 << 20, &Budget::instance(1 << 30)).unwrap_err();
        assert_eq!((error.code, names()), (ErrorCode::NodeMemoryFull, 1), "what was ready was given up");
        drop(guard);
        drop(file);
        assert_eq!(budget.used(), 0);
        pool.close_files();
        assert!(!folder.exists());
    }

    #[test]
    fn an_empty_pool_still_serves() {
        let pool = Pool::new(&[], Budget::node(1 << 24)).unwrap();
        let segment = pool.take("test", 2 << 20, &Budget::instance(1 << 24)).unwrap();
        assert_eq!(segment.capacity(), 2 << 20);
        assert_eq!(pool.status().misses, 1);
    }
}

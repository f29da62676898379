//! Snapshots of functions: each made once for a version, at its first start, and gone on from by all that follow
//! (docs/snapshots.md).
//!
//! One is a folder of `STATE/snapshots`, whose name nobody chooses. It is there whole or not at all: it is made in a folder beside its
//! place, which is renamed. A next life of the node goes on with those that are made with what it has itself.

mod maker;
mod record;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headstart_base::{Error, ErrorCode, Result};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::errors;
use crate::functions::Function;
use crate::node::Node;
use crate::snapshots::record::Record;
use crate::sync::lock;

/// Of folders that are made or removed.
const SCRATCH: &str = ".incoming-";

/// A snapshot whose files are there. Whoever has one keeps it from being collected.
#[derive(Debug)]
pub(crate) struct Snapshot {
    folder: PathBuf,
    record: Record,
    /// Its files were read through, by who made it or in this life.
    checked: AtomicBool,
}

impl Snapshot {
    /// The image's files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its files are what was written. They are read through once in a life.
    async fn check(self: &Arc<Self>) -> io::Result<()> {
        self.record.check_lengths(&self.folder)?;
        if self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let it = Arc::clone(self);
        tokio::task::spawn_blocking(move || it.record.check_contents(&it.folder)).await.map_err(io::Error::other)??;
        self.checked.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// How a making ends; none while it goes on.
type Outcome = Option<Result<Arc<Snapshot>>>;

/// What came of asking for a snapshot.
pub(crate) struct Found {
    pub(crate) snapshot: Arc<Snapshot>,
    /// How long its making took, if it was made for it.
    pub(crate) made_in: Option<Duration>,
}

pub(crate) struct Snapshots {
    folder: PathBuf,
    /// Of all: what was not used for the longest time is collected.
    most_bytes: u64,
    /// What a snapshot is made with here.
    made_with: String,
    last: AtomicU64,
    state: Mutex<State>,
    /// Where files are removed.
    data: Handle,
}

#[derive(Default)]
struct State {
    kept: HashMap<Key, Kept>,
    making: HashMap<Key, watch::Receiver<Outcome>>,
}

struct Kept {
    snapshot: Arc<Snapshot>,
    used_at: SystemTime,
}

impl Kept {
    /// All that hold it are made under the lock, so one that only we hold stays so while it is locked.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.snapshot) > 1
    }
}

impl Snapshots {
    /// Removes what a previous life left half-made, or cannot be used any more, and takes in the rest. `runsc` says with its
    /// version what can go on from them.
    pub(crate) fn open(folder: PathBuf, most_bytes: u64, runsc: &Path, data: &Handle) -> Result<Self> {
        let broken = |error: io::Error| errors::io("the snapshots", &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(broken)?;
        let made_with = maker::name(runsc);
        let (last, state, data) = (AtomicU64::new(0), Mutex::default(), data.clone());
        let snapshots = Self { folder, most_bytes, made_with, last, state, data };
        for entry in fs::read_dir(&snapshots.folder).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            if let Err(error) = snapshots.take_in(&path) {
                tracing::info!(%error, folder = %path.display(), "a snapshot is dropped");
                fs::remove_dir_all(&path).map_err(broken)?;
            }
        }
        snapshots.collect();
        Ok(snapshots)
    }

    fn take_in(&self, folder: &Path) -> io::Result<()> {
        if folder.file_name().is_none_or(|name| name.to_string_lossy().starts_with(SCRATCH)) {
            return Err(io::Error::other("it is not whole"));
        }
        let record = Record::read(folder)?;
        if record.made_with != self.made_with {
            return Err(io::Error::other(format!("it was made with {}, this is {}", record.made_with, self.made_with)));
        }
        let used_at = fs::metadata(folder)?.modified()?;
        let key = Key::of(&record);
        let snapshot = Arc::new(Snapshot { folder: folder.to_owned(), record, checked: AtomicBool::new(false) });
        let mut state = lock(&self.state);
        if state.kept.contains_key(&key) {
            return Err(io::Error::other("there is another of this version"));
        }
        state.kept.insert(key, Kept { snapshot, used_at });
        Ok(())
    }

    /// The snapshot of a function's version, made if it is not there or not whole. Those who ask for one at one time wait for one
    /// making, which goes on without them.
    pub(crate) async fn get(self: &Arc<Self>, node: &Arc<Node>, function: &Arc<Function>) -> Result<Found> {
        let key = Key { tenant: function.tenant.clone(), version: function.digest.clone() };
        let began = std::time::Instant::now();
        let mut outcome = loop {
            if let Some(snapshot) = self.kept(&key) {
                match snapshot.check().await {
                    Ok(()) => return Ok(Found { snapshot, made_in: None }),
                    Err(error) => {
                        tracing::warn!(function = function.name, %error, "a damaged snapshot is dropped");
                        self.drop_it(&snapshot);
                    }
                }
            }
            if let Some(outcome) = self.making(&key, node, function) {
                break outcome;
            }
        };
        let lost = || Error::new(ErrorCode::Internal, "the making of a snapshot broke off");
        let made = outcome.wait_for(Option::is_some).await.map_err(|_| lost())?.clone().ok_or_else(lost)?;
        Ok(Found { snapshot: made?, made_in: Some(began.elapsed()) })
    }

    /// The making that is under way, or that begins now; none: it is over.
    fn making(
        self: &Arc<Self>,
        key: &Key,
        node: &Arc<Node>,
        function: &Arc<Function>,
    ) -> Option<watch::Receiver<Outcome>> {
        let mut state = lock(&self.state);
        if state.kept.contains_key(key) {
            return None;
        }
        // One that broke off tells nobody anything any more.
        if let Some(making) = state.making.get(key).filter(|making| making.has_changed().is_ok()) {
            return Some(making.clone());
        }
        let (told, making) = watch::channel(None);
        state.making.insert(key.clone(), making.clone());
        let (snapshots, owner, function, key) = (Arc::clone(self), Arc::clone(node), Arc::clone(function), key.clone());
        self.data.spawn(async move {
            let made = snapshots.make(&owner, &function).await;
            lock(&snapshots.state).making.remove(&key);
            told.send_replace(Some(made));
            snapshots.collect_aside().await;
        });
        Some(making)
    }

    fn kept(&self, key: &Key) -> Option<Arc<Snapshot>> {
        let mut state = lock(&self.state);
        let kept = state.kept.get_mut(key)?;
        kept.used_at = SystemTime::now();
        Some(Arc::clone(&kept.snapshot))
    }

    /// Makes one with an instance of its own.
    async fn make(&self, node: &Arc<Node>, function: &Arc<Function>) -> Result<Arc<Snapshot>> {
        let failed = |message: String| Error::new(ErrorCode::SnapshotFailed, message);
        let scratch = Scratch { folder: self.scratch() };
        maker::take(node, function, &scratch.folder).await?;
        let (of, made_with) = (Arc::clone(function), self.made_with.clone());
        let (scratch, record) = tokio::task::spawn_blocking(move || {
            let record = Record::write(&scratch.folder, &of.tenant, &of.name, &of.digest, &made_with)?;
            io::Result::Ok((scratch, record))
        })
        .await
        .map_err(|error| Error::new(ErrorCode::Internal, format!("a snapshot's record: {error}")))?
        .map_err(|error| errors::io("a snapshot's record", &error))?;
        let (name, bytes, most) = (&function.name, record.bytes(), self.most_bytes);
        if bytes > most {
            return Err(failed(format!("the snapshot of {name} has {bytes} bytes, all of the node's at most {most}")));
        }
        // What was dropped meanwhile may have read something that it may not any more.
        if !node.functions.find(&function.digest).is_ok_and(|known| known.stores == function.stores) {
            return Err(failed(format!("{name} was changed or removed while its snapshot was made")));
        }
        let folder = self.folder.join(unlike(&record));
        fs::rename(&scratch.folder, &folder).map_err(|error| errors::io("a snapshot", &error))?;
        let key = Key::of(&record);
        let snapshot = Arc::new(Snapshot { folder, record, checked: AtomicBool::new(true) });
        let kept = Kept { snapshot: Arc::clone(&snapshot), used_at: SystemTime::now() };
        lock(&self.state).kept.insert(key, kept);
        Ok(snapshot)
    }

    /// Drops one that nothing goes on from.
    pub(crate) fn drop_it(&self, snapshot: &Arc<Snapshot>) {
        self.drop_where(|_, kept| Arc::ptr_eq(&kept.snapshot, snapshot));
    }

    /// Drops those of a version.
    pub(crate) fn drop_version(&self, digest: &str) {
        self.drop_where(|_, kept| kept.snapshot.record.version == digest);
    }

    /// Drops those of a function's other versions.
    pub(crate) fn drop_others(&self, function: &Function) {
        self.drop_where(|_, Kept { snapshot, .. }| {
            let Record { tenant, function: name, version, .. } = &snapshot.record;
            *tenant == function.tenant && *name == function.name && *version != function.digest
        });
    }

    /// Drops all of a tenant's.
    pub(crate) fn drop_tenant(&self, tenant: &str) {
        self.drop_where(|_, kept| kept.snapshot.record.tenant == tenant);
    }

    /// Drops those that were not used for the longest time until the rest is within the limit.
    fn collect(&self) {
        loop {
            let oldest = {
                let state = lock(&self.state);
                let bytes: u64 = state.kept.values().map(|kept| kept.snapshot.record.bytes()).sum();
                if bytes <= self.most_bytes {
                    return;
                }
                let idle = state.kept.iter().filter(|(_, kept)| !kept.in_use());
                idle.min_by_key(|(_, kept)| kept.used_at).map(|(key, _)| key.clone())
            };
            let Some(oldest) = oldest else { return };
            tracing::info!(tenant = oldest.tenant, version = oldest.version, "a snapshot is collected");
            self.drop_where(|key, kept| *key == oldest && !kept.in_use());
        }
    }

    async fn collect_aside(self: &Arc<Self>) {
        let snapshots = Arc::clone(self);
        // It ends with the runtime.
        let _ = tokio::task::spawn_blocking(move || snapshots.collect()).await;
    }

    /// What goes on from one has its files open, and a start that has not opened them yet begins anew.
    fn drop_where(&self, is_it: impl Fn(&Key, &Kept) -> bool) {
        let dropped: Vec<Kept> =
            lock(&self.state).kept.extract_if(|key, kept| is_it(key, kept)).map(|(_, kept)| kept).collect();
        for Kept { snapshot, .. } in dropped {
            let scratch = Scratch { folder: self.scratch() };
            // Renamed at once, so that no next life takes it in; its files take their time.
            if let Err(error) = fs::rename(&snapshot.folder, &scratch.folder) {
                tracing::error!(folder = %snapshot.folder.display(), %error, "a snapshot stays");
            }
            self.data.spawn_blocking(move || drop(scratch));
        }
    }

    fn scratch(&self) -> PathBuf {
        self.folder.join(format!("{SCRATCH}{}", self.last.fetch_add(1, Ordering::Relaxed)))
    }

    /// (tenant, function, version, bytes) of each, for people and tests.
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let state = lock(&self.state);
        let described = |kept: &Kept| {
            let Record { tenant, function, version, .. } = &kept.snapshot.record;
            let bytes = kept.snapshot.record.bytes();
            serde_json::json!({
                "tenant": tenant, "function": function, "version": version, "bytes": bytes, "inUse": kept.in_use(),
            })
        };
        state.kept.values().map(described).collect()
    }
}

/// Whose a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    version: String,
}

impl Key {
    fn of(record: &Record) -> Self {
        Self { tenant: record.tenant.clone(), version: record.version.clone() }
    }
}

/// A name that no other folder has: of what is in it, and of when it was made.
fn unlike(record: &Record) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hash = Sha256::new().chain_update(&record.tenant).chain_update([0]).chain_update(&record.version);
    let hash = hash.chain_update(since.as_nanos().to_le_bytes()).finalize();
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A folder that is removed, unless it was renamed.
struct Scratch {
    folder: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(folder = %self.folder.display(), %error, "a snapshot's folder stays");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use headstart_sandbox::IMAGE_FILES;

    use super::*;

    const RUNSC: &str = "/nowhere/runsc";

    /// A snapshot as a life with `made_with` left it.
    fn left(folder: &Path, name: &str, version: &str, made_with: &str) {
        let place = folder.join(name);
        fs::create_dir_all(&place).unwrap();
        for file in IMAGE_FILES {
            fs::write(place.join(file), vec![b'x'; 100]).unwrap();
        }
        Record::write(&place, "tenant", "f", version, made_with).unwrap();
    }

    fn versions(snapshots: &Snapshots) -> Vec<String> {
        let mut versions: Vec<String> = lock(&snapshots.state).kept.keys().map(|key| key.version.clone()).collect();
        versions.sort();
        versions
    }

    fn open(folder: &Path, most_bytes: u64) -> Snapshots {
        Snapshots::open(folder.to_owned(), most_bytes, Path::new(RUNSC), &Handle::current()).unwrap()
    }

    #[tokio::test]
    async fn a_next_life_takes_in_what_is_whole_and_can_be_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let made_with = maker::name(Path::new(RUNSC));
        left(folder, "whole", "1", &made_with);
        left(folder, "twice", "1", &made_with);
        left(folder, "stale", "2", "an older gVisor");
        left(folder, ".incoming-7", "3", &made_with);
        left(folder, "cut", "4", &made_with);
        fs::write(folder.join("cut/pages.img"), "x").unwrap();
        fs::create_dir(folder.join("empty")).unwrap();
        let snapshots = open(folder, 1 << 20);
        assert_eq!(versions(&snapshots), ["1"]);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_was_not_used_for_the_longest_time_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let made_with = maker::name(Path::new(RUNSC));
        for (age, version) in [(3, "old"), (2, "used"), (1, "new")] {
            left(folder.path(), version, version, &made_with);
            let at = SystemTime::now() - Duration::from_secs(age * 100);
            fs::File::open(folder.path().join(version)).unwrap().set_modified(at).unwrap();
        }
        let mut snapshots = open(folder.path(), 1000);
        let key = |version: &str| Key { tenant: "tenant".into(), version: version.into() };
        let used = snapshots.kept(&key("used")).unwrap();
        snapshots.most_bytes = 700;
        snapshots.collect();
        assert_eq!(versions(&snapshots), ["new", "used"]);
        // One that is in use stays, whatever the limit.
        snapshots.most_bytes = 0;
        snapshots.collect();
        assert_eq!(versions(&snapshots), ["used"]);
        drop(used);
        snapshots.collect();
        assert!(versions(&snapshots).is_empty());
    }

    #[tokio::test]
    async fn they_are_dropped_by_version_and_by_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let made_with = maker::name(Path::new(RUNSC));
        for version in ["1", "2"] {
            left(folder.path(), version, version, &made_with);
        }
        let snapshots = open(folder.path(), 1 << 20);
        snapshots.drop_version("1");
        snapshots.drop_tenant("another");
        assert_eq!(versions(&snapshots), ["2"]);
        snapshots.drop_tenant("tenant");
        assert!(versions(&snapshots).is_empty());
        // Their files are still being removed, under names that no next life takes in.
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| name.to_string_lossy().starts_with(SCRATCH)));
    }
}

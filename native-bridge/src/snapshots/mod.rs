//! Snapshots of functions: each made once for a version, at its first start, and gone on from by all that follow
//! (docs/snapshots.md).
//!
//! One is a folder of `STATE/snapshots`, named by its tenant and version. It is there whole or not at all: it is made in a folder
//! beside its place, which is renamed. A next life of the node goes on with those that are made with what it has itself.

mod maker;
mod record;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use headstart_base::{Error, ErrorCode, Result};
use sha2::{Digest, Sha256};
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
}

#[derive(Default)]
struct State {
    kept: HashMap<String, Kept>,
    making: HashMap<String, watch::Receiver<Outcome>>,
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
    pub(crate) fn open(folder: PathBuf, most_bytes: u64, runsc: &Path) -> Result<Self> {
        let broken = |error: io::Error| errors::io("the snapshots", &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(broken)?;
        let made_with = maker::name(runsc);
        let state = Mutex::default();
        let snapshots = Self { folder, most_bytes, made_with, last: AtomicU64::new(0), state };
        for entry in fs::read_dir(&snapshots.folder).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match snapshots.take_in(&name, &path) {
                Ok(kept) => drop(lock(&snapshots.state).kept.insert(name, kept)),
                Err(error) => {
                    tracing::info!(%error, name, "a snapshot is dropped");
                    fs::remove_dir_all(&path).map_err(broken)?;
                }
            }
        }
        snapshots.collect();
        Ok(snapshots)
    }

    fn take_in(&self, name: &str, folder: &Path) -> io::Result<Kept> {
        let record = Record::read(folder)?;
        if key(&record.tenant, &record.version) != name {
            return Err(io::Error::other("it is no snapshot of this name"));
        }
        if record.made_with != self.made_with {
            return Err(io::Error::other(format!("it was made with {}, this is {}", record.made_with, self.made_with)));
        }
        let used_at = fs::metadata(folder)?.modified()?;
        let snapshot = Snapshot { folder: folder.to_owned(), record, checked: AtomicBool::new(false) };
        Ok(Kept { snapshot: Arc::new(snapshot), used_at })
    }

    /// The snapshot of a function's version, made if it is not there or not whole. Those who ask for one at one time wait for one
    /// making, which goes on without them.
    pub(crate) async fn get(self: &Arc<Self>, node: &Arc<Node>, function: &Arc<Function>) -> Result<Found> {
        let key = key(&function.tenant, &function.digest);
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
        key: &str,
        node: &Arc<Node>,
        function: &Arc<Function>,
    ) -> Option<watch::Receiver<Outcome>> {
        let mut state = lock(&self.state);
        if state.kept.contains_key(key) {
            return None;
        }
        if let Some(making) = state.making.get(key) {
            return Some(making.clone());
        }
        let (told, making) = watch::channel(None);
        state.making.insert(key.to_owned(), making.clone());
        let (snapshots, owner, function, key) =
            (Arc::clone(self), Arc::clone(node), Arc::clone(function), key.to_owned());
        node.data.spawn(async move {
            let made = snapshots.make(&owner, &function, &key).await;
            lock(&snapshots.state).making.remove(&key);
            told.send_replace(Some(made));
            snapshots.collect_aside().await;
        });
        Some(making)
    }

    fn kept(&self, key: &str) -> Option<Arc<Snapshot>> {
        let mut state = lock(&self.state);
        let kept = state.kept.get_mut(key)?;
        kept.used_at = SystemTime::now();
        Some(Arc::clone(&kept.snapshot))
    }

    /// Makes one with an instance of its own.
    async fn make(&self, node: &Arc<Node>, function: &Arc<Function>, key: &str) -> Result<Arc<Snapshot>> {
        let scratch = Scratch::new(self.scratch());
        maker::take(node, function, &scratch.folder).await?;
        let (tenant, name, version, made_with) =
            (function.tenant.clone(), function.name.clone(), function.digest.clone(), self.made_with.clone());
        let (scratch, record) = tokio::task::spawn_blocking(move || {
            Record::write(&scratch.folder, &tenant, &name, &version, &made_with).map(|record| (scratch, record))
        })
        .await
        .map_err(|error| Error::new(ErrorCode::Internal, format!("a snapshot's record: {error}")))?
        .map_err(|error| errors::io("a snapshot's record", &error))?;
        if record.bytes() > self.most_bytes {
            let message = format!(
                "the snapshot of {} has {} bytes, and all of the node's have at most {}",
                function.name,
                record.bytes(),
                self.most_bytes
            );
            return Err(Error::new(ErrorCode::SnapshotFailed, message));
        }
        let folder = self.folder.join(key);
        fs::rename(&scratch.folder, &folder).map_err(|error| errors::io("a snapshot", &error))?;
        let snapshot = Arc::new(Snapshot { folder, record, checked: AtomicBool::new(true) });
        let kept = Kept { snapshot: Arc::clone(&snapshot), used_at: SystemTime::now() };
        lock(&self.state).kept.insert(key.to_owned(), kept);
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
            tracing::info!(key = oldest, "a snapshot is collected");
            self.drop_where(|key, kept| *key == oldest && !kept.in_use());
        }
    }

    async fn collect_aside(self: &Arc<Self>) {
        let snapshots = Arc::clone(self);
        // It ends with the runtime.
        let _ = tokio::task::spawn_blocking(move || snapshots.collect()).await;
    }

    /// What goes on from one has its files open, and a start that has not opened them yet begins anew.
    fn drop_where(&self, is_it: impl Fn(&String, &Kept) -> bool) {
        let mut state = lock(&self.state);
        let dropped: Vec<Scratch> = state
            .kept
            .extract_if(|key, kept| is_it(key, kept))
            .filter_map(|(_, kept)| {
                let scratch = Scratch::new(self.scratch());
                fs::rename(&kept.snapshot.folder, &scratch.folder).ok().map(|()| scratch)
            })
            .collect();
        drop(state);
        // The files, without the lock.
        drop(dropped);
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

/// A folder of its own: nobody can choose its name.
fn key(tenant: &str, version: &str) -> String {
    let hash = Sha256::new().chain_update(tenant).chain_update([0]).chain_update(version).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder that is removed, unless it was renamed.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
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

//! The images of a node: by digest, each pulled once, kept within a limit, never taken from who uses one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use headstart_base::{Error, ErrorCode, Result};
use oci_client::Reference;
use serde::Serialize;

use crate::artifact::{self, Downloaded, Layer, Script};
use crate::config::ImageConfig;
use crate::failure::disk;
use crate::layer::{Layers, Made};
use crate::lower;
use crate::manifest::{Defaults, Record};
use crate::mount::{detach, overlay};
use crate::pull::{Pulled, pull};
use crate::registry::{Registries, hex_of};
use crate::scratch::Scratch;

/// An image whose files are there. Whoever has one keeps it from being collected.
#[derive(Debug)]
pub struct Image {
    digest: String,
    record: Record,
    root: PathBuf,
    /// Its layers, for others that have the same: what is read of one file twice is in memory once.
    _layers: Vec<Arc<OwnedFd>>,
}

impl Image {
    /// The root of its files, read-only: the overlay's mount point.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn defaults(&self) -> &Defaults {
        &self.record.defaults
    }

    fn uses(&self, layer: &str) -> bool {
        self.record.layers.iter().any(|(id, _)| id == layer)
    }
}

/// One cached image, for people and tests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub digest: String,
    pub reference: String,
    /// Of its files, shared layers included.
    pub bytes: u64,
    pub in_use: bool,
    #[serde(rename = "mounts")]
    pub mount: PathBuf,
}

type Pulling = BoxFuture<'static, Result<(Arc<Image>, Pulled)>>;
type Flight = Shared<Pulling>;

/// The images of a node.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    config: ImageConfig,
    layers: Layers,
    /// The lowest name in every overlay's order: the mount points of sandboxes.
    top: PathBuf,
    registries: Arc<Registries>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: HashMap<String, Kept>,
    flights: HashMap<String, WeakShared<Pulling>>,
    /// Layers that images have open, by their ids.
    open: HashMap<String, Weak<OwnedFd>>,
}

struct Kept {
    image: Arc<Image>,
    /// When it came, in this life.
    came_at: Instant,
    used_at: SystemTime,
    /// Whether its record says that its files are on the disk.
    settled: bool,
}

/// How long after a pull its files are put on the disk: what starts now has that for itself, and one that goes before that is never written.
const SETTLING: Duration = Duration::from_secs(10);

impl Kept {
    /// All that hold it are made under the lock, so one that only we hold stays so while it is locked.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.image) > 1
    }
}

impl Store {
    /// Removes what a previous life left half-made, and takes in what it had whole. `top` lies above all layers.
    pub fn open(config: ImageConfig, top: PathBuf) -> Result<Self> {
        let broken = |error: std::io::Error| disk("the images", &error);
        let registries = Arc::new(Registries::new(config.registries.clone())?);
        let layers = Layers { folder: config.folder.join("layers"), as_files: false };
        let mut inner = Inner { config, layers, top, registries, state: Mutex::default() };
        for folder in [inner.layers.folder.clone(), inner.records(), inner.roots()] {
            fs::create_dir_all(&folder).map_err(broken)?;
        }
        spread(&inner.layers.folder);
        Scratch::reap(&inner.layers.folder).map_err(broken)?;
        inner.layers.as_files = lower::can_be_files(&inner.layers.folder);
        inner.load().map_err(broken)?;
        let store = Self { inner: Arc::new(inner) };
        store.collect();
        Ok(store)
    }

    /// Refuses what is no reference to an image of one of the node's registries.
    pub fn check(&self, reference: &str) -> Result<()> {
        self.inner.registries.reference(reference).map(drop)
    }

    /// The reference with the digest that its tag has now.
    pub async fn resolve(&self, reference: &str) -> Result<String> {
        let reference = self.inner.registries.reference(reference)?;
        Ok(self.inner.registries.resolve(&reference).await?.whole())
    }

    /// An initscript that is an artifact, as its registry has it now.
    pub async fn find_script(&self, artifact: &str) -> Result<Script> {
        artifact::find(&self.inner.registries, artifact).await
    }

    /// The bytes of an artifact's initscript, from its registry: of this digest and length.
    pub async fn download_script(&self, artifact: &str, layer: &Layer) -> Result<Downloaded> {
        artifact::download(&self.inner.registries, artifact, layer).await
    }

    /// The image, pulled if it is not there: then also what that took. Those who ask for one at one time wait for one pull,
    /// which ends when none of them waits any more.
    pub async fn get(&self, reference: &str) -> Result<(Arc<Image>, Option<Pulled>)> {
        let reference = self.inner.registries.reference(reference)?;
        let digest = reference.digest().and_then(hex_of).map(str::to_owned).ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, format!("image {reference} is named by no digest"))
        })?;
        let flight = {
            let mut state = self.inner.lock();
            if let Some(kept) = state.images.get_mut(&digest) {
                kept.used_at = SystemTime::now();
                return Ok((Arc::clone(&kept.image), None));
            }
            // One that ended without an image is no flight any more.
            let flying =
                state.flights.get(&digest).and_then(WeakShared::upgrade).filter(|flight| flight.peek().is_none());
            flying.unwrap_or_else(|| {
                let flight = fly(Arc::clone(&self.inner), reference, digest.clone());
                if let Some(weak) = flight.downgrade() {
                    state.flights.insert(digest.clone(), weak);
                }
                flight
            })
        };
        let outcome = flight.await;
        self.inner.lock().flights.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
        let (image, pulled) = outcome?;
        // Removing files takes its time, which others' bytes must not wait for.
        let store = self.clone();
        let collected = tokio::task::spawn_blocking(move || store.collect()).await;
        collected.map_err(|error| Error::new(ErrorCode::Internal, format!("collecting images: {error}")))?;
        self.settle_later();
        Ok((image, Some(pulled)))
    }

    fn settle_later(&self) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            tokio::time::sleep(SETTLING).await;
            let Some(inner) = inner.upgrade() else { return };
            let settled = tokio::task::spawn_blocking(move || Self { inner }.settle_older(SETTLING)).await;
            if let Ok(Err(error)) = settled {
                tracing::warn!(%error, "images are not known to be on the disk");
            }
        });
    }

    /// Drops an image and the layers that no other one has. `imageInUse` while something uses it; false: it is not here.
    pub fn evict(&self, digest: &str) -> Result<bool> {
        let digest = hex_of(digest).unwrap_or(digest);
        let dropped = {
            let mut state = self.inner.lock();
            match state.images.get(digest) {
                None => return Ok(false),
                Some(kept) if kept.in_use() => {
                    return Err(Error::new(ErrorCode::ImageInUse, "the image is in use"));
                }
                Some(_) => self.inner.take_out(&mut state, digest)?,
            }
        };
        drop(dropped);
        Ok(true)
    }

    /// Drops the images that were not used for the longest time until the rest is within the limit.
    fn collect(&self) {
        loop {
            let dropped = {
                let mut state = self.inner.lock();
                if state.bytes() <= self.inner.config.most_bytes {
                    return;
                }
                let idle = state.images.iter().filter(|(_, kept)| !kept.in_use());
                let Some(digest) = idle.min_by_key(|(_, kept)| kept.used_at).map(|(digest, _)| digest.clone()) else {
                    return;
                };
                tracing::info!(digest, "an image is collected");
                self.inner.take_out(&mut state, &digest)
            };
            if let Err(error) = dropped {
                tracing::error!(%error, "an image cannot be collected");
                return;
            }
        }
    }

    /// Has the files of all images on the disk, and their records say so. Until then a machine that goes down at once loses an image, and
    /// knows it. Blocks.
    pub fn settle(&self) -> Result<()> {
        self.settle_older(Duration::ZERO)
    }

    fn settle_older(&self, age: Duration) -> Result<()> {
        let inner = &self.inner;
        let unsettled: Vec<(String, Instant, Record)> = {
            let state = inner.lock();
            let images = state.images.iter().filter(|(_, kept)| !kept.settled && kept.came_at.elapsed() >= age);
            images.map(|(digest, kept)| (digest.clone(), kept.came_at, kept.image.record.clone())).collect()
        };
        if unsettled.is_empty() {
            return Ok(());
        }
        let broken = |error: std::io::Error| disk("an image", &error);
        crate::disk::sync(&inner.layers.folder).map_err(broken)?;
        for (digest, came_at, record) in unsettled {
            let beside = inner.records().join(format!("{digest}.new"));
            crate::disk::write_beside(&beside, &record).map_err(broken)?;
            let mut state = inner.lock();
            // It may have been dropped meanwhile, and pulled again.
            let done = match state.images.get_mut(&digest).filter(|kept| kept.came_at == came_at) {
                Some(kept) => {
                    kept.settled = true;
                    fs::rename(&beside, inner.record(&digest))
                }
                None => fs::remove_file(&beside),
            };
            drop(state);
            done.map_err(broken)?;
        }
        Ok(())
    }

    pub fn list(&self) -> Vec<Listed> {
        let state = self.inner.lock();
        let listed = |(digest, kept): (&String, &Kept)| Listed {
            digest: digest.clone(),
            reference: kept.image.record.reference.clone(),
            bytes: kept.image.record.layers.iter().map(|(_, bytes)| bytes).sum(),
            in_use: kept.in_use(),
            mount: kept.image.root.clone(),
        };
        state.images.iter().map(listed).collect()
    }

    /// Unmounts all. What is cached stays for the next life.
    pub fn close(&self) {
        for (_, kept) in self.inner.lock().images.drain() {
            detach(&kept.image.root);
        }
    }
}

impl State {
    /// Of all layers, each once.
    fn bytes(&self) -> u64 {
        let layers: HashMap<&String, u64> = self
            .images
            .values()
            .flat_map(|kept| kept.image.record.layers.iter().map(|(id, bytes)| (id, *bytes)))
            .collect();
        layers.values().sum()
    }
}

/// Has the file system put each layer in a place of its own. ext4 lets inodes that were freed alone for a minute, and looks at
/// each of them for every new file beside: a layer that is pulled after another was dropped there takes twice as long.
fn spread(layers: &Path) {
    let set = || -> std::io::Result<()> {
        let folder = fs::File::open(layers)?;
        let flags = rustix::fs::ioctl_getflags(&folder)?;
        Ok(rustix::fs::ioctl_setflags(&folder, flags | rustix::fs::IFlags::TOPDIR)?)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "this file system takes no advice on where layers lie");
    }
}

/// One pull that many wait for.
fn fly(inner: Arc<Inner>, reference: Reference, digest: String) -> Flight {
    let work = async move {
        let known = |layer: &str| inner.known(layer);
        let pulled = pull(&inner.registries, &reference, &inner.layers, inner.config.bounds, known).await;
        let (record, made, mut pulled) = pulled?;
        let image = inner.put(digest, record, Some(&made))?;
        pulled.unpacked_at = headstart_base::now();
        Ok((image, pulled))
    };
    work.boxed().shared()
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> PathBuf {
        self.config.folder.join("records")
    }

    fn roots(&self) -> PathBuf {
        self.config.folder.join("roots")
    }

    fn record(&self, digest: &str) -> PathBuf {
        self.records().join(format!("{digest}.json"))
    }

    /// The bytes of a layer that is there.
    fn known(&self, layer: &str) -> Option<u64> {
        let state = self.lock();
        let found = state.images.values().flat_map(|kept| &kept.image.record.layers).find(|(id, _)| id == layer);
        found.map(|(_, bytes)| *bytes)
    }

    /// Mounts an image whose layers are there or `made`, and keeps it: a new one if any are given. Of one that fails nothing stays.
    fn put(&self, digest: String, record: Record, made: Option<&[Made]>) -> Result<Arc<Image>> {
        // Under the lock: else its layers might be collected with another image's before they are its own.
        let mut state = self.lock();
        if let Some(kept) = state.images.get(&digest) {
            return Ok(Arc::clone(&kept.image));
        }
        let settled = made.unwrap_or_default().iter().try_for_each(Made::settle);
        let mounted = settled.and_then(|()| self.mount(&mut state.open, digest.clone(), record, made.is_some()));
        let image = mounted.map(Arc::new).inspect_err(|_| {
            let Some(made) = made else { return };
            detach(&self.roots().join(&digest));
            // It may not have been written yet.
            let _ = fs::remove_file(self.record(&digest));
            let unused = |layer: &&Made| !state.images.values().any(|kept| kept.image.uses(layer.id()));
            made.iter().filter(unused).for_each(Made::unsettle);
        })?;
        let settled = made.is_none() && image.record.boot.is_none();
        let (came_at, used_at) = (Instant::now(), SystemTime::now());
        state.images.insert(digest, Kept { image: Arc::clone(&image), came_at, used_at, settled });
        Ok(image)
    }

    /// Mounts what has all its layers, and writes it down if it is new.
    fn mount(
        &self,
        open: &mut HashMap<String, Weak<OwnedFd>>,
        digest: String,
        record: Record,
        is_new: bool,
    ) -> Result<Image> {
        let place = |id: &String| self.layers.folder.join(id);
        if let Some(gone) = record.layers.iter().map(|(id, _)| place(id)).find(|layer| !layer.exists()) {
            let message = format!("a layer was collected meanwhile: {}", gone.display());
            return Err(Error::new(ErrorCode::ImagePullFailed, message));
        }
        if is_new {
            let written = Record { boot: Some(crate::disk::boot()), ..record.clone() };
            let bytes = serde_json::to_vec(&written).unwrap_or_default();
            fs::write(self.record(&digest), bytes).map_err(|error| disk("an image", &error))?;
        }
        let root = self.roots().join(&digest);
        open.retain(|_, layer| layer.strong_count() > 0);
        // The uppermost first. The same layer twice is the same as once.
        let mut seen = HashSet::new();
        let order = record.layers.iter().rev().map(|(id, _)| id).filter(|id| seen.insert(*id));
        let layers: Vec<Arc<OwnedFd>> = order
            .map(|id| {
                if let Some(layer) = open.get(id).and_then(Weak::upgrade) {
                    return Ok(layer);
                }
                let layer = Arc::new(lower::open(&place(id))?);
                open.insert(id.clone(), Arc::downgrade(&layer));
                Ok(layer)
            })
            .collect::<std::io::Result<_>>()
            .map_err(|error| disk("a layer", &error))?;
        let top = lower::open(&self.top).map_err(|error| disk("the uppermost layer", &error))?;
        overlay(&[&top].into_iter().chain(layers.iter().map(Arc::as_ref)).collect::<Vec<_>>(), &root)?;
        Ok(Image { digest, record, root, _layers: layers })
    }

    /// Takes an image out of its place. Its files are removed when what this gives is dropped, without the lock.
    fn take_out(&self, state: &mut State, digest: &str) -> Result<Option<(Kept, Scratch)>> {
        let Some(kept) = state.images.remove(digest) else { return Ok(None) };
        detach(&kept.image.root);
        let broken = |error: std::io::Error| disk("an image", &error);
        fs::remove_file(self.record(&kept.image.digest)).map_err(broken)?;
        let trash = Scratch::new(&self.layers.folder).map_err(broken)?;
        for (id, _) in &kept.image.record.layers {
            let place = self.layers.folder.join(id);
            let needed = state.images.values().any(|other| other.image.uses(id));
            if !needed && place.exists() {
                trash.take(&place).map_err(broken)?;
            }
        }
        Ok(Some((kept, trash)))
    }

    /// Takes in what a previous life had, and removes what no image needs.
    fn load(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.records())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = name.strip_suffix(".json").filter(|digest| hex_of(&format!("sha256:{digest}")).is_some());
            let record = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let taken = match (digest, record) {
                (_, Some(Record { boot: Some(boot), .. })) if boot != crate::disk::boot() => {
                    Err(Error::new(ErrorCode::Internal, "the machine went down before its files were on the disk"))
                }
                (Some(digest), Some(record))
                    if record.layers.iter().all(|(id, _)| hex_of(&format!("sha256:{id}")).is_some()) =>
                {
                    self.put(digest.to_owned(), record, None).map(drop)
                }
                _ => Err(Error::new(ErrorCode::Internal, "it is no record of an image")),
            };
            if let Err(error) = taken {
                tracing::warn!(%error, file = name, "a cached image is dropped");
                fs::remove_file(entry.path())?;
            } else if let (Some(digest), Ok(modified)) = (digest, entry.metadata().and_then(|found| found.modified()))
                && let Some(kept) = self.lock().images.get_mut(digest)
            {
                kept.used_at = modified;
            }
        }
        let state = self.lock();
        for entry in fs::read_dir(&self.layers.folder)? {
            let entry = entry?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if state.images.values().any(|kept| kept.image.uses(&id)) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        for entry in fs::read_dir(self.roots())? {
            let entry = entry?;
            if !state.images.contains_key(entry.file_name().to_string_lossy().as_ref()) {
                detach(&entry.path());
            }
        }
        Ok(())
    }
}

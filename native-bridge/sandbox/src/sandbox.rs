//! A live sandbox, and its end.

use crate::boot;
use crate::cgroup::Cgroup;
use crate::inside::Inside;
use crate::network::Reservation;
use crate::process::Process;
use crate::spec::{Exit, Isolation, Owned};
use crate::users::User;
use headstart_base::Result;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard, watch};
use tokio::task::JoinHandle;

/// How long the kernel may take to end what was killed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long output is still read after the last process is dead.
const OUTPUT_LIMIT: Duration = Duration::from_millis(500);

/// All live sandboxes of a node, by instance id.
#[derive(Default)]
pub(crate) struct Registry {
    live: Mutex<HashMap<String, Option<Arc<Live>>>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<Live>>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an id; false if it is taken.
    pub(crate) fn claim(&self, id: &str) -> bool {
        let mut live = self.lock();
        if live.contains_key(id) {
            return false;
        }
        live.insert(id.to_owned(), None);
        true
    }

    pub(crate) fn put(&self, live: &Arc<Live>) {
        self.lock().insert(live.id.clone(), Some(Arc::clone(live)));
    }

    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().flatten().cloned().collect()
    }
}

/// What a sandbox owns until it is reaped.
pub(crate) struct Resources {
    pub(crate) cgroup: Cgroup,
    pub(crate) folder: PathBuf,
    pub(crate) reservation: Reservation,
    /// None: gVisor.
    pub(crate) user: Option<User>,
    /// gVisor's binary.
    pub(crate) runsc: PathBuf,
    /// The tasks that read its output.
    pub(crate) output: Vec<JoinHandle<()>>,
}

/// A sandbox as the node knows it.
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) pid: u32,
    owned: Owned,
    runsc: PathBuf,
    exit: watch::Receiver<Option<Exit>>,
    resources: AsyncMutex<Option<Resources>>,
    registry: Arc<Registry>,
    runtime: Handle,
}

impl Live {
    pub(crate) fn new(
        id: String,
        isolation: Isolation,
        process: Process,
        resources: Resources,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        let (told, exit) = watch::channel(None);
        let pid = process.id();
        let group = resources.cgroup.observer();
        tokio::spawn(async move {
            let (status, signal) = process.wait().await;
            // The kernel's note of a kill is only read here: the group may be gone soon.
            told.send_replace(Some(exit_of(status, signal, group.oom_killed())));
        });
        let owned = Owned {
            id: id.clone(),
            isolation,
            pids: Vec::new(),
            namespace: resources.reservation.namespace().map(|namespace| namespace.name.clone()).unwrap_or_default(),
            cgroup: resources.cgroup.name().to_owned(),
            folder: resources.folder.clone(),
            user: resources.user.as_ref().map(User::id),
        };
        let runsc = resources.runsc.clone();
        let resources = AsyncMutex::new(Some(resources));
        let live = Arc::new(Self { id, pid, owned, runsc, exit, resources, registry, runtime: Handle::current() });
        live.registry.put(&live);
        live
    }

    /// What it owns now.
    pub(crate) fn owned(&self) -> Owned {
        let mut owned = self.owned.clone();
        if let Ok(resources) = self.resources.try_lock() {
            owned.pids = resources.as_ref().map(|resources| resources.cgroup.pids()).unwrap_or_default();
        }
        owned
    }

    pub(crate) fn isolation(&self) -> Isolation {
        self.owned.isolation
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.owned.folder
    }

    pub(crate) fn runsc(&self) -> &Path {
        &self.runsc
    }

    /// What it owns, until it is reaped.
    pub(crate) async fn resources(&self) -> AsyncGuard<'_, Option<Resources>> {
        self.resources.lock().await
    }

    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let known = exit.wait_for(Option::is_some).await.ok().and_then(|known| *known);
        known.unwrap_or(Exit { status: -1, signal: 0, oom: false })
    }

    /// Ends and reaps all of it. Who comes second waits for the first.
    pub(crate) async fn reap(&self) {
        let mut guard = self.resources.lock().await;
        let Some(Resources { cgroup, folder, reservation, user, output, .. }) = guard.take() else { return };
        let destroyed = cgroup.destroy(END_LIMIT).await;
        let _ = tokio::time::timeout(END_LIMIT, self.wait()).await;
        match (destroyed, user) {
            (Ok(()), Some(user)) => user.give_back(),
            (Ok(()), None) => {}
            (Err(error), _) => tracing::error!(id = self.id, %error, "a sandbox does not end"),
        }
        let network = reservation.destroy();
        let rest = async {
            for mut task in output {
                if tokio::time::timeout(OUTPUT_LIMIT, &mut task).await.is_err() {
                    task.abort();
                }
            }
            remove_folder(folder).await;
        };
        tokio::join!(network, rest);
        self.registry.forget(&self.id);
    }
}

/// Removes a sandbox's folder with all that is in it.
pub(crate) async fn remove_folder(folder: PathBuf) {
    match tokio::fs::remove_dir_all(&folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!(folder = %folder.display(), %error, "a sandbox's folder stays");
        }
        _ => {}
    }
}

/// Back ends report a signal of the app as status 128 + signal.
fn exit_of(status: i32, signal: u32, oom: bool) -> Exit {
    match (status, signal) {
        (_, 1..) => Exit { status: 128 + signal.cast_signed(), signal, oom },
        (129..=192, _) => Exit { status, signal: (status - 128).cast_unsigned(), oom },
        _ => Exit { status, signal: 0, oom },
    }
}

/// A live sandbox. Dropped: killed and reaped in the background.
pub struct Sandbox {
    live: Arc<Live>,
}

impl Sandbox {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    /// The process that we started (runsc or bwrap).
    pub fn pid(&self) -> u32 {
        self.live.pid
    }

    /// A way in, for as long as it lives.
    pub fn inside(&self) -> Inside {
        Inside::new(Arc::downgrade(&self.live))
    }

    /// Waits for the command's end. May be called again, and dropped while it waits.
    pub async fn wait(&mut self) -> Exit {
        self.live.wait().await
    }

    /// Stops a sandbox that was made for it ([`crate::Boot::ToBeStopped`]) where it is, and writes its image into a new folder.
    /// It ends, as by itself, unless this fails: a program with an open connection to its host, say.
    pub async fn checkpoint(&self, folder: &Path) -> Result<()> {
        boot::checkpoint(&self.live, folder).await
    }

    /// Ends and reaps all of it: processes, cgroups, files, network namespace. Its output is read to the end before
    /// this returns.
    pub async fn kill(self) {
        self.live.reap().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let live = Arc::clone(&self.live);
        self.live.runtime.spawn(async move { live.reap().await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_in_either_form() {
        assert_eq!(exit_of(3, 0, false), Exit { status: 3, signal: 0, oom: false });
        assert_eq!(exit_of(0, 9, true), Exit { status: 137, signal: 9, oom: true });
        assert_eq!(exit_of(139, 0, false), Exit { status: 139, signal: 11, oom: false });
        assert_eq!(exit_of(255, 0, false), Exit { status: 255, signal: 0, oom: false });
    }
}

//! The sandboxes of a node: start, inventory, shutdown.

use crate::base::{Base, NOBODY};
use crate::cgroup::{Cgroup, Hierarchies};
use crate::failure::{failed, unsupported};
use crate::job::Job;
use crate::lines::{forward, forward_but};
use crate::names::Names;
use crate::network::{Pool, Reservation, Slice};
use crate::process::{Launch, Spawner, Started, new_pipe};
use crate::sandbox::{Live, Registry, Resources, Sandbox, remove_folder};
use crate::spec::{Inventory, Isolation, Limits, Line, SandboxConfig, Spec, Stream};
use crate::users::{User, Users};
use crate::{bubblewrap, gvisor, isolate, probe, reap, seccomp};
use headstart_base::{Error, ErrorCode, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes that a sandbox's own processes need before the app has any.
const OWN_MEMORY: u64 = 32 << 20;

/// The sandboxes of a node.
pub struct Sandboxes {
    config: SandboxConfig,
    names: Names,
    hierarchies: Hierarchies,
    base: Arc<Base>,
    spawner: Spawner,
    pool: Arc<Pool>,
    users: Users,
    registry: Arc<Registry>,
    works: Vec<(Isolation, Result<()>)>,
    /// Held while we live: a second node with this run folder would reap our sandboxes.
    _lock: Flock<File>,
}

impl Sandboxes {
    /// Reaps what a previous life of this node left, finds out which back ends work, and fills the namespace pool.
    pub async fn new(config: SandboxConfig) -> Result<Self> {
        let folder = config.state_dir.join("sandboxes");
        for folder in [&config.run_dir, &folder] {
            fs::create_dir_all(folder).map_err(|error| failed(folder.display(), error))?;
        }
        let lock = lock(&config)?;
        let names = Names::of(&config.run_dir);
        let hierarchies = Hierarchies::find()?;
        reap::leftovers(&config, &names, &hierarchies).await?;
        let base = Arc::new(Base::create(&config.state_dir.join("base").join("host"))?);
        let users = Users::claim(&config.run_dir)?;
        let slice = Slice::claim(&config.subnet, &names).await?;
        let pool = Pool::open(names.clone(), slice, config.pool);
        let registry = Arc::default();
        let spawner = Spawner::new()?;
        let mut sandboxes =
            Self { config, names, hierarchies, base, spawner, pool, users, registry, works: Vec::new(), _lock: lock };
        let kinds = (Isolation::Gvisor, Isolation::Bubblewrap);
        let outcomes = tokio::join!(probe::probe(&sandboxes, kinds.0), probe::probe(&sandboxes, kinds.1));
        for (isolation, outcome) in [(kinds.0, outcomes.0), (kinds.1, outcomes.1)] {
            if let Err(error) = &outcome {
                tracing::warn!(isolation = isolation.name(), %error, "this kind of sandbox does not work here");
            }
            sandboxes.works.push((isolation, outcome));
        }
        let isolates = sandboxes.has_isolates();
        sandboxes.works.push((Isolation::Wasm, isolates));
        Ok(sandboxes)
    }

    /// The node's users, for what it runs beside its sandboxes.
    pub fn users(&self) -> &Users {
        &self.users
    }

    pub(crate) fn config(&self) -> &SandboxConfig {
        &self.config
    }

    /// Isolates work where bubblewrap does and workerd is there.
    fn has_isolates(&self) -> Result<()> {
        if !self.config.workerd.as_ref().is_some_and(|workerd| workerd.is_file()) {
            return Err(unsupported("this node has no workerd for applications"));
        }
        let boxes = self.works.iter().find(|(isolation, _)| *isolation == Isolation::Bubblewrap);
        boxes.map_or(Ok(()), |(_, outcome)| outcome.clone())
    }

    /// The names of the back ends that work here.
    pub fn isolations(&self) -> Vec<&'static str> {
        self.works.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(isolation, _)| isolation.name()).collect()
    }

    /// Takes a network namespace, from the pool if there is one.
    pub async fn reserve(&self) -> Result<Reservation> {
        self.pool.reserve().await
    }

    /// Starts a sandbox: its first process exists when this returns, and its egress is open.
    pub async fn spawn(&self, spec: Spec, reservation: Reservation, lines: mpsc::Sender<Line>) -> Result<Sandbox> {
        if let Some((_, Err(error))) = self.works.iter().find(|(isolation, _)| *isolation == spec.isolation) {
            let message = format!("{} does not work on this node: {}", spec.isolation.name(), error.message);
            return Err(unsupported(message));
        }
        self.start(spec, reservation, lines).await
    }

    /// [`Self::spawn`], also of a back end that is not known to work.
    pub(crate) async fn start(
        &self,
        spec: Spec,
        reservation: Reservation,
        lines: mpsc::Sender<Line>,
    ) -> Result<Sandbox> {
        Job::check(&spec)?;
        if !self.registry.claim(&spec.id) {
            return Err(Error::new(ErrorCode::AlreadyExists, format!("sandbox {} exists", spec.id)));
        }
        let user = match spec.isolation {
            Isolation::Gvisor => None,
            Isolation::Bubblewrap | Isolation::Wasm => match self.users.take() {
                Ok(user) => Some(user),
                Err(error) => {
                    self.registry.forget(&spec.id);
                    return Err(error);
                }
            },
        };
        let id = spec.id.clone();
        let group = Cgroup::existing(&self.hierarchies, self.names.cgroup(&id));
        match self.launch(spec, user.as_ref().map_or(NOBODY, User::id), &reservation).await {
            Ok((isolation, started, resources)) => {
                let Started { process, stdout, stderr } = started;
                let (cgroup, folder) = resources;
                let is_noise: fn(&[u8]) -> bool =
                    if isolation == Isolation::Wasm { isolate::is_noise } else { |_| false };
                let output = vec![
                    tokio::spawn(forward(stdout, Stream::Stdout, lines.clone())),
                    tokio::spawn(forward_but(is_noise, stderr, Stream::Stderr, lines)),
                ];
                let runsc = self.config.runsc.clone();
                let resources = Resources { cgroup, folder, reservation, user, runsc, output };
                Ok(Sandbox::new(Live::new(id, isolation, process, resources, Arc::clone(&self.registry))))
            }
            Err(error) => {
                let destroyed = group.destroy(Duration::from_secs(2)).await;
                if let (Ok(()), Some(user)) = (destroyed, user) {
                    user.give_back();
                }
                reservation.destroy().await;
                remove_folder(self.folder(&id)).await;
                self.registry.forget(&id);
                Err(error)
            }
        }
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.config.state_dir.join("sandboxes").join(id)
    }

    /// The sandbox's process and the opening of its network, side by side.
    async fn launch(
        &self,
        spec: Spec,
        user: u32,
        reservation: &Reservation,
    ) -> Result<(Isolation, Started, (Cgroup, PathBuf))> {
        let namespace = reservation.namespace()?;
        let network = namespace.handle()?;
        let isolation = spec.isolation;
        let egress = spec.egress.clone();
        let (gate, latch) = new_pipe()?;
        let folder = self.folder(&spec.id);
        let name = self.names.cgroup(&spec.id);
        let hierarchies = self.hierarchies.clone();
        let base = Arc::clone(&self.base);
        let config = self.config.clone();
        let prepare = move || {
            let limits = within(spec.limits, isolation);
            let job = Job::prepare(spec, folder, user)?;
            let cgroup = Cgroup::create(&hierarchies, name, limits)?;
            let mut launch = match isolation {
                Isolation::Gvisor => gvisor::launch(&config.runsc, &base, &job)?,
                Isolation::Bubblewrap => {
                    let filter = seccomp::filter(&[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK])?;
                    let blocked = (!job.spec.egress.is_empty()).then(|| gate.as_raw_fd());
                    let command = bubblewrap::command(&config.bwrap, &base, &job, blocked, filter.as_raw_fd())?;
                    let mut launch = Launch::new(command);
                    launch.keep.push(filter);
                    launch.keep.extend(blocked.is_some().then_some(gate));
                    launch
                }
                Isolation::Wasm => isolate::launch(&config, &job)?,
            };
            launch.network = Some(network);
            launch.cgroup = cgroup.doors()?;
            Ok((launch, (cgroup, job.folder)))
        };
        let open = async {
            let opened = namespace.allow(&self.config.subnet, &egress).await;
            drop(latch);
            opened
        };
        // Both to their ends: what one has made by the time the other fails must be known when it is cleaned up.
        let (started, opened) = tokio::join!(self.spawner.start(prepare), open);
        let (started, resources) = started?;
        opened?;
        Ok((isolation, started, resources))
    }

    pub fn inventory(&self) -> Inventory {
        let (namespaces, links) = self.pool.inventory();
        Inventory {
            tag: self.names.tag.clone(),
            sandboxes: self.registry.all().iter().map(|live| live.owned()).collect(),
            namespaces,
            links,
            mounts: self.base.mounts(),
        }
    }

    /// Ends all sandboxes and gives back all that is owned.
    pub async fn shutdown(&self) {
        let all: Vec<_> =
            self.registry.all().into_iter().map(|live| tokio::spawn(async move { live.reap().await })).collect();
        for task in all {
            let _ = task.await;
        }
        self.pool.close().await;
        self.base.destroy();
        self.hierarchies.remove_empty(&self.names.cgroup_parent());
    }
}

/// The limits of the whole sandbox, from those of the app.
fn within(limits: Limits, isolation: Isolation) -> Limits {
    let more = |value: u64, own: u64| if value > 0 { value.saturating_add(own) } else { 0 };
    let with = |memory: u64, pids: u32| Limits {
        memory: more(limits.memory, memory),
        pids: u32::try_from(more(limits.pids.into(), pids.into())).unwrap_or(u32::MAX),
        ..limits
    };
    match isolation {
        Isolation::Gvisor => with(OWN_MEMORY, gvisor::OWN_PIDS),
        Isolation::Wasm => with(isolate::OWN_MEMORY, isolate::OWN_PIDS),
        Isolation::Bubblewrap => limits,
    }
}

fn lock(config: &SandboxConfig) -> Result<Flock<File>> {
    let path = config.run_dir.join("sandboxes.lock");
    let file = File::create(&path).map_err(|error| failed(path.display(), error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => Error::new(
            ErrorCode::AlreadyExists,
            format!("another node runs in {}: give this one a run folder of its own", config.run_dir.display()),
        ),
        error => failed(path.display(), error),
    })
}

//! The bridge from its start to its end.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use headstart_image::{Bounds, ImageConfig, Registry, Store as Images};
use headstart_memory::{Budget, Class, Pool};
use headstart_net::{Client, ClientConfig};
use headstart_runner::{Relay, RunnerConfig, Runners, RunnersConfig};
use headstart_sandbox::{Line, SandboxConfig, Sandboxes, Users, write_image_top};
use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::Config;
use crate::errors::io;
use crate::http::bundles::GONE;
use crate::instance::Stage;
use crate::node::{Node, Parts};
use crate::secrets::Secrets;
use crate::snapshots::Snapshots;
use crate::{control, http, logs};

/// Threads of the data runtime.
const DATA_THREADS: usize = 2;
/// Control streams that wait to be taken over.
const STREAMS: usize = 16;
const LINES: usize = 256;
/// Why instances end then: the host looks for it.
const SHUTTING_DOWN: &str = "the node is shutting down";
/// How long the reaping of all instances may take at the end.
const REAP: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: Config) -> Result<()> {
    let _written = logs::begin();
    // Bundles must be readable for applications; what is private says so itself.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let runtime = |error| io("cannot start a runtime", &error);
    let data = Builder::new_multi_thread()
        .worker_threads(DATA_THREADS)
        .thread_name("data")
        .enable_all()
        .build()
        .map_err(runtime)?;
    let control = Builder::new_current_thread().enable_all().build().map_err(runtime)?;
    let outcome = control.block_on(LocalSet::new().run_until(serve(config, data.handle().clone())));
    data.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn serve(config: Config, data: Handle) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| io("cannot wait for SIGTERM", &error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| io("cannot wait for SIGINT", &error))?;
    folders(&config)?;
    // First of all, and to the end: two bridges in one folder would reap each other's instances.
    let _lock = claim_folder(&config)?;
    let socket = config.bridge_socket();
    let listener = {
        let _runtime = data.enter();
        http::bind(&socket)?
    };
    reap_leftovers(&config)?;
    let node = make(config, &data).await?;
    let relays = begin_relays(&node)?;
    let (streams, upgraded) = mpsc::channel(STREAMS);
    let serving = data.spawn(http::serve(Arc::clone(&node), listener, streams));
    let control = tokio::task::spawn_local(control::serve(Arc::clone(&node), upgraded));
    tracing::info!(socket = %socket.display(), isolations = ?node.sandboxes.isolations(), "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = drain(&node) => {}
        // Asked again: what is not over is cut.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // The last events are fetched; now the streams end.
    control.abort();
    serving.abort();
    for relay in relays {
        relay.abort();
    }
    node.sandboxes.shutdown().await;
    node.pool.close_files();
    node.images.close();
    let slots = node.runners.as_ref().map_or(0, |runners| runners.slots());
    if let Some(runners) = &node.runners {
        runners.shutdown().await;
    }
    for path in (0..slots).map(|slot| node.config.relay_socket(slot)).chain([socket]) {
        // It may have been removed before.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("ended");
    Ok(())
}

/// Takes the run folder for this process; the kernel gives it back however the process ends.
fn claim_folder(config: &Config) -> Result<Flock<File>> {
    let path = config.run_dir.join("bridge.lock");
    let file = File::create(&path).map_err(|error| io(&format!("cannot make {}", path.display()), &error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::Error::EWOULDBLOCK => http::taken(&config.bridge_socket()),
        other => Error::new(ErrorCode::Internal, format!("cannot lock {}: {other}", path.display())),
    })
}

fn folders(config: &Config) -> Result<()> {
    let private = [config.run_dir.clone(), config.run_dir.join("runner"), config.instances_dir()];
    for folder in private {
        make_folder(&folder, 0o700)?;
    }
    // Applications have users of their own and read their bundle: the way to it is open.
    make_folder(&config.state_dir, 0o711)?;
    make_folder(&config.bundles_dir(), 0o711)
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let cannot = |error| io(&format!("cannot make {}", path.display()), &error);
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(cannot)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(cannot)
}

/// Removes what a previous life left: the folders of instances and runners, and half-received bundles. (`Sandboxes::new` does the
/// sandboxes, and the runners' processes.)
fn reap_leftovers(config: &Config) -> Result<()> {
    let cannot = |error| io("cannot reap a previous life's leftovers", &error);
    for folder in [config.instances_dir(), config.run_dir.join("runner")] {
        for entry in std::fs::read_dir(folder).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.map_err(cannot)?;
        }
    }
    for entry in std::fs::read_dir(config.bundles_dir()).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".incoming-") || name.starts_with(GONE) {
            std::fs::remove_dir_all(entry.path()).map_err(cannot)?;
        }
    }
    Ok(())
}

async fn make(config: Config, data: &Handle) -> Result<Arc<Node>> {
    let classes: Vec<Class> =
        config.memory.pool.iter().map(|class| Class { bytes: class.bytes, count: class.count }).collect();
    let secrets = Secrets::open(&config.state_dir)?;
    if let Some(file) = &config.secrets_file {
        secrets.take_in(file)?;
    }
    let pool = Pool::new(&classes, Budget::node(config.memory.node_bytes))?;
    pool.open_files(&Path::new("/dev/shm").join(format!("headstart-{}", headstart_sandbox::tag(&config.run_dir))))?;
    let client = {
        let _runtime = data.enter();
        Client::new(ClientConfig {
            extra_authorities: config.net.authorities.clone(),
            reach: config.net.allow_private.clone(),
            ..ClientConfig::default()
        })
    };
    let sandboxes = SandboxConfig {
        runsc: config.runsc.clone(),
        bwrap: config.bwrap.clone(),
        workerd: config.runner.as_ref().map(|runner| runner.workerd.clone()),
        state_dir: config.state_dir.clone(),
        run_dir: config.run_dir.clone(),
        subnet: config.net.subnet.clone(),
        pool: config.net.pool,
    };
    let sandboxes = data.spawn(Sandboxes::new(sandboxes)).await;
    let sandboxes = sandboxes.map_err(|error| Error::new(ErrorCode::Internal, format!("the sandboxes: {error}")))??;
    let images = open_images(&config)?;
    let snapshots = Snapshots::open(config.snapshots_dir(), config.snapshots.bytes, &config.runsc, data)?;
    let runners = {
        let _runtime = data.enter();
        begin_runners(&config, sandboxes.users().clone())?
    };
    Ok(Node::new(
        config,
        Parts { secrets, pool, client, sandboxes, images, snapshots: Arc::new(snapshots), runners, data: data.clone() },
    ))
}

/// After the sandboxes, which take a previous life's mounts away.
fn open_images(config: &Config) -> Result<Images> {
    let folder = config.images_dir();
    make_folder(&folder, 0o700)?;
    let top = folder.join("top");
    write_image_top(&top)?;
    let wanted = &config.images;
    let registry = |registry: &crate::config::Registry| Registry { host: registry.host.clone(), plain: registry.plain };
    let bounds = Bounds {
        entries: wanted.layer_entries,
        bytes: wanted.image_bytes,
        time: Duration::from_millis(wanted.pull_ms),
        ..Bounds::default()
    };
    let registries = wanted.registries.iter().map(registry).collect();
    Images::open(ImageConfig { folder, most_bytes: wanted.bytes, registries, bounds }, top)
}

fn begin_runners(config: &Config, users: Users) -> Result<Option<Arc<Runners>>> {
    let Some(wanted) = &config.runner else { return Ok(None) };
    let Some(dir) = wanted.config_file.parent() else {
        return Err(Error::new(ErrorCode::InvalidArgument, "the runner's config_file has no folder"));
    };
    let (sender, mut lines) = mpsc::channel::<Line>(LINES);
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            logs::logs().line("runner", "", "", line.at, line.stream, &line.text);
        }
    });
    let runner = RunnerConfig {
        workerd: wanted.workerd.clone(),
        bwrap: config.bwrap.clone(),
        run_dir: config.run_dir.clone(),
        config_file: wanted.config_file.clone(),
        dir: dir.to_owned(),
        data_limit: wanted.data_limit,
        memory_limit: wanted.memory_limit,
    };
    Runners::start(RunnersConfig { runner, slots: wanted.slots, spares: wanted.spares, users }, sender).map(Some)
}

fn begin_relays(node: &Arc<Node>) -> Result<Vec<tokio::task::JoinHandle<()>>> {
    let Some(runners) = &node.runners else { return Ok(Vec::new()) };
    let begin = |slot| {
        let listener: UnixListener = {
            let _runtime = node.data.enter();
            http::bind(&node.config.relay_socket(slot))?
        };
        let runners = Arc::clone(runners);
        Ok(node.data.spawn(async move {
            if let Err(error) = Relay::serve(listener, runners, slot).await {
                tracing::error!(%error, slot, "a relay ends");
            }
        }))
    };
    (0..runners.slots()).map(begin).collect()
}

/// Refuses what is new, waits for what runs, and reaps all.
async fn drain(node: &Arc<Node>) {
    tracing::info!("draining");
    node.drain();
    let busy = || node.instances().iter().any(|instance| instance.open_invocations() > 0);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(node.config.limits.drain_ms);
    let functions = async {
        while busy() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async { tokio::join!(functions, node.services.end_all(SHUTTING_DOWN)) };
    // What is not over by then is cut.
    let _ = tokio::time::timeout_at(deadline, both).await;
    for instance in node.instances() {
        instance.stop(SHUTTING_DOWN);
    }
    let reaped = async {
        for instance in node.instances() {
            let mut stage = instance.stage.subscribe();
            // The sender lives as long as the instance.
            let _ = stage.wait_for(|stage| *stage == Stage::Ended).await;
        }
    };
    if tokio::time::timeout(REAP, reaped).await.is_err() {
        tracing::error!("instances are not reaped in time");
    }
}

//! What the parts of the bridge share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use headstart_base::{Error, ErrorCode, Nanos, Result};
use headstart_image::Store as Images;
use headstart_memory::Pool;
use headstart_net::Client;
use headstart_runner::Runners;
use headstart_sandbox::Sandboxes;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::functions::Functions;
use crate::instance::{Instance, Stage, StreamId};
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::services::Services;
use crate::shared::Shared;
use crate::snapshots::Snapshots;
use crate::sync::lock;
use crate::tenants::Tenants;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shared replies that nobody waits for have at most this part of the node's memory.
const SHARED_PART: u64 = 4;

pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) started_at: Nanos,
    pub(crate) metrics: Metrics,
    pub(crate) functions: Functions,
    pub(crate) secrets: Secrets,
    pub(crate) tenants: Tenants,
    pub(crate) services: Services,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Client,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) images: Images,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) runners: Option<Arc<Runners>>,
    /// The data runtime: fetches, applications' sockets, bodies.
    pub(crate) data: Handle,
    draining: AtomicBool,
    last_stream: AtomicU64,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
}

/// The parts of a node that are made before it.
pub(crate) struct Parts {
    pub(crate) secrets: Secrets,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Client,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) images: Images,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) runners: Option<Arc<Runners>>,
    pub(crate) data: Handle,
}

impl Node {
    pub(crate) fn new(config: Config, parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            started_at: headstart_base::now(),
            metrics: Metrics::new(),
            functions: Functions::new(&parts.pool),
            secrets: parts.secrets,
            tenants: Tenants::default(),
            services: Services::default(),
            shared: Shared::new(config.memory.node_bytes / SHARED_PART),
            pool: parts.pool,
            client: parts.client,
            sandboxes: parts.sandboxes,
            images: parts.images,
            snapshots: parts.snapshots,
            runners: parts.runners,
            data: parts.data,
            draining: AtomicBool::new(false),
            last_stream: AtomicU64::new(0),
            instances: Mutex::default(),
            config,
        })
    }

    /// Makes a spare: its socket, its namespace, its (empty) memory.
    pub(crate) async fn create_instance(self: &Arc<Self>, tenant: &str, lease: StreamId) -> Result<Arc<Instance>> {
        self.refuse_if_draining()?;
        let tenant = self.tenants.find(tenant)?;
        let most = self.config.limits.instances;
        let live = lock(&self.instances).values().filter(|instance| instance.stage() != Stage::Ended).count();
        if live >= most {
            return Err(Error::new(ErrorCode::TooMany, format!("the node holds at most {most} instances")));
        }
        let reservation = self.sandboxes.reserve().await?;
        let instance = Instance::new(self, random_id()?, Arc::clone(&tenant), lease, reservation);
        crate::app::listen(&instance)?;
        lock(&self.instances).insert(instance.id.clone(), Arc::clone(&instance));
        self.metrics.instances.inc();
        self.metrics.instances_created.inc();
        // Removed while the instance was being made: then nobody else ends it.
        if !self.tenants.find(&tenant.name).is_ok_and(|known| Arc::ptr_eq(&known, &tenant)) {
            instance.stop("its tenant was removed");
        }
        Ok(instance)
    }

    /// Forgets a tenant with its functions, and ends its instances.
    pub(crate) fn remove_tenant(&self, tenant: &str) {
        self.tenants.remove(tenant);
        self.services.forget(tenant);
        self.shared.forget(tenant);
        self.functions.drop_all(tenant);
        self.snapshots.drop_tenant(tenant);
        if let Some(runners) = &self.runners {
            runners.release(tenant);
        }
        for instance in self.instances() {
            if instance.tenant == tenant {
                instance.stop("its tenant was removed");
            }
        }
        self.client.forget(tenant);
        crate::logs::logs().forget(tenant);
    }

    pub(crate) fn find_instance(&self, id: &str) -> Result<Arc<Instance>> {
        let found = lock(&self.instances).get(id).cloned();
        found.ok_or_else(|| Error::new(ErrorCode::UnknownInstance, format!("there is no instance {id:.40}")))
    }

    pub(crate) fn forget(&self, id: &str) {
        lock(&self.instances).remove(id);
    }

    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        lock(&self.instances).values().cloned().collect()
    }

    /// The folder of an instance's socket, mounted into its sandbox.
    pub(crate) fn instance_dir(&self, id: &str) -> PathBuf {
        self.config.instances_dir().join(id)
    }

    pub(crate) fn new_stream(&self) -> StreamId {
        self.metrics.control_streams.inc();
        self.last_stream.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A stream has ended: what it held goes into its grace period.
    pub(crate) fn stream_ended(&self, stream: StreamId) {
        self.metrics.control_streams.dec();
        for instance in self.instances() {
            instance.stream_ended(stream);
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_if_draining(&self) -> Result<()> {
        match self.is_draining() {
            true => Err(Error::new(ErrorCode::NodeDraining, "the bridge is shutting down")),
            false => Ok(()),
        }
    }
}

/// Whether a text may be part of a path or a table's name.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// "i-" and 20 base32 characters: 100 random bits.
fn random_id() -> Result<String> {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0_u8; 20];
    // SAFETY: `bytes` is valid for 20 bytes.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if count != 20 {
        return Err(Error::new(ErrorCode::Internal, "no random bytes"));
    }
    let digits = bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
    Ok("i-".chars().chain(digits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unlike() {
        let (one, two) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, two);
        assert!(one.len() == 22 && is_name(&one), "{one}");
    }

    #[test]
    fn names_stay_in_their_folder() {
        for text in ["", "..", "a/b", "a.b", "é", "a b"] {
            assert!(!is_name(text), "{text}");
        }
    }
}

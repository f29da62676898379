//! The functions that the host has put.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::Pool;
use headstart_net::{Address, Egress, Request, Scheme, Store};
use headstart_sandbox::Isolation;

use crate::shared::Share;
use crate::sync::lock;

/// Functions that are kept at most: the host puts one again when it is unknown.
const MOST: usize = 1024;
const MIB: u64 = 1 << 20;

/// A function, checked and prepared.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) digest: String,
    pub(crate) name: String,
    pub(crate) tenant: String,
    /// The folder of its files.
    pub(crate) bundle: PathBuf,
    pub(crate) isolation: Isolation,
    /// Whether its instances go on from a snapshot (docs/snapshots.md).
    pub(crate) snapshot: bool,
    pub(crate) base: String,
    /// "registry/name@sha256:…", in the place of a base.
    pub(crate) image: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) limits: Limits,
    pub(crate) egress: Egress,
    /// Scheme → name of the secret.
    pub(crate) secrets: Vec<(String, String)>,
    /// The stores behind those schemes.
    pub(crate) stores: Vec<(String, Store)>,
    pub(crate) marks: Vec<String>,
    /// Whether the application itself may reach the egress list.
    pub(crate) network: bool,
    /// What runs of its initscript share.
    pub(crate) share: Option<Share>,
    /// Files of the application's that replies may be received into.
    pub(crate) files: Vec<FileSpec>,
}

/// A file that each instance has one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSpec {
    /// In the sandbox.
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Bounds of an instance; see `Limits` in schema/bridge.capnp. None is 0: where the host says nothing, a default holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory: u64,
    pub(crate) cpu_millis: u32,
    pub(crate) pids: u32,
    pub(crate) timeout_millis: u32,
    pub(crate) results: u64,
    pub(crate) rpcs: u32,
    pub(crate) connections: u32,
    pub(crate) messages: u32,
    pub(crate) rpc_timeout_millis: u32,
    pub(crate) event_bytes: u64,
    pub(crate) answer_bytes: u64,
}

impl Limits {
    /// Fills in what is 0.
    pub(crate) fn or_default(mut self) -> Self {
        fn fill<T: Default + PartialEq>(value: &mut T, default: T) {
            if *value == T::default() {
                *value = default;
            }
        }
        fill(&mut self.memory, 512 * MIB);
        fill(&mut self.cpu_millis, 1000);
        fill(&mut self.pids, 256);
        fill(&mut self.timeout_millis, 30_000);
        fill(&mut self.results, 256 * MIB);
        fill(&mut self.rpcs, 1024);
        fill(&mut self.connections, 64);
        fill(&mut self.messages, 1024);
        fill(&mut self.rpc_timeout_millis, 30_000);
        fill(&mut self.event_bytes, 6 * MIB);
        fill(&mut self.answer_bytes, 6 * MIB);
        self
    }
}

impl Function {
    /// The store for an address, `unknownSecret` when one is needed and none is named.
    pub(crate) fn store_for(&self, address: &Address) -> Result<Option<&Store>> {
        let kind = match address.scheme {
            Scheme::Rediss => Scheme::Redis.name(),
            other => other.name(),
        };
        let store = self.stores.iter().find(|(scheme, store)| scheme == kind && store.serves(address));
        if store.is_none() && address.scheme.needs_store() {
            let message = format!("{address} needs credentials: name a secret for {kind} in [secrets]");
            return Err(Error::new(ErrorCode::UnknownSecret, message));
        }
        Ok(store.map(|(_, store)| store))
    }

    /// Refuses what the egress list does not allow.
    pub(crate) fn allow(&self, request: &Request) -> Result<()> {
        match self.egress.allows(&request.verb, request.url()) {
            true => Ok(()),
            false => {
                let message = format!("{} {} is not in [egress] allow of {}", request.verb, request.url(), self.name);
                Err(Error::new(ErrorCode::EgressDenied, message))
            }
        }
    }
}

/// Functions by digest.
pub(crate) struct Functions {
    known: Mutex<HashMap<String, Arc<Function>>>,
    /// Keeps files of their sizes ready.
    pool: Arc<Pool>,
}

impl Functions {
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self { known: Mutex::default(), pool: Arc::clone(pool) }
    }

    /// Has files kept ready for those that are known, the small ones first.
    fn want_files(&self, known: &HashMap<String, Arc<Function>>) {
        let files = known.values().flat_map(|function| &function.files);
        let mut sizes: Vec<usize> = files.filter_map(|file| usize::try_from(file.bytes).ok()).collect();
        sizes.sort_unstable();
        self.pool.want_files(sizes.into_iter());
    }

    pub(crate) fn put(&self, function: Function) {
        let mut known = lock(&self.known);
        if known.len() >= MOST
            && !known.contains_key(&function.digest)
            // Any: whoever starts it puts it again. Else one tenant could keep the others' out.
            && let Some(other) = known.keys().next().cloned()
        {
            known.remove(&other);
        }
        known.insert(function.digest.clone(), Arc::new(function));
        self.want_files(&known);
    }

    /// Drops those that use a secret: put again, they have its new value.
    pub(crate) fn drop_users(&self, tenant: &str, secret: &str) {
        let uses = |function: &Function| function.secrets.iter().any(|(_, name)| name == secret);
        let mut known = lock(&self.known);
        known.retain(|_, function| function.tenant != tenant || !uses(function));
        self.want_files(&known);
    }

    /// Drops all of a tenant's.
    pub(crate) fn drop_all(&self, tenant: &str) {
        let mut known = lock(&self.known);
        known.retain(|_, function| function.tenant != tenant);
        self.want_files(&known);
    }

    /// Drops those of these files.
    pub(crate) fn drop_bundle(&self, folder: &Path) {
        let mut known = lock(&self.known);
        known.retain(|_, function| function.bundle != folder);
        self.want_files(&known);
    }

    pub(crate) fn drop(&self, digest: &str) {
        let mut known = lock(&self.known);
        known.remove(digest);
        self.want_files(&known);
    }

    pub(crate) fn find(&self, digest: &str) -> Result<Arc<Function>> {
        let found = lock(&self.known).get(digest).cloned();
        found.ok_or_else(|| {
            Error::new(ErrorCode::UnknownFunction, format!("the bridge does not know function {digest:.80}"))
        })
    }
}

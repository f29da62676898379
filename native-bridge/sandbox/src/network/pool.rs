//! Namespaces made ahead.

use super::{Namespace, Slice};
use crate::failure::failed;
use crate::names::Names;
use headstart_base::{Error, ErrorCode, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// Namespaces that are ready, refilled in the background.
pub(crate) struct Pool {
    names: Names,
    slice: Slice,
    size: usize,
    state: Mutex<State>,
    wanted: Notify,
    runtime: Handle,
    /// All that makes or destroys namespaces in the background, for [`Pool::close`] to wait for.
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    ready: Vec<Namespace>,
    used: BTreeSet<u16>,
    next: u16,
    closed: bool,
}

impl Pool {
    /// Fills the pool in the background, and keeps it filled until [`Pool::close`].
    pub(crate) fn open(names: Names, slice: Slice, size: usize) -> Arc<Self> {
        let size = size.min(usize::from(slice.links()) / 2);
        let pool = Arc::new(Self {
            names,
            slice,
            size,
            state: Mutex::default(),
            wanted: Notify::new(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        });
        pool.wanted.notify_one();
        pool.tasks.spawn(Arc::clone(&pool).refill());
        pool
    }

    /// No lock is held across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a namespace, or makes one when none is ready.
    pub(crate) async fn reserve(self: &Arc<Self>) -> Result<Reservation> {
        let ready = {
            let mut state = self.state();
            if state.closed {
                return Err(Error::new(ErrorCode::NodeDraining, "the node's sandboxes are shut down"));
            }
            state.ready.pop()
        };
        self.wanted.notify_one();
        let reservation = |namespace, pool| Reservation { namespace: Some(namespace), pool };
        if let Some(namespace) = ready {
            return Ok(reservation(namespace, Arc::clone(self)));
        }
        // A task, which ends its work also when nobody waits for it any more.
        let pool = Arc::clone(self);
        let made = self.tasks.spawn(async move { pool.create().await.map(|namespace| reservation(namespace, pool)) });
        made.await.map_err(|error| failed("network", error))?
    }

    async fn create(&self) -> Result<Namespace> {
        let number = self.take_number()?;
        let made = Namespace::create(&self.names, &self.slice, number).await;
        if made.is_err() {
            self.state().used.remove(&number);
        }
        made
    }

    fn take_number(&self) -> Result<u16> {
        let mut state = self.state();
        let links = self.slice.links();
        let start = state.next;
        let free = (0..links).map(|step| (start + step) % links).find(|number| !state.used.contains(number));
        let number = free.ok_or_else(|| failed("network", format_args!("all {links} of this node are in use")))?;
        state.used.insert(number);
        state.next = (number + 1) % links;
        Ok(number)
    }

    async fn refill(self: Arc<Self>) {
        loop {
            self.wanted.notified().await;
            loop {
                {
                    let state = self.state();
                    if state.closed {
                        return;
                    }
                    if state.ready.len() >= self.size {
                        break;
                    }
                }
                match self.create().await {
                    Ok(namespace) => self.put(namespace).await,
                    Err(error) => {
                        tracing::warn!(%error, "no network namespace for the pool");
                        break;
                    }
                }
            }
        }
    }

    /// Puts an unused namespace into the pool, or destroys it when that is full or closed.
    async fn put(&self, namespace: Namespace) {
        let surplus = {
            let mut state = self.state();
            if state.closed || state.ready.len() >= self.size {
                Some(namespace)
            } else {
                state.ready.push(namespace);
                None
            }
        };
        if let Some(namespace) = surplus {
            self.destroy(namespace).await;
        }
    }

    async fn destroy(&self, namespace: Namespace) {
        let number = namespace.number;
        namespace.destroy().await;
        self.state().used.remove(&number);
    }

    /// Destroys all that is ready, and what is being made or given back. What is still reserved follows when it is given
    /// back.
    pub(crate) async fn close(&self) {
        self.state().closed = true;
        self.wanted.notify_one();
        self.tasks.close();
        self.tasks.wait().await;
        let ready = std::mem::take(&mut self.state().ready);
        for namespace in ready {
            self.destroy(namespace).await;
        }
    }

    /// The names of all that exist: (namespaces, links).
    pub(crate) fn inventory(&self) -> (Vec<String>, Vec<String>) {
        self.state().used.iter().map(|number| (self.names.namespace(*number), self.names.link(*number))).unzip()
    }
}

/// A network namespace that waits for its sandbox. Dropped: given back to the pool.
pub struct Reservation {
    namespace: Option<Namespace>,
    pool: Arc<Pool>,
}

impl Reservation {
    pub(crate) fn namespace(&self) -> Result<&Namespace> {
        self.namespace.as_ref().ok_or_else(|| failed("network", "the reservation is used up"))
    }

    /// Destroys a namespace that was used: an app's connections may still linger in it.
    pub(crate) async fn destroy(mut self) {
        if let Some(namespace) = self.namespace.take() {
            self.pool.destroy(namespace).await;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(namespace) = self.namespace.take() {
            let pool = Arc::clone(&self.pool);
            self.pool.tasks.spawn_on(async move { pool.put(namespace).await }, &self.pool.runtime);
        }
    }
}

//! A runner for each tenant, behind a fixed number of slots, and spare ones that have run nothing.
//!
//! The host's bindings are fixed when it starts, so it has one for each slot, and says whose a slot is. What is put into a slot
//! is the tenant's own runner or a spare one: a process that has run a tenant's scripts is never another's, but ended.

use crate::config::{RunnerConfig, Status, group};
use crate::supervisor::{Ground, Runner};
use headstart_base::{Error, ErrorCode, Result};
use headstart_sandbox::{Line, Users, tag};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// When a spare one is made after another was taken: that one's first start has the machine to itself until then.
const WARM_DELAY: Duration = Duration::from_secs(1);

/// How long the host may take to close what was cut.
const CUT_LIMIT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct RunnersConfig {
    pub runner: RunnerConfig,
    /// How many tenants may have a runner at one time.
    pub slots: u16,
    /// Runners that are kept ready for tenants without one.
    pub spares: u16,
    /// The node's: each runner takes one of them.
    pub users: Users,
}

/// A runner as others see it.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// None: a spare one.
    pub slot: Option<u16>,
    /// Empty: a spare one.
    pub tenant: String,
    /// Its cgroup.
    pub cgroup: String,
    /// What it runs as.
    pub user: u32,
    #[serde(flatten)]
    pub status: Status,
}

/// All runners of a node.
pub struct Runners {
    ground: Ground,
    spares: usize,
    table: Mutex<Table>,
    /// A spare one was taken.
    taken: Notify,
    breaches: AtomicU64,
}

struct Table {
    slots: Vec<Option<Assigned>>,
    spare: VecDeque<Arc<Runner>>,
    /// Those that were ended and may not be reaped yet.
    ending: Vec<Arc<Runner>>,
    last_number: u32,
    closed: bool,
}

impl Table {
    /// Ends a runner beside what goes on. The connections to it are over when nobody receives any more.
    fn end(&mut self, Assigned { runner, tenant, open }: Assigned) -> watch::Sender<bool> {
        runner.say(&format!("is tenant {tenant}'s no more, and ends"));
        open.send_replace(false);
        runner.stop();
        self.ending.retain(|runner| !runner.is_over());
        self.ending.push(runner);
        open
    }
}

struct Assigned {
    tenant: String,
    runner: Arc<Runner>,
    /// Says false, or is dropped: connections to it through the slot end. Each holds a receiver as long as it is there.
    open: watch::Sender<bool>,
}

impl Assigned {
    fn new(tenant: &str, runner: Arc<Runner>) -> Self {
        Self { tenant: tenant.to_owned(), runner, open: watch::Sender::new(true) }
    }
}

impl Runners {
    /// Starts the spare ones. Lines are the runners' output and what is said of them. Call it within a runtime; `Sandboxes` of
    /// the same run folder must exist before, since they reap what they find.
    pub fn start(config: RunnersConfig, lines: mpsc::Sender<Line>) -> Result<Arc<Self>> {
        let slots = (0..config.slots).map(|_| None).collect();
        let runners = Arc::new(Self {
            ground: Ground::new(config.runner, config.users, lines)?,
            spares: usize::from(config.spares),
            table: Mutex::new(Table {
                slots,
                spare: VecDeque::new(),
                ending: Vec::new(),
                last_number: 0,
                closed: false,
            }),
            taken: Notify::new(),
            breaches: AtomicU64::new(0),
        });
        runners.warm();
        tokio::spawn(Self::keep_warm(Arc::clone(&runners)));
        Ok(runners)
    }

    /// No lock is held across a wait.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_warm(self: Arc<Self>) {
        loop {
            self.taken.notified().await;
            tokio::time::sleep(WARM_DELAY).await;
            if !self.warm() {
                return;
            }
        }
    }

    /// Starts as many spare ones as are missing. False once all are to end.
    fn warm(&self) -> bool {
        let mut table = self.table();
        while !table.closed && table.spare.len() < self.spares {
            match self.begin(&mut table) {
                Ok(runner) => table.spare.push_back(runner),
                Err(error) => {
                    tracing::warn!(%error, "no spare runner");
                    break;
                }
            }
        }
        !table.closed
    }

    fn begin(&self, table: &mut Table) -> Result<Arc<Runner>> {
        table.last_number += 1;
        Runner::start(&self.ground, table.last_number)
    }

    /// Makes a slot a tenant's. It gets the runner that it has in whatever slot, else a spare one, else a new one, which may
    /// not be ready yet. The runner of the tenant whose slot it was is ended, and its connections are over when this returns:
    /// what the host sends from then on goes to the new one.
    pub async fn assign(&self, slot: u16, tenant: &str) -> Result<()> {
        let cut = self.put(slot, tenant)?;
        for open in cut {
            if tokio::time::timeout(CUT_LIMIT, open.closed()).await.is_err() {
                tracing::warn!(slot, "connections to the slot's last runner do not end");
            }
        }
        Ok(())
    }

    /// What was connected to slots that are another's now.
    fn put(&self, slot: u16, tenant: &str) -> Result<Vec<watch::Sender<bool>>> {
        let mut table = self.table();
        if table.closed {
            return Err(Error::new(ErrorCode::NodeDraining, "the runners are shut down"));
        }
        let index = usize::from(slot);
        let most = table.slots.len();
        match table.slots.get(index) {
            None => {
                let message = format!("there are {most} slots for runners, and no slot {slot}");
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
            Some(Some(assigned)) if assigned.tenant == tenant => return Ok(Vec::new()),
            Some(_) => {}
        }
        let own = table.slots.iter_mut().find(|place| place.as_ref().is_some_and(|it| it.tenant == tenant));
        let mut cut = Vec::new();
        let runner = match own.and_then(Option::take) {
            Some(own) => {
                own.open.send_replace(false);
                cut.push(own.open);
                own.runner
            }
            None => {
                self.taken.notify_one();
                match table.spare.pop_front() {
                    Some(spare) => spare,
                    None => self.begin(&mut table)?,
                }
            }
        };
        runner.say(&format!("is tenant {tenant}'s, in slot {slot}"));
        if let Some(before) = table.slots.get_mut(index).and_then(|place| place.replace(Assigned::new(tenant, runner)))
        {
            cut.push(table.end(before));
        }
        Ok(cut)
    }

    /// Ends a tenant's runner, if it has one.
    pub fn release(&self, tenant: &str) {
        let mut table = self.table();
        let owned = |place: &mut Option<Assigned>| place.take_if(|assigned| assigned.tenant == tenant);
        if let Some(before) = table.slots.iter_mut().find_map(owned) {
            drop(table.end(before));
        }
    }

    /// The runner in a slot; the receiver changes when it is not in it any more.
    pub(crate) fn at(&self, slot: u16) -> Option<(Arc<Runner>, watch::Receiver<bool>)> {
        let table = self.table();
        let assigned = table.slots.get(usize::from(slot))?.as_ref()?;
        Some((Arc::clone(&assigned.runner), assigned.open.subscribe()))
    }

    /// The status of a tenant's runner.
    pub fn of(&self, tenant: &str) -> Option<Status> {
        self.runner_of(tenant).map(|runner| runner.status())
    }

    pub(crate) fn runner_of(&self, tenant: &str) -> Option<Arc<Runner>> {
        let table = self.table();
        let assigned = table.slots.iter().flatten().find(|assigned| assigned.tenant == tenant)?;
        Some(Arc::clone(&assigned.runner))
    }

    /// All of them: by slot, then the spare ones.
    pub fn all(&self) -> Vec<Known> {
        let parent = format!("headstart/{}", tag(&self.ground.config.run_dir));
        let known = |slot, tenant: &str, runner: &Runner| Known {
            slot,
            tenant: tenant.to_owned(),
            cgroup: format!("{parent}/{}", group(runner.number)),
            user: runner.user,
            status: runner.status(),
        };
        let table = self.table();
        let assigned = (0_u16..)
            .zip(&table.slots)
            .filter_map(|(slot, place)| place.as_ref().map(|it| known(Some(slot), &it.tenant, &it.runner)));
        assigned.chain(table.spare.iter().map(|runner| known(None, "", runner))).collect()
    }

    pub fn slots(&self) -> u16 {
        u16::try_from(self.table().slots.len()).unwrap_or(u16::MAX)
    }

    /// How many processes there have been.
    pub fn started(&self) -> u32 {
        self.ground.started()
    }

    /// How many connections ended because a runner broke the relay's bounds.
    pub fn breaches(&self) -> u64 {
        self.breaches.load(Ordering::Relaxed)
    }

    pub(crate) fn breached(&self) {
        self.breaches.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends all runners for good, and reaps all of them.
    pub async fn shutdown(&self) {
        let runners: Vec<Arc<Runner>> = {
            let mut table = self.table();
            table.closed = true;
            let assigned: Vec<_> = table.slots.iter_mut().filter_map(Option::take).map(|it| it.runner).collect();
            let ending = std::mem::take(&mut table.ending);
            assigned.into_iter().chain(table.spare.drain(..)).chain(ending).collect()
        };
        self.taken.notify_one();
        for runner in &runners {
            runner.stop();
        }
        for runner in runners {
            runner.shutdown().await;
        }
        self.ground.remove_groups();
    }
}

//! Tenants: what each may use of the node, and what it uses.
//!
//! The host says who there is and how much each may have; here is where it is counted, because here is where it is a fact.
//! What is counted is given back when it is dropped, however an instance ends; a restarted bridge has reaped all instances,
//! has forgotten the tenants, and is told of each again when it is asked for an instance of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::Budget;
use serde::Deserialize;

use crate::sync::lock;

/// Tenants at one time.
const MOST: usize = 4096;
/// Services of a tenant of which the host says nothing.
const SERVICES: u64 = 32;

/// What a tenant may use at one time; what is absent has no bound but the node's.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Bytes: the memory limits of running sandboxes, and all segments.
    pub(crate) memory: Option<u64>,
    /// Instances that have a function.
    pub(crate) instances: Option<u64>,
    /// Connections to services, those kept for the next request included.
    pub(crate) connections: Option<u64>,
    /// Services that run or are started again.
    pub(crate) services: Option<u64>,
}

/// A tenant. Instances hold it, so one that was removed is there until the last of them is reaped.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) memory: Arc<Budget>,
    instances: AtomicU64,
    most_instances: AtomicU64,
    most_services: AtomicU64,
}

/// An instance that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Tenant>);

impl Tenant {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            memory: Budget::tenant(u64::MAX),
            instances: AtomicU64::new(0),
            most_instances: AtomicU64::new(u64::MAX),
            most_services: AtomicU64::new(SERVICES),
        })
    }

    fn limit(&self, quota: Quota) {
        self.memory.set_limit(quota.memory.unwrap_or(u64::MAX));
        self.most_instances.store(quota.instances.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.most_services.store(quota.services.unwrap_or(SERVICES), Ordering::Relaxed);
    }

    /// Counts one instance more. `quotaExceeded` when there are as many as may be.
    pub(crate) fn begin_instance(self: &Arc<Self>) -> Result<Counted> {
        let most = self.most_instances.load(Ordering::Relaxed);
        let counted = self.instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            count.checked_add(1).filter(|count| *count <= most)
        });
        match counted {
            Ok(_) => Ok(Counted(Arc::clone(self))),
            Err(count) => {
                let message = format!("{count} instances run, and the tenant's quota of instances is {most}");
                Err(Error::new(ErrorCode::QuotaExceeded, message))
            }
        }
    }

    /// Refuses one service more than these. Whoever asks counts them.
    pub(crate) fn allow_service(&self, running: usize) -> Result<()> {
        let most = self.most_services.load(Ordering::Relaxed);
        if running as u64 >= most {
            let message = format!("{running} services run, and the tenant's quota of services is {most}");
            return Err(Error::new(ErrorCode::QuotaExceeded, message));
        }
        Ok(())
    }

    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tenants that the host has told of, by name.
#[derive(Default)]
pub(crate) struct Tenants {
    known: Mutex<HashMap<String, Arc<Tenant>>>,
}

impl Tenants {
    /// Adds a tenant, or changes what it may use. What it uses already stays.
    pub(crate) fn put(&self, name: &str, quota: Quota) -> Result<()> {
        let mut known = lock(&self.known);
        if known.len() >= MOST && !known.contains_key(name) {
            return Err(Error::new(ErrorCode::TooMany, format!("the bridge knows at most {MOST} tenants")));
        }
        known.entry(name.to_owned()).or_insert_with(|| Tenant::new(name)).limit(quota);
        Ok(())
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<Tenant>> {
        let found = lock(&self.known).get(name).cloned();
        found.ok_or_else(|| {
            Error::new(ErrorCode::UnknownTenant, format!("the bridge was not told of tenant {name:.64}"))
        })
    }

    /// Forgets a tenant: no instance of it can be made from now on.
    pub(crate) fn remove(&self, name: &str) {
        lock(&self.known).remove(name);
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = lock(&self.known).values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_runs_and_says_the_limit_and_the_use() {
        let tenants = Tenants::default();
        assert_eq!(tenants.find("a").unwrap_err().code, ErrorCode::UnknownTenant);
        tenants.put("a", Quota { instances: Some(1), ..Quota::default() }).unwrap();
        let tenant = tenants.find("a").unwrap();
        let first = tenant.begin_instance().unwrap();
        let error = tenant.begin_instance().unwrap_err();
        assert_eq!(error.code, ErrorCode::QuotaExceeded);
        assert_eq!(error.message, "1 instances run, and the tenant's quota of instances is 1");
        tenants.put("a", Quota { instances: Some(2), memory: Some(5), ..Quota::default() }).unwrap();
        let second = tenant.begin_instance().unwrap();
        assert!(tenant.memory.charge(6).is_err() && tenant.memory.charge(5).is_ok());
        drop(first);
        tenants.remove("a");
        assert!(tenants.find("a").is_err());
        drop(second);
        assert_eq!(tenant.instances(), 0);
    }
}

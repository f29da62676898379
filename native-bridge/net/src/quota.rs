//! How many connections each tenant has open, and how many it may have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headstart_base::{Error, ErrorCode, Result};

/// By tenant. One that nobody has limited is counted, too.
#[derive(Default)]
pub(crate) struct Quotas {
    of: Mutex<HashMap<String, Arc<Count>>>,
}

#[derive(Debug)]
struct Count {
    open: AtomicU64,
    most: AtomicU64,
}

/// One open connection of a tenant, counted until this is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Count>);

impl Quotas {
    /// Says how many a tenant may have. Those that are open stay.
    pub(crate) fn limit(&self, tenant: &str, most: u64) {
        self.count(tenant).most.store(most, Ordering::Relaxed);
    }

    /// How many a tenant has.
    pub(crate) fn open(&self, tenant: &str) -> u64 {
        self.lock().get(tenant).map_or(0, |count| count.open.load(Ordering::Relaxed))
    }

    /// Forgets a tenant's limit. What is open is counted no more.
    pub(crate) fn forget(&self, tenant: &str) {
        self.lock().remove(tenant);
    }

    /// Counts one connection more. `quotaExceeded` when there are as many as may be.
    pub(crate) fn take(&self, tenant: &str) -> Result<Permit> {
        let count = self.count(tenant);
        let most = count.most.load(Ordering::Relaxed);
        let taken = count.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            open.checked_add(1).filter(|open| *open <= most)
        });
        match taken {
            Ok(_) => Ok(Permit(count)),
            Err(open) => {
                let message = format!("{open} connections are open, and the tenant's quota of connections is {most}");
                Err(Error::new(ErrorCode::QuotaExceeded, message))
            }
        }
    }

    fn count(&self, tenant: &str) -> Arc<Count> {
        let mut of = self.lock();
        if let Some(count) = of.get(tenant) {
            return Arc::clone(count);
        }
        let count = Arc::new(Count { open: AtomicU64::new(0), most: AtomicU64::new(u64::MAX) });
        of.insert(tenant.to_owned(), Arc::clone(&count));
        count
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Count>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_tenant_and_says_the_limit_and_the_use() {
        let quotas = Quotas::default();
        let unlimited = quotas.take("a").unwrap();
        quotas.limit("a", 2);
        let second = quotas.take("a").unwrap();
        let error = quotas.take("a").unwrap_err();
        assert_eq!(error.code, ErrorCode::QuotaExceeded);
        assert_eq!(error.message, "2 connections are open, and the tenant's quota of connections is 2");
        assert!(quotas.take("b").is_ok());
        drop(unlimited);
        assert_eq!((quotas.open("a"), quotas.open("b"), quotas.open("c")), (1, 0, 0));
        drop(second);
        quotas.forget("a");
        assert!((0..5).map(|_| quotas.take("a")).collect::<Result<Vec<_>>>().is_ok());
    }
}

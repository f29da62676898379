//! Bounds on the bytes that an instance and the node hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headstart_base::{Error, ErrorCode, Result};

/// A bound on bytes, shared by all that draw on it.
#[derive(Debug)]
pub struct Budget {
    /// What is told when it is full: `instanceMemoryFull`, `quotaExceeded` or `nodeMemoryFull`.
    code: ErrorCode,
    limit: AtomicU64,
    used: AtomicU64,
    /// What is drawn here is drawn there, too.
    within: Option<Arc<Budget>>,
}

impl Budget {
    /// The budget of the whole node.
    pub fn node(limit: u64) -> Arc<Self> {
        Self::new(ErrorCode::NodeMemoryFull, limit, None)
    }

    /// The budget of one tenant.
    pub fn tenant(limit: u64) -> Arc<Self> {
        Self::new(ErrorCode::QuotaExceeded, limit, None)
    }

    /// The budget of one instance.
    pub fn instance(limit: u64) -> Arc<Self> {
        Self::new(ErrorCode::InstanceMemoryFull, limit, None)
    }

    /// The budget of one instance of a tenant.
    pub fn instance_of(tenant: &Arc<Self>, limit: u64) -> Arc<Self> {
        Self::new(ErrorCode::InstanceMemoryFull, limit, Some(Arc::clone(tenant)))
    }

    fn new(code: ErrorCode, limit: u64, within: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { code, limit: AtomicU64::new(limit), used: AtomicU64::new(0), within })
    }

    /// Changes the bound; what is already drawn stays drawn. (A spare instance learns its limits at its start.)
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Draws `bytes`; they are given back when the charge is dropped.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge> {
        let limit = self.limit();
        let drawn = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        match drawn {
            Ok(_) => {
                let mut charge = Charge { budget: Arc::clone(self), bytes, within: None };
                if let Some(within) = &self.within {
                    charge.within = Some(Box::new(within.charge(bytes)?));
                }
                Ok(charge)
            }
            Err(used) => {
                let whose = match self.code {
                    ErrorCode::NodeMemoryFull => "node's limit",
                    ErrorCode::QuotaExceeded => "tenant's memory quota",
                    _ => "instance's limit",
                };
                let message = format!("{bytes} bytes more than the {used} in use exceed the {whose} of {limit}");
                Err(Error::new(self.code, message))
            }
        }
    }
}

/// Bytes drawn from a budget until it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    within: Option<Box<Charge>>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_and_gives_back() {
        let budget = Budget::instance(100);
        let first = budget.charge(60).unwrap();
        let error = budget.charge(41).unwrap_err();
        assert_eq!(error.code, ErrorCode::InstanceMemoryFull);
        let second = budget.charge(40).unwrap();
        assert_eq!(budget.used(), 100);
        drop(first);
        drop(second);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.charge(u64::MAX).unwrap_err().code, ErrorCode::InstanceMemoryFull);
    }

    #[test]
    fn what_an_instance_draws_its_tenant_draws() {
        let tenant = Budget::tenant(100);
        let (one, other) = (Budget::instance_of(&tenant, 80), Budget::instance_of(&tenant, 80));
        let first = one.charge(70).unwrap();
        let error = other.charge(31).unwrap_err();
        assert_eq!(error.code, ErrorCode::QuotaExceeded);
        assert!(error.message.contains("70 in use") && error.message.contains("quota of 100"), "{}", error.message);
        assert_eq!((other.used(), tenant.used()), (0, 70), "what was refused is not drawn");
        assert_eq!(one.charge(11).unwrap_err().code, ErrorCode::InstanceMemoryFull);
        drop(first);
        assert_eq!((one.used(), tenant.used()), (0, 0));
    }

    #[test]
    fn names_the_node() {
        let budget = Budget::node(10);
        assert_eq!(budget.charge(11).unwrap_err().code, ErrorCode::NodeMemoryFull);
        budget.set_limit(11);
        assert!(budget.charge(11).is_ok());
    }
}

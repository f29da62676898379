//! Requests that are under way, by their bytes: a connection of an application's can be left, and its call goes on.

use std::sync::Arc;

use headstart_base::Result;
use headstart_memory::{Budget, Charge};

use crate::instance::Instance;

/// Bytes of one instance's.
const MOST_BYTES: u64 = 256 << 20;

/// An instance's own bound on them.
pub(super) struct Bodies(Arc<Budget>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Budget::instance(MOST_BYTES))
    }
}

/// A body, counted until this is dropped: of its instance, its tenant and the node.
pub(super) struct Body {
    _charges: Option<[Charge; 3]>,
}

impl Instance {
    /// `instanceMemoryFull`, `quotaExceeded`, `nodeMemoryFull`.
    pub(super) fn count_body(&self, body: &[u8]) -> Result<Body> {
        if body.is_empty() {
            return Ok(Body { _charges: None });
        }
        let own = Arc::clone(&self.lock().bodies.0);
        let length = body.len() as u64;
        let (tenant, node) = (&self.account.memory, self.node.pool.node_budget());
        Ok(Body { _charges: Some([own.charge(length)?, tenant.charge(length)?, node.charge(length)?]) })
    }
}

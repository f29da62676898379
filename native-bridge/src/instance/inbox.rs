//! Messages from the application to its initscript.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use headstart_base::{ErrorCode, Result};
use headstart_memory::{Budget, Charge};

use crate::instance::event::Kind;
use crate::instance::{Instance, Stage, closed, error};

/// Bytes of one message.
const MOST_MESSAGE: usize = 1 << 20;
/// Bytes of all messages of an application.
const MOST_BYTES: u64 = 16 << 20;
/// Bodies up to this size are told together with the fact that they are there.
const INLINE: usize = 16 << 10;

/// What an application has sent, kept for as long as the instance lives: the host may ask again after a broken stream.
pub(super) struct Inbox {
    budget: Arc<Budget>,
    messages: HashMap<u64, Kept>,
}

struct Kept {
    bytes: Bytes,
    _charges: [Charge; 3],
}

impl Default for Inbox {
    fn default() -> Self {
        Self { budget: Budget::instance(MOST_BYTES), messages: HashMap::new() }
    }
}

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.messages.contains_key(&id)
    }

    /// Gives the memory back.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }
}

impl Instance {
    /// SendMsg of the application.
    ///
    /// `messageDuplicate` for an id that it sent before, `payloadTooLarge`, `tooMany`, `instanceMemoryFull`,
    /// `quotaExceeded`, `nodeMemoryFull`.
    pub(crate) fn send_message(&self, id: u64, bytes: Vec<u8>) -> Result<()> {
        let Some(function) = self.function().filter(|_| self.stage() == Stage::Started) else {
            return Err(closed());
        };
        if bytes.len() > MOST_MESSAGE {
            let message = format!("a message of {} bytes: it has at most {MOST_MESSAGE}", bytes.len());
            return Err(error(ErrorCode::PayloadTooLarge, message));
        }
        let mut state = self.lock();
        let inbox = &mut state.inbox;
        if inbox.messages.contains_key(&id) {
            return Err(error(ErrorCode::MessageDuplicate, format!("the application sent message {id} before")));
        }
        let most = function.limits.messages;
        if inbox.messages.len() >= most as usize {
            return Err(error(ErrorCode::TooMany, format!("an application may send its initscript {most} messages")));
        }
        let length = bytes.len() as u64;
        let (tenant, node) = (&self.account.memory, self.node.pool.node_budget());
        let charges = [inbox.budget.charge(length)?, tenant.charge(length)?, node.charge(length)?];
        let bytes = Bytes::from(bytes);
        let inlined = (bytes.len() <= INLINE).then(|| bytes.clone());
        inbox.messages.insert(id, Kept { bytes, _charges: charges });
        drop(state);
        self.events.push(Kind::AppMessage { id, length, inlined });
        Ok(())
    }

    /// Bytes of a message that the application sent.
    pub(crate) fn read_message(&self, id: u64, offset: u64, length: u32) -> Result<Bytes> {
        let state = self.lock();
        let Some(kept) = state.inbox.messages.get(&id) else {
            return Err(error(ErrorCode::NotFound, format!("the application sent no message {id}")));
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(kept.bytes.len());
        let to = from.saturating_add(length as usize).min(kept.bytes.len());
        Ok(kept.bytes.slice(from..to))
    }
}

//! Messages that a connection has claimed before its program asked for them.

use std::time::Duration;

use crate::connection::Answered;
use crate::error::Result;
use crate::numbers::{self, Code};
use crate::packet::Request;

/// Claims of one connection: those that wait for their answers, in the order in which they were sent, and answers that wait for who
/// asks for them. There are few of either.
#[derive(Default)]
pub(crate) struct Early {
    posted: Vec<Posted>,
    kept: Vec<Kept>,
}

/// A claim that was sent, and not answered yet.
pub(crate) struct Posted {
    pub(crate) id: u64,
    pub(crate) content: String,
    pub(crate) sequence: u32,
    pub(crate) timeout: Duration,
}

struct Kept {
    id: u64,
    content: String,
    answer: Result<Answered>,
}

impl Early {
    pub(crate) fn post(&mut self, claim: Posted) {
        self.posted.push(claim);
    }

    /// The claims whose answers come next: they are to be received, and kept.
    pub(crate) fn posted(&mut self) -> Vec<Posted> {
        std::mem::take(&mut self.posted)
    }

    pub(crate) fn keep(&mut self, Posted { id, content, .. }: Posted, answer: Result<Answered>) {
        self.kept.push(Kept { id, content, answer });
    }

    /// Whether an answer to this request is still to come.
    pub(crate) fn has_posted(&self, request: &Request<'_>) -> bool {
        is_claim(request) && self.posted.iter().any(|posted| posted.id == request.id)
    }

    /// The answer to a claim, if its message was claimed under the same content. Whether another content means the same, the
    /// bridge knows.
    pub(crate) fn take(&mut self, request: &Request<'_>) -> Option<Result<Answered>> {
        let same = |it: &Kept| request.payload.is_empty() || request.payload == it.content.as_bytes();
        self.remove(request, same)
    }

    /// What a claim of which the bridge was asked came to after all: it has compared the contents before it says that the
    /// message was claimed.
    pub(crate) fn or(&mut self, request: &Request<'_>, answer: Result<Answered>) -> Result<Answered> {
        match answer {
            Err(error) if error.code == Code::AlreadyClaimed => self.remove(request, |_| true).unwrap_or(Err(error)),
            answer => answer,
        }
    }

    fn remove(&mut self, request: &Request<'_>, which: impl Fn(&Kept) -> bool) -> Option<Result<Answered>> {
        let at = self.kept.iter().position(|it| is_claim(request) && it.id == request.id && which(it))?;
        Some(self.kept.swap_remove(at).answer)
    }
}

fn is_claim(request: &Request<'_>) -> bool {
    request.op == numbers::OP_RECV_MSG
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::client::{Client, Wait};
    use crate::fake_bridge::{Asked, Deed, FakeBridge, Told, memory};
    use crate::numbers::{
        FLAG_DONE, FLAG_LENGTH_KNOWN, FLAG_NO_FD, FLAG_PROGRESSIVE, OP_AWAIT, OP_RECV_MSG, OP_SEGMENT,
    };

    const BYTES: &[u8] = b"early";
    const CONTENT: &str = "GET http://h:1/x";

    /// News of segments 1 to 3: in the first is message 11 and in the second 12, of the same content; of the third nothing is said.
    fn news(asked: &Asked) -> Deed {
        let (offset, payload) = match asked.b {
            before @ (0 | 1) => (before + 11, CONTENT),
            _ => (0, ""),
        };
        let told = Told::of(asked.b + 1, BYTES.len(), Some(memory(BYTES)));
        match asked.b {
            0..3 => Deed::Tell(Told { id: asked.b + 1, offset, payload, ..told }),
            _ => Deed::Tell(Told::error(Code::Deadline)),
        }
    }

    fn claims(bridge: &FakeBridge) -> Vec<(u64, u32)> {
        let asked = bridge.asked(0, |_| true);
        asked.iter().filter(|asked| asked.op == OP_RECV_MSG).map(|asked| (asked.id, asked.flags)).collect()
    }

    #[test]
    fn what_was_claimed_ahead_is_received_without_asking() {
        let bridge = FakeBridge::start(|asked| match (asked.op, asked.id) {
            (OP_SEGMENT, _) => news(asked),
            (OP_RECV_MSG, id @ (11 | 12)) => Deed::Tell(Told::of(id - 10, BYTES.len(), None)),
            _ => Deed::Tell(Told::of(3, BYTES.len(), None)),
        });
        let client = Client::at(&bridge.path);
        client.claim_ahead(Wait::default().timeout).unwrap();
        let replies = client.recv_msgs(&[(12, CONTENT), (13, "GET http://h:1/y"), (11, "")], Wait::default());
        assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.there() == BYTES)));
        let early = FLAG_PROGRESSIVE | FLAG_NO_FD;
        assert_eq!(claims(&bridge), [(11, early), (12, early), (13, FLAG_NO_FD)]);
        // Once.
        assert!(client.recv_msg(12, CONTENT, Wait::default()).is_ok());
        assert_eq!(claims(&bridge).len(), 4);
    }

    #[test]
    fn another_content_is_the_bridges_to_compare() {
        let again = std::sync::atomic::AtomicBool::new(false);
        let bridge = FakeBridge::start(move |asked| match (asked.op, asked.id) {
            (OP_SEGMENT, _) => news(asked),
            (OP_RECV_MSG, 11) if again.swap(true, std::sync::atomic::Ordering::Relaxed) => {
                Deed::Tell(Told::error(Code::AlreadyClaimed))
            }
            (OP_RECV_MSG, 12) if asked.flags & FLAG_PROGRESSIVE == 0 => Deed::Tell(Told::error(Code::Diverged)),
            _ => Deed::Tell(Told::of(asked.id - 10, BYTES.len(), None)),
        });
        let client = Client::at(&bridge.path);
        client.claim_ahead(Wait::default().timeout).unwrap();
        let same = client.recv_msg(11, "GET HTTP://H:1/x", Wait::default()).unwrap();
        assert_eq!(same.there(), BYTES);
        let other = client.recv_msg(12, "GET http://h:1/z", Wait::default());
        assert_eq!(other.unwrap_err().code, Code::Diverged);
        assert_eq!(claims(&bridge).len(), 4);
    }

    #[test]
    fn what_broke_off_is_an_error_to_who_asks_for_it() {
        let bridge = FakeBridge::start(|asked| match (asked.op, asked.id) {
            (OP_SEGMENT, _) => news(asked),
            (OP_RECV_MSG, 11) => Deed::Tell(Told::error(Code::ConnectionReset)),
            (OP_RECV_MSG, 12) => Deed::Cut,
            _ => Deed::Wait,
        });
        let client = Client::at(&bridge.path);
        client.claim_ahead(Wait::default().timeout).unwrap();
        let codes = client.recv_msgs(&[(11, CONTENT), (12, CONTENT)], Wait::default());
        let codes: Vec<Code> = codes.into_iter().map(|reply| reply.unwrap_err().code).collect();
        assert_eq!(codes, [Code::ConnectionReset, Code::BridgeLost]);
    }

    #[test]
    fn who_wants_all_bytes_waits_for_them() {
        let bridge = FakeBridge::start(|asked| match asked.op {
            OP_SEGMENT => news(asked),
            OP_RECV_MSG => Deed::Tell(Told { flags: FLAG_LENGTH_KNOWN, ..Told::of(asked.id - 10, BYTES.len(), None) }),
            OP_AWAIT => Deed::Tell(Told { flags: FLAG_DONE, ..Told::of(asked.a, BYTES.len(), None) }),
            _ => Deed::Wait,
        });
        let client = Client::at(&bridge.path);
        client.claim_ahead(Wait::default().timeout).unwrap();
        assert_eq!(client.recv_msg(11, CONTENT, Wait::default()).unwrap().there(), BYTES);
    }
}

//! An instance's events.

use headstart_base::ErrorCode;
use headstart_base::bridge_capnp::{conn_taken, event, instance};
use headstart_base::errors_capnp;

use super::LIMIT;
use super::host::assert_ok;

/// An event as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Received(u64),
    Started,
    SandboxCreated(u32),
    AppConnected(String),
    Taken(u64),
    Begun(u64),
    Answered { invocation: u64, bytes: u64, error: ErrorCode },
    Mark(String),
    Log(String),
    Exited { status: i32, error: ErrorCode },
    Accepted { rpc: u64, content: String },
    Sent { rpc: u64, reused: bool },
    Shared(u64),
    ImagePulled { bytes: u64, layers: u32 },
    ImageUnpacked(u64),
    InitscriptPulled { bytes: u64 },
    FirstByte(u64),
    Done { rpc: u64, status: u16, length: u64, inlined: Vec<u8>, segment: u32, attempts: u16, error: ErrorCode },
    Claimed { claim: u64, id: u64, content: String, diverges: String },
    ClaimedConn { claim: u64, id: u64, address: String },
    Served { id: u64, bytes: u64, error: ErrorCode },
    Called { content: String, status: u16, bytes: u64, error: ErrorCode },
    Noted(String),
    Published(u64),
    MessageFailed { id: u64, error: ErrorCode },
    AppMessage { id: u64, length: u64, inlined: Vec<u8> },
    ConnOffered { id: u64, address: String },
    ConnReady { id: u64, address: String, error: ErrorCode },
    ConnTaken { id: u64, address: String, kind: conn_taken::Kind, error: ErrorCode },
    ConnClosed { id: u64, received: u64, sent: u64, error: ErrorCode },
    ConnReleased { id: u64, address: String },
    Ended { reason: String, unclaimed: u32, segments: u32 },
}

fn code(error: capnp::Result<errors_capnp::error::Reader<'_>>) -> ErrorCode {
    error.unwrap().get_code().unwrap()
}

fn text(text: capnp::Result<capnp::text::Reader<'_>>) -> String {
    text.unwrap().to_string().unwrap()
}

fn seen(event: event::Reader<'_>) -> Seen {
    match event.which().unwrap() {
        event::Received(()) => Seen::Received(event.get_at()),
        event::Started(()) => Seen::Started,
        event::SandboxCreated(pid) => Seen::SandboxCreated(pid),
        event::AppConnected(client) => Seen::AppConnected(text(client)),
        event::InvocationTaken(number) => Seen::Taken(number),
        event::AnswerBegun(number) => Seen::Begun(number),
        event::AnswerEnded(ended) => {
            let ended = ended.unwrap();
            Seen::Answered {
                invocation: ended.get_invocation(),
                bytes: ended.get_bytes(),
                error: code(ended.get_error()),
            }
        }
        event::Mark(mark) => Seen::Mark(text(mark)),
        event::Log(line) => Seen::Log(text(line.unwrap().get_text())),
        event::SandboxExited(exited) => {
            let exited = exited.unwrap();
            Seen::Exited { status: exited.get_status(), error: code(exited.get_error()) }
        }
        event::RpcAccepted(accepted) => {
            let accepted = accepted.unwrap();
            Seen::Accepted { rpc: accepted.get_rpc(), content: text(accepted.get_content()) }
        }
        event::RpcSent(sent) => {
            let sent = sent.unwrap();
            Seen::Sent { rpc: sent.get_rpc(), reused: sent.get_reused() }
        }
        event::RpcShared(shared) => Seen::Shared(shared.unwrap().get_rpc()),
        event::ImagePulled(pulled) => {
            let pulled = pulled.unwrap();
            Seen::ImagePulled { bytes: pulled.get_bytes(), layers: pulled.get_layers() }
        }
        event::ImageUnpacked(bytes) => Seen::ImageUnpacked(bytes),
        event::InitscriptPulled(pulled) => Seen::InitscriptPulled { bytes: pulled.unwrap().get_bytes() },
        event::RpcFirstByte(rpc) => Seen::FirstByte(rpc),
        event::RpcDone(done) => {
            let done = done.unwrap();
            let reply = done.get_reply().unwrap();
            Seen::Done {
                rpc: done.get_rpc(),
                status: reply.get_status(),
                length: reply.get_length(),
                inlined: reply.get_inlined().unwrap().to_vec(),
                segment: reply.get_segment(),
                attempts: reply.get_attempts(),
                error: code(done.get_error()),
            }
        }
        event::Claimed(claimed) => {
            let claimed = claimed.unwrap();
            let (claim, id, content) = (claimed.get_claim(), claimed.get_id(), text(claimed.get_content()));
            match claimed.get_connection() {
                true => Seen::ClaimedConn { claim, id, address: content },
                false => Seen::Claimed { claim, id, content, diverges: text(claimed.get_diverges()) },
            }
        }
        event::Served(served) => {
            let served = served.unwrap();
            Seen::Served { id: served.get_id(), bytes: served.get_bytes(), error: code(served.get_error()) }
        }
        event::Called(called) => {
            let called = called.unwrap();
            Seen::Called {
                content: text(called.get_content()),
                status: called.get_status(),
                bytes: called.get_bytes(),
                error: code(called.get_error()),
            }
        }
        event::Noted(note) => Seen::Noted(text(note)),
        event::Published(id) => Seen::Published(id),
        event::MessageFailed(failed) => {
            let failed = failed.unwrap();
            Seen::MessageFailed { id: failed.get_id(), error: code(failed.get_error()) }
        }
        event::AppMessage(message) => {
            let message = message.unwrap();
            let inlined = message.get_inlined().unwrap().to_vec();
            Seen::AppMessage { id: message.get_id(), length: message.get_length(), inlined }
        }
        event::ConnOffered(offered) => {
            let offered = offered.unwrap();
            Seen::ConnOffered { id: offered.get_id(), address: text(offered.get_address()) }
        }
        event::ConnReady(ready) => {
            let ready = ready.unwrap();
            Seen::ConnReady { id: ready.get_id(), address: text(ready.get_address()), error: code(ready.get_error()) }
        }
        event::ConnTaken(taken) => {
            let taken = taken.unwrap();
            Seen::ConnTaken {
                id: taken.get_id(),
                address: text(taken.get_address()),
                kind: taken.get_kind().unwrap(),
                error: code(taken.get_error()),
            }
        }
        event::ConnClosed(closed) => {
            let closed = closed.unwrap();
            Seen::ConnClosed {
                id: closed.get_id(),
                received: closed.get_received(),
                sent: closed.get_sent(),
                error: code(closed.get_error()),
            }
        }
        event::ConnReleased(released) => {
            let released = released.unwrap();
            Seen::ConnReleased { id: released.get_id(), address: text(released.get_address()) }
        }
        event::Ended(ended) => {
            let ended = ended.unwrap();
            Seen::Ended {
                reason: text(ended.get_reason()),
                unclaimed: ended.get_unclaimed_messages(),
                segments: ended.get_segments(),
            }
        }
    }
}

/// Reads an instance's events in order.
pub struct Events {
    instance: instance::Client,
    after: u64,
    waiting: std::collections::VecDeque<Seen>,
    /// All that were read.
    pub all: Vec<Seen>,
}

impl Events {
    pub fn of(instance: &instance::Client) -> Self {
        Self { instance: instance.clone(), after: 0, waiting: std::collections::VecDeque::new(), all: Vec::new() }
    }

    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.all.push(event.clone());
                return event;
            }
            let mut request = self.instance.events_request();
            request.get().set_after(self.after);
            request.get().set_wait_millis(10_000);
            let answer = request.send().promise.await.unwrap();
            let answer = answer.get().unwrap();
            assert_ok(answer.get_error().unwrap());
            for event in answer.get_events().unwrap() {
                assert_eq!(event.get_seq(), self.after + 1, "numbers have no gaps");
                self.after += 1;
                self.waiting.push_back(seen(event));
            }
        }
    }

    /// The first event that `wanted` maps to something; those before it are passed over.
    pub async fn find<T>(&mut self, wanted: impl Fn(&Seen) -> Option<T>) -> T {
        let found = tokio::time::timeout(LIMIT, async {
            loop {
                if let Some(found) = wanted(&self.next().await) {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("the event did not come: {:?}", self.all),
        }
    }

    pub async fn done(&mut self, rpc: u64) -> Seen {
        self.find(|event| matches!(event, Seen::Done { rpc: found, .. } if *found == rpc).then(|| event.clone())).await
    }

    pub async fn ended(&mut self) -> Seen {
        self.find(|event| matches!(event, Seen::Ended { .. }).then(|| event.clone())).await
    }
}

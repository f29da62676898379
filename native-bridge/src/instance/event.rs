//! What an instance tells the host, in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use headstart_sandbox::Stream;
use tokio::sync::watch;

use crate::instance::body::Finished;
use crate::instance::conns::How;
use crate::sync::lock;

/// How many events one answer carries.
const BATCH: usize = 256;
/// How many an instance may have; see [`EventLog::is_full`].
const MOST: usize = 200_000;
/// Bytes of all their texts: much of that an application chooses.
const MOST_BYTES: usize = 64 << 20;
/// How long an event that the host decides nothing on waits for company. To take one costs the host's one thread 0.3 ms, and
/// those of a start would come just before the script's first calls do.
const COMPANY: Duration = Duration::from_millis(20);

/// One event; `Event` of schema/bridge.capnp. Its sequence number is its place in the log, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Nanos,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Received,
    Started,
    SandboxCreated(u32),
    AppConnected(String),
    InvocationTaken(u64),
    AnswerBegun(u64),
    AnswerEnded {
        invocation: u64,
        bytes: u64,
        error: Option<Error>,
    },
    Mark(String),
    Log {
        stream: Stream,
        text: String,
    },
    SandboxExited {
        status: i32,
        signal: u32,
        error: Option<Error>,
    },
    RpcAccepted {
        rpc: u64,
        content: String,
        idempotent: bool,
    },
    RpcSent {
        rpc: u64,
        reused: bool,
        attempt: u16,
    },
    /// It waits for what another run of the function has asked for, or has its reply.
    RpcShared {
        rpc: u64,
        /// How long ago that was.
        age: Nanos,
    },
    /// All of the application's image has come.
    ImagePulled {
        image: String,
        bytes: u64,
        layers: u32,
    },
    /// Its files are there.
    ImageUnpacked(u64),
    /// The initscript's bytes have come, and are with the host.
    InitscriptPulled {
        artifact: String,
        bytes: u64,
        nanos: Nanos,
    },
    RpcFirstByte(u64),
    RpcDone {
        rpc: u64,
        outcome: Result<Arc<Finished>>,
    },
    Claimed {
        claim: u64,
        id: u64,
        content: String,
        diverges: String,
        deadline_millis: u32,
    },
    /// The same of a connection.
    ClaimedConn {
        claim: u64,
        id: u64,
        address: String,
        deadline_millis: u32,
    },
    Served {
        id: u64,
        bytes: u64,
        waited: Nanos,
        error: Option<Error>,
    },
    Called {
        content: String,
        status: u16,
        bytes: u64,
        nanos: Nanos,
        error: Option<Error>,
    },
    Noted(String),
    Published(u64),
    MessageFailed {
        id: u64,
        error: Error,
    },
    AppMessage {
        id: u64,
        length: u64,
        inlined: Option<Bytes>,
    },
    ConnOffered {
        id: u64,
        address: String,
    },
    ConnReady {
        id: u64,
        address: String,
        error: Option<Error>,
    },
    ConnTaken {
        id: u64,
        address: String,
        how: How,
        error: Option<Error>,
    },
    ConnClosed {
        id: u64,
        address: String,
        received: u64,
        sent: u64,
        error: Option<Error>,
    },
    ConnReleased {
        id: u64,
        address: String,
    },
    Ended {
        reason: String,
        unclaimed_messages: u32,
        unclaimed_bytes: u64,
        segments: u32,
    },
}

impl Kind {
    /// Bytes of the texts that may be long.
    fn bytes(&self) -> usize {
        let told = |error: &Option<Error>| error.as_ref().map_or(0, |error| error.message.len());
        match self {
            Self::AppConnected(text) | Self::Mark(text) | Self::Noted(text) | Self::Log { text, .. } => text.len(),
            Self::RpcAccepted { content, .. } => content.len(),
            Self::Claimed { content, diverges, .. } => content.len() + diverges.len(),
            Self::Called { content, error, .. } => content.len() + told(error),
            Self::AppMessage { inlined, .. } => inlined.as_ref().map_or(0, Bytes::len),
            Self::ClaimedConn { address, .. }
            | Self::ConnOffered { address, .. }
            | Self::ConnReleased { address, .. } => address.len(),
            Self::ConnReady { address, error, .. }
            | Self::ConnTaken { address, error, .. }
            | Self::ConnClosed { address, error, .. } => address.len() + told(error),
            Self::AnswerEnded { error, .. } | Self::SandboxExited { error, .. } | Self::Served { error, .. } => {
                told(error)
            }
            Self::MessageFailed { error, .. } | Self::RpcDone { outcome: Err(error), .. } => error.message.len(),
            _ => 0,
        }
    }

    /// Whether the host has something to do about it; of the others it only keeps the record.
    fn is_urgent(&self) -> bool {
        !matches!(
            self,
            Self::Received
                | Self::Started
                | Self::ImagePulled { .. }
                | Self::ImageUnpacked(_)
                | Self::InitscriptPulled { .. }
                | Self::SandboxCreated(_)
                | Self::AppConnected(_)
                | Self::Mark(_)
                | Self::Log { .. }
                | Self::RpcAccepted { .. }
                | Self::RpcSent { .. }
                | Self::RpcShared { .. }
                | Self::RpcFirstByte(_)
                | Self::Noted(_)
                | Self::Published(_)
                | Self::Served { .. }
                | Self::ConnClosed { .. }
                | Self::ConnReleased { .. }
        )
    }
}

/// All events of an instance: a host that comes back asks for them from the first.
pub(crate) struct EventLog {
    events: Mutex<Vec<Event>>,
    bytes: AtomicUsize,
    /// The last sequence number.
    last: watch::Sender<u64>,
    /// That of the last event which waits for no company.
    urgent: watch::Sender<u64>,
    /// Which call is the waiting one.
    waiter: watch::Sender<u64>,
    /// The last number that the host says it has heard.
    heard: watch::Sender<u64>,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        let counter = || watch::Sender::new(0);
        let bytes = AtomicUsize::new(0);
        Self {
            events: Mutex::default(),
            bytes,
            last: counter(),
            urgent: counter(),
            waiter: counter(),
            heard: counter(),
        }
    }

    pub(crate) fn push(&self, kind: Kind) {
        self.push_at(now(), kind);
    }

    /// Nothing follows the end: a download of the initscript's, say, may outlive its instance.
    pub(crate) fn push_at(&self, at: Nanos, kind: Kind) {
        let mut events = lock(&self.events);
        if events.last().is_some_and(|last| matches!(last.kind, Kind::Ended { .. })) {
            return;
        }
        let urgent = kind.is_urgent();
        self.bytes.fetch_add(kind.bytes(), Ordering::Relaxed);
        events.push(Event { at, kind });
        // An answer's worth of them has company enough.
        let urgent = urgent || events.len().is_multiple_of(BATCH);
        // Under the lock, so that numbers never go back.
        self.last.send_replace(events.len() as u64);
        if urgent {
            self.urgent.send_replace(events.len() as u64);
        }
    }

    /// Waits until the host has heard all that was told until now (it asks for what comes after), or the time has passed.
    pub(crate) async fn heard(&self, wait: Duration) {
        let last = *self.last.borrow();
        self.urgent.send_if_modified(|urgent| {
            let more = *urgent < last;
            *urgent = last.max(*urgent);
            more
        });
        let mut heard = self.heard.subscribe();
        let waiting = async { drop(heard.wait_for(|heard| *heard >= last).await) };
        drop(tokio::time::timeout(wait, waiting).await);
    }

    /// Whether the instance has told so much that it must end: a log that is kept whole cannot grow without bound.
    pub(crate) fn is_full(&self) -> bool {
        *self.last.borrow() >= MOST as u64 || self.bytes.load(Ordering::Relaxed) >= MOST_BYTES
    }

    /// The events after a number, each with its own.
    pub(crate) fn after(&self, after: u64) -> Vec<(u64, Event)> {
        let events = lock(&self.events);
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(events.len());
        events[from..].iter().take(BATCH).cloned().zip(from as u64 + 1..).map(|(event, seq)| (seq, event)).collect()
    }

    /// As `after`, but waits until there is one (and a little for more, if that one has time) or the time has passed. One call
    /// waits; a second ends it (`cancelled`).
    pub(crate) async fn wait(&self, after: u64, wait: Duration) -> Result<Vec<(u64, Event)>> {
        let mut waiter = self.waiter.subscribe();
        let mut last = self.last.subscribe();
        let mut urgent = self.urgent.subscribe();
        let mut number = 0;
        self.heard.send_if_modified(|heard| {
            let more = *heard < after;
            *heard = after.max(*heard);
            more
        });
        self.waiter.send_modify(|current| {
            *current += 1;
            number = *current;
        });
        // What `wait_for` gives is a guard: it must be gone before `after` takes the log's lock, under which `push` sends.
        let came = async {
            drop(last.wait_for(|last| *last > after).await);
            let more = async { drop(urgent.wait_for(|urgent| *urgent > after).await) };
            drop(tokio::time::timeout(COMPANY.min(wait), more).await);
        };
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            () = came => Ok(self.after(after)),
            _ = waiter.wait_for(|current| *current != number) => {
                Err(Error::new(ErrorCode::Cancelled, "a later call waits for events instead"))
            }
            () = tokio::time::sleep(wait) => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_the_end() {
        let log = EventLog::new();
        log.push(Kind::Ended { reason: "x".into(), unclaimed_messages: 0, unclaimed_bytes: 0, segments: 0 });
        log.push(Kind::Noted("late".into()));
        assert_eq!(log.after(0).len(), 1);
    }

    #[test]
    fn a_log_is_full_by_its_bytes_as_well() {
        let log = EventLog::new();
        for _ in 0..16 {
            assert!(!log.is_full());
            log.push(Kind::Noted("x".repeat(MOST_BYTES / 16)));
        }
        assert!(log.is_full());
    }

    #[tokio::test]
    async fn numbers_have_no_gaps_and_a_second_waiter_ends_the_first() {
        let log = Arc::new(EventLog::new());
        log.push(Kind::Started);
        log.push(Kind::Noted("a".into()));
        let seqs = |events: Vec<(u64, Event)>| events.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
        assert_eq!(seqs(log.after(0)), [1, 2]);
        assert_eq!(seqs(log.after(1)), [2]);
        assert_eq!(seqs(log.after(u64::MAX)), [0; 0]);
        assert!(log.wait(2, Duration::from_millis(1)).await.unwrap().is_empty());

        let (first, second) = (Arc::clone(&log), Arc::clone(&log));
        let first = tokio::spawn(async move { first.wait(2, Duration::from_secs(10)).await });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { second.wait(2, Duration::from_secs(10)).await });
        assert_eq!(first.await.unwrap().unwrap_err().code, ErrorCode::Cancelled);
        log.push(Kind::Received);
        assert_eq!(seqs(second.await.unwrap().unwrap()), [3]);
    }

    #[tokio::test]
    async fn waiting_and_pushing_do_not_block_each_other() {
        const EVENTS: usize = 20_000;
        let log = Arc::new(EventLog::new());
        let pushed = Arc::clone(&log);
        let pusher = std::thread::spawn(move || (0..EVENTS).for_each(|_| pushed.push(Kind::Received)));
        let all = async {
            let mut seen = 0;
            while seen < EVENTS as u64 {
                seen += log.wait(seen, Duration::from_secs(10)).await.unwrap().len() as u64;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
        pusher.join().unwrap();
    }

    #[tokio::test]
    async fn what_can_wait_waits_for_what_cannot() {
        let log = Arc::new(EventLog::new());
        log.push(Kind::Started);
        let began = std::time::Instant::now();
        assert_eq!(log.wait(0, Duration::from_secs(10)).await.unwrap().len(), 1);
        assert!(began.elapsed() >= COMPANY);
        let waiting = Arc::clone(&log);
        let waiting = tokio::spawn(async move { waiting.wait(1, Duration::from_secs(10)).await });
        log.push(Kind::Noted("a".into()));
        tokio::task::yield_now().await;
        let began = std::time::Instant::now();
        log.push(Kind::AnswerBegun(1));
        assert_eq!(waiting.await.unwrap().unwrap().len(), 2);
        assert!(began.elapsed() < COMPANY);
    }

    #[tokio::test]
    async fn what_was_told_is_heard_when_the_host_asks_for_more() {
        let log = Arc::new(EventLog::new());
        log.push(Kind::Started);
        let waiting = Arc::clone(&log);
        let waiting = tokio::spawn(async move { waiting.heard(Duration::from_secs(10)).await });
        assert_eq!(log.wait(0, Duration::ZERO).await.unwrap().len(), 1);
        assert!(!waiting.is_finished());
        assert!(log.wait(1, Duration::ZERO).await.unwrap().is_empty());
        tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
        log.push(Kind::Received);
        let began = std::time::Instant::now();
        log.heard(Duration::from_millis(20)).await;
        assert!(began.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn answers_are_bounded() {
        let log = EventLog::new();
        for _ in 0..300 {
            log.push(Kind::Received);
        }
        assert_eq!(log.after(0).len(), 256);
        assert_eq!(log.after(256).len(), 44);
    }
}

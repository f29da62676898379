//! Bytes that come in: a reply, a message's own bytes, an event.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use headstart_base::{Error, Result};
use tokio::sync::Notify;

use crate::sync::lock;

/// Where bytes lie in an instance's memory. Segment 0: nowhere, because there are none or they are inlined only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
}

/// A body that is complete.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// The protocol's, 0 where it has none.
    pub(crate) status: u16,
    pub(crate) place: Place,
    pub(crate) length: u64,
    /// The bytes, when they are few.
    pub(crate) inlined: Option<Bytes>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) attempts: u16,
    /// The path of the application's file that it lies in.
    pub(crate) file: Option<Arc<str>>,
}

/// How far a body is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Waiting,
    Receiving { status: u16, place: Place, total: Option<u64> },
    Done(Arc<Finished>),
    Failed(Error),
}

/// A body that is being received, or was. Many may wait for it; one receives it.
pub(crate) struct Body {
    phase: Mutex<Phase>,
    written: AtomicU64,
    /// A message for the application carries it.
    published: AtomicBool,
    /// The application was told of a part of it. Set and asked for while the phase is locked.
    told: AtomicBool,
    changed: Notify,
}

impl Body {
    pub(crate) fn waiting() -> Arc<Self> {
        Self::of(Phase::Waiting)
    }

    pub(crate) fn done(finished: Finished) -> Arc<Self> {
        Self::of(Phase::Done(Arc::new(finished)))
    }

    pub(crate) fn failed(error: Error) -> Arc<Self> {
        Self::of(Phase::Failed(error))
    }

    fn of(phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            phase: Mutex::new(phase),
            written: AtomicU64::new(0),
            published: AtomicBool::new(false),
            told: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.phase).clone()
    }

    /// Says that a message carries it. Whoever does so looks at the phase afterwards, and whoever places the body asks for
    /// this afterwards, so that one of the two sees the other.
    pub(crate) fn publish(&self) {
        self.published.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_published(&self) -> bool {
        self.published.load(Ordering::SeqCst)
    }

    /// Bytes that are there of the attempt that `phase` tells of.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Begins (again) at a place.
    pub(crate) fn begin(&self, status: u16, place: Place, total: Option<u64>) {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Waiting | Phase::Receiving { .. }) {
            self.written.store(0, Ordering::Release);
            *phase = Phase::Receiving { status, place, total };
        }
        drop(phase);
        self.changed.notify_waiters();
    }

    /// As `begin`, always at the same place: not when the application was told of what lies there. Says whether it did.
    pub(crate) fn begin_in_place(&self, status: u16, place: Place, total: Option<u64>) -> bool {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Receiving { .. }) && self.told.load(Ordering::Relaxed) {
            return false;
        }
        if matches!(*phase, Phase::Waiting | Phase::Receiving { .. }) {
            self.written.store(0, Ordering::Release);
            *phase = Phase::Receiving { status, place, total };
        }
        drop(phase);
        self.changed.notify_waiters();
        true
    }

    /// Says that the application is told of a part of it. To be called while `wait` looks at the phase.
    pub(crate) fn tell(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// The same bytes lie elsewhere now. (Only a body of unknown length moves, and nobody was told its place.)
    pub(crate) fn moved(&self, to: Place) {
        if let Phase::Receiving { place, .. } = &mut *lock(&self.phase) {
            *place = to;
        }
    }

    /// More bytes are there.
    pub(crate) fn advance(&self, written: u64) {
        self.written.store(written, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Ends it; the first end counts. Says whether this was it.
    pub(crate) fn end(&self, outcome: Result<Arc<Finished>>) -> bool {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Done(_) | Phase::Failed(_)) {
            return false;
        }
        *phase = match outcome {
            Ok(finished) => {
                self.written.store(finished.length, Ordering::Release);
                Phase::Done(finished)
            }
            Err(error) => Phase::Failed(error),
        };
        drop(phase);
        self.changed.notify_waiters();
        true
    }

    /// Waits until `ready` finds what it looks for in the phase and the bytes written.
    pub(crate) async fn wait<T>(&self, mut ready: impl FnMut(&Phase, u64) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = ready(&lock(&self.phase), self.written()) {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use headstart_base::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn wakes_those_who_wait_for_a_part() {
        let body = Body::waiting();
        let reader = Arc::clone(&body);
        let waiting = tokio::spawn(async move { reader.wait(|_, written| (written >= 10).then_some(written)).await });
        tokio::task::yield_now().await;
        body.begin(200, Place { segment: 1, offset: 0 }, Some(20));
        body.advance(5);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        body.advance(12);
        assert_eq!(waiting.await.unwrap(), 12);
    }

    #[tokio::test]
    async fn is_not_begun_again_in_a_place_of_which_something_was_told() {
        let place = Place { segment: 1, offset: 4096 };
        let body = Body::waiting();
        assert!(body.begin_in_place(200, place, Some(20)) && body.begin_in_place(200, place, Some(20)));
        body.advance(5);
        body.wait(|_, written| (written > 0).then(|| body.tell())).await;
        assert!(!body.begin_in_place(200, place, Some(20)));
        assert_eq!(body.written(), 5);
    }

    #[test]
    fn the_first_end_counts() {
        let body = Body::waiting();
        assert!(body.end(Err(Error::new(ErrorCode::Cancelled, "x"))));
        assert!(!body.end(Ok(Arc::default())));
        assert!(matches!(body.phase(), Phase::Failed(error) if error.code == ErrorCode::Cancelled));
    }
}

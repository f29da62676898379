//! How a connection is, for those who do not move its bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headstart_base::Error;

/// What has become of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// The server sends no more, and said so; or the application is gone.
    Ended,
    /// It broke: a reset, or silence for too long.
    Broken(Error),
}

/// Counters and state of one connection.
#[derive(Debug)]
pub struct Status {
    received: AtomicU64,
    sent: AtomicU64,
    state: Mutex<State>,
    began: Instant,
    /// When bytes last moved, in milliseconds after `began`.
    moved: AtomicU64,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            state: Mutex::new(State::Open),
            began: Instant::now(),
            moved: AtomicU64::new(0),
        }
    }

    /// Bytes from the server that the application's end has.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes from the application that the server's socket has.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn state(&self) -> State {
        self.lock().clone()
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.add(&self.received, bytes);
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        self.add(&self.sent, bytes);
    }

    fn add(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Ordering::Relaxed);
    }

    /// Ends it, unless it broke.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if *state == State::Open {
            *state = State::Ended;
        }
    }

    /// The first break counts.
    pub(crate) fn break_off(&self, error: Error) {
        let mut state = self.lock();
        if !matches!(*state, State::Broken(_)) {
            *state = State::Broken(error);
        }
    }

    /// Waits until nothing has moved for this long.
    pub(crate) async fn idle(&self, most: Duration) {
        loop {
            let until = self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + most;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use headstart_base::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn a_break_outlasts_an_end_and_movement_is_no_silence() {
        let status = Status::new();
        status.end();
        assert_eq!(status.state(), State::Ended);
        status.break_off(Error::new(ErrorCode::ConnectionReset, "first"));
        status.break_off(Error::new(ErrorCode::Deadline, "second"));
        status.end();
        assert_eq!(status.state(), State::Broken(Error::new(ErrorCode::ConnectionReset, "first")));
        tokio::time::sleep(Duration::from_millis(30)).await;
        status.add_received(1);
        let began = Instant::now();
        status.idle(Duration::from_millis(30)).await;
        assert!(began.elapsed() >= Duration::from_millis(25), "{:?}", began.elapsed());
    }
}

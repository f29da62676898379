//! Who asked for what, and what it cost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One request, as it was answered.
#[derive(Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) verb: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) agent: String,
    pub(crate) status: u16,
}

/// Counts since the last reset.
#[derive(Default)]
pub(crate) struct Stats {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Record>,
    counts: BTreeMap<String, u64>,
    dropped: u64,
    cpu_before: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    /// The latest requests, at most 10,000.
    requests: &'a VecDeque<Record>,
    /// Requests that are no longer in the list.
    dropped: u64,
    /// "VERB bucket/key" → how often.
    counts: &'a BTreeMap<String, u64>,
    /// CPU seconds of this process.
    cpu_s: f64,
}

const MAX_REQUESTS: usize = 10_000;
const MAX_COUNTS: usize = 10_000;

impl Stats {
    pub(crate) fn add(&self, record: Record) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{} {}/{}", record.verb, record.bucket, record.key);
        if inner.counts.len() < MAX_COUNTS || inner.counts.contains_key(&name) {
            *inner.counts.entry(name).or_default() += 1;
        }
        if inner.requests.len() == MAX_REQUESTS {
            inner.requests.pop_front();
            inner.dropped += 1;
        }
        inner.requests.push_back(record);
    }

    pub(crate) fn reset(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) =
            Inner { cpu_before: cpu_seconds(), ..Inner::default() };
    }

    pub(crate) fn json(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let report = Report {
            requests: &inner.requests,
            dropped: inner.dropped,
            counts: &inner.counts,
            cpu_s: cpu_seconds() - inner.cpu_before,
        };
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// CPU seconds of this process, in user mode and in the kernel.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

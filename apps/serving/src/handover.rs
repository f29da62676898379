//! How long it takes to have one's state once it is there.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fetch::Fetched;

/// Runs from the first claim of a shard.
#[derive(Debug)]
pub struct Stopwatch(Instant);

/// What taking over the state took, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handover {
    /// From the first claim until the index was ready, without the time in which bytes were waited for.
    pub handover_ms: f64,
    /// Waiting for bytes that were not there yet.
    pub waited_ms: f64,
    pub shards: usize,
    pub bytes: u64,
    /// Shards that the initscript has fetched; the program has fetched the others itself.
    pub from_initscript: usize,
    /// Whether the state was copied into the program's own memory.
    pub copied: bool,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Stops when the index is ready; `waited`: for bytes of the bodies that it was made of.
    pub fn stop(self, fetched: &Fetched, waited: Duration, copied: bool) -> Handover {
        let took = self.0.elapsed();
        let waited = waited + fetched.took;
        Handover {
            handover_ms: millis(took.saturating_sub(waited)),
            waited_ms: millis(waited.min(took)),
            shards: fetched.shards,
            bytes: fetched.bytes,
            from_initscript: fetched.from_initscript,
            copied,
        }
    }
}

impl Handover {
    /// Puts it on the instance's timeline: a line of output that begins so is a mark.
    pub fn tell(&self) {
        let how = if self.copied { "copied" } else { "in place" };
        println!(
            "mark: handover {:.3} ms ({how}), waited {:.3} ms, {} bytes, {} of {} shards from the initscript",
            self.handover_ms, self.waited_ms, self.bytes, self.from_initscript, self.shards
        );
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

//! Brings the pages of the pool's stock in: by a thread of the lowest priority, and only while no start is in flight.

use std::sync::Weak;
use std::time::Duration;

use headstart_base::Result;

use crate::budget::Charge;
use crate::file::SharedFile;
use crate::memfd;
use crate::pool::{Pool, State};
use crate::segment::Segment;

/// How much is prefaulted between two looks at whether a start has begun.
const STEP: usize = 1 << 20;
/// A start holds refilling back no longer than this.
const LONGEST_START: Duration = Duration::from_secs(10);
/// How long nothing is kept ready after an instance needed what was.
const PRESSURE: Duration = Duration::from_secs(1);
/// From this size on, what is not from the pool is prefaulted by a thread while it is being filled.
const PREFAULT_BESIDE: usize = 1 << 20;

/// What is to be made ready, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    Segment(usize),
    File(usize),
}

impl Missing {
    fn bytes(self) -> usize {
        match self {
            Self::Segment(bytes) | Self::File(bytes) => bytes,
        }
    }
}

impl Pool {
    /// What its stock lacks.
    pub(super) fn missing(&self, state: &State) -> Option<Missing> {
        self.classes
            .iter()
            .find(|class| state.ready.get(&class.bytes).map_or(0, Vec::len) < class.count)
            .map(|class| Missing::Segment(class.bytes))
            .or_else(|| state.files.missing().map(Missing::File))
    }
}

/// Brings pages in by a thread of its own, a step at a time, until `populate` says that nobody needs them. Without the
/// thread, page faults do the same, only later.
pub(super) fn prefault_beside(bytes: usize, populate: impl Fn(usize, usize) -> bool + Send + 'static) {
    if bytes < PREFAULT_BESIDE {
        return;
    }
    let _ = std::thread::Builder::new()
        .name("prefault-beside".into())
        .spawn(move || (0..bytes).step_by(STEP).all(|offset| populate(offset, STEP)));
}

/// The pool's thread: one segment at a time, a step at a time.
pub(super) fn run(pool: &Weak<Pool>) {
    // SAFETY: plain system calls that change this thread's priority only; failing is harmless.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid) as libc::id_t;
        libc::setpriority(libc::PRIO_PROCESS, thread, 19);
    }
    loop {
        let Some((missing, charge)) = next_missing(pool) else { return };
        let made = charge.and_then(|charge| match missing {
            Missing::Segment(bytes) => refill_segment(pool, bytes, charge),
            Missing::File(bytes) => refill_file(pool, bytes, charge),
        });
        match made {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, "the pool is not refilled");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// Makes a segment ready; false when the pool is gone.
fn refill_segment(pool: &Weak<Pool>, bytes: usize, charge: Charge) -> Result<bool> {
    let segment = Segment::new("pool", bytes, charge)?;
    if !populate_quietly(pool, bytes, |offset| segment.populate(offset, STEP)) {
        return Ok(false);
    }
    let Some(pool) = pool.upgrade() else { return Ok(false) };
    pool.lock().ready.entry(bytes).or_default().push(segment);
    Ok(true)
}

/// Makes a shared file ready; false when the pool is gone.
fn refill_file(pool: &Weak<Pool>, bytes: usize, charge: Charge) -> Result<bool> {
    let Some(path) = pool.upgrade().map(|pool| pool.file_path("ready")) else { return Ok(false) };
    let file = SharedFile::create(path?, bytes, charge)?;
    if !populate_quietly(pool, bytes, |offset| file.populate(offset, STEP)) {
        return Ok(false);
    }
    let Some(pool) = pool.upgrade() else { return Ok(false) };
    let unwanted = pool.lock().files.keep(file);
    drop(unwanted);
    Ok(true)
}

/// A step at a time, while no start is in flight; false when the pool is gone.
fn populate_quietly(pool: &Weak<Pool>, bytes: usize, populate: impl Fn(usize)) -> bool {
    (0..bytes).step_by(STEP).all(|offset| {
        let quiet = wait_for_quiet(pool);
        if quiet {
            populate(offset);
        }
        quiet
    })
}

/// Waits until a class lacks a segment and no start is in flight; none when the pool is gone. The charge is drawn under
/// the lock, so that after the stock was given up none of it comes back at once.
fn next_missing(pool: &Weak<Pool>) -> Option<(Missing, Result<Charge>)> {
    loop {
        if !wait_for_quiet(pool) {
            return None;
        }
        let strong = pool.upgrade()?;
        let state = strong.lock();
        let pressed = state.given_up.is_some_and(|at| at.elapsed() < PRESSURE);
        if let Some(missing) = strong.missing(&state).filter(|_| !pressed) {
            return Some((missing, strong.node.charge(memfd::pages(missing.bytes()) as u64)));
        }
        // Bounded, so that this thread does not keep the pool alive for ever.
        drop(strong.changed.wait_timeout(state, Duration::from_millis(200)));
    }
}

/// Waits until no start is in flight; false when the pool is gone.
fn wait_for_quiet(pool: &Weak<Pool>) -> bool {
    loop {
        let Some(strong) = pool.upgrade() else { return false };
        let mut state = strong.lock();
        state.starts.retain(|_, since| since.elapsed() < LONGEST_START);
        if state.closed {
            return false;
        }
        if state.starts.is_empty() {
            return true;
        }
        drop(strong.changed.wait_timeout(state, Duration::from_millis(50)));
    }
}

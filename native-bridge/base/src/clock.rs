//! The one clock of all spans.

/// Nanoseconds of CLOCK_MONOTONIC.
pub type Nanos = u64;

/// The time now, in nanoseconds of CLOCK_MONOTONIC (clock_gettime(2)).
pub fn now() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

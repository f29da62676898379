//! Time to the tenth of a millisecond.

use std::time::Duration;

/// Time since some moment (CLOCK_MONOTONIC).
pub(crate) fn now() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU seconds of this process, in user mode and in the kernel.
pub(crate) fn cpu_seconds() -> f64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).as_secs_f64()
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Waits until `now()` has reached `time`.
pub(crate) fn sleep_until(time: Duration) {
    let at = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(time.subsec_nanos() as i32),
    };
    loop {
        // SAFETY: `at` is a valid timespec; with TIMER_ABSTIME nothing is written.
        let result =
            unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &at, std::ptr::null_mut()) };
        if result != libc::EINTR {
            return;
        }
    }
}

/// Makes the kernel wake this thread and those it starts when they asked for it, not up to 50 µs later.
pub(crate) fn be_precise() {
    // SAFETY: changes an attribute of the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64, 0_u64, 0_u64, 0_u64) };
}

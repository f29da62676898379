//! Ending when one is told to.

use nix::sys::signal::{SigSet, Signal};

/// Has SIGTERM and SIGINT end the process with status 0, also where it is a sandbox's process 1, which these would else pass by.
/// Called before there are other threads: they inherit that these signals are blocked.
pub fn exit_on_sigterm() -> std::io::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.wait().is_ok() {
            std::process::exit(0);
        }
    })?;
    Ok(())
}

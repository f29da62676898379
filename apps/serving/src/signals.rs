//! Ending when one is told to.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// SIGTERM and SIGINT, which wait until somebody does something about them.
#[derive(Debug)]
pub struct Held(SigSet);

impl Held {
    /// Called before there are other threads, which inherit that these signals are blocked.
    pub fn hold() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// From now on they end the process with status 0, also where it is a sandbox's process 1, which they would else pass by. This takes
    /// a thread, and in gVisor a millisecond or two: what others wait for comes first.
    pub fn exit(self) -> io::Result<()> {
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if self.0.wait().is_ok() {
                std::process::exit(0);
            }
        })?;
        Ok(())
    }
}

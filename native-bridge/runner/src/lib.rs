//! The runner: a boxed workerd process that is watched and replaced, and the relay through which the host reaches it.

mod boxed;
mod config;
mod frames;
mod meter;
mod relay;
mod socket;
mod supervisor;

pub use config::{End, RunnerConfig, State, Status};
pub use relay::Relay;
pub use supervisor::Runner;

//! Runners: boxed workerd processes that are watched and replaced, one for each tenant, and the relays through which the host
//! reaches them.

mod boxed;
mod config;
mod frames;
mod hand_over;
mod ledger;
mod meter;
mod relay;
mod runners;
mod socket;
mod supervisor;

pub use config::{End, RunnerConfig, State, Status};
pub use hand_over::{Announced, ScriptKind};
pub use relay::Relay;
pub use runners::{Known, Runners, RunnersConfig};

//! The native bridge: what needs privileges on a node, and nothing else.
//!
//! Two runtimes: the *control thread* (this one) serves the host's Cap'n Proto streams, which cannot leave their thread; the
//! *data runtime* moves bytes. They share the [`node::Node`], whose locks are short and never held across a wait.

mod app;
mod config;
mod control;
mod errors;
mod functions;
mod http;
mod instance;
mod isolate;
mod logs;
mod metrics;
mod node;
mod privileges;
mod run;
mod secrets;
mod services;
mod shared;
mod snapshots;
mod sync;
mod tenants;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The native bridge of a headstart node.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The node's bridge.json.
    #[arg(long)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = |config| privileges::drop_unneeded().and_then(|()| run::run(config));
    match config::Config::load(&arguments.config).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

//! What the shims have in common.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};
use crate::server::{Probe, become_server, watch};
use crate::state::State;

/// A server that starts from a file, whose arguments are the shim's.
#[derive(Debug)]
pub struct Shim {
    pub program: &'static str,
    /// The variable that says where the file is to be.
    pub file: &'static str,
    /// Tells when it answers.
    pub probe: Probe,
}

impl Shim {
    /// Has `prepare` put the state at `STATE` ("s3://bucket/key") into the file, and becomes the server as it says. Comes back when
    /// that fails, and has said why.
    pub fn run(&self, prepare: impl FnOnce(&State, &str, &Path) -> Result<Command>) -> ExitCode {
        let (Ok(error) | Err(error)) = self.start(prepare);
        eprintln!("{error}");
        ExitCode::FAILURE
    }

    fn start(&self, prepare: impl FnOnce(&State, &str, &Path) -> Result<Command>) -> Result<Error> {
        let watcher = watch(self.probe)?;
        let file = PathBuf::from(variable(self.file)?);
        let mut command = prepare(&State::from_env(), &variable("STATE")?, &file)?;
        command.args(std::env::args_os().skip(1));
        Ok(become_server(self.program, &mut command, watcher))
    }
}

fn variable(name: &'static str) -> Result<String> {
    std::env::var(name).map_err(|_| Error::Unset(name))
}

//! Runs the machine's own tools (ip, nft), off the path of a start.

use crate::failure::failed;
use headstart_base::Result;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(10);

/// Runs a tool with `input`, in a network namespace if one is given. A status that is not 0 is an error with its stderr.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str, network: Option<BorrowedFd<'_>>) -> Result<()> {
    run_within(LIMIT, program, arguments, input, network).await
}

/// [`run`] with a limit of its own.
pub(crate) async fn run_within(
    limit: Duration,
    program: &str,
    arguments: &[&str],
    input: &str,
    network: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let network = network.map(|fd| fd.as_fd().as_raw_fd());
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let enter = move || {
        // With us: else it would go on making what the next life has just looked for.
        // SAFETY: prctl(2) with PR_SET_PDEATHSIG takes no pointer.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        match network {
            // SAFETY: setns(2) takes no pointer.
            Some(fd) if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } < 0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec only prctl(2) and setns(2) are called.
    unsafe { command.pre_exec(enter) };
    let work = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(limit, work)
        .await
        .map_err(|_| failed(program, format_args!("no end in {} s", limit.as_secs())))?
        .map_err(|error| failed(program, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(program, String::from_utf8_lossy(&output.stderr).trim()))
}

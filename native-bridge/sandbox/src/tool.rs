//! Runs the machine's own tools (ip, nft), off the path of a start.

use crate::failure::failed;
use crate::process::{Process, new_pipe};
use crate::vfork::{self, Surroundings};
use headstart_base::Result;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

const LIMIT: Duration = Duration::from_secs(10);
/// What is kept of what a tool says of its failure, bytes.
const TOLD_BYTES: u64 = 16 << 10;

/// Runs a tool with `input`, in a network namespace if one is given. A status that is not 0 is an error with its stderr.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str, network: Option<BorrowedFd<'_>>) -> Result<()> {
    run_within(LIMIT, program, arguments, input, network).await
}

/// [`run`] with a limit of its own. It dies with us: else it would go on making what the next life has just looked for.
pub(crate) async fn run_within(
    limit: Duration,
    program: &str,
    arguments: &[&str],
    input: &str,
    network: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let (stdin, mut given) = new_pipe().and_then(|(reader, writer)| {
        Ok((reader, pipe::Sender::from_owned_fd(writer).map_err(|e| failed("pipe", e))?))
    })?;
    let (told, stderr) = new_pipe()?;
    let mut told = pipe::Receiver::from_owned_fd(told).map_err(|error| failed("pipe", error))?;
    let null = File::options().write(true).open("/dev/null").map_err(|error| failed("/dev/null", error))?;
    let surroundings = Surroundings {
        streams: [stdin.as_raw_fd(), null.as_raw_fd(), stderr.as_raw_fd()],
        network: network.map(|fd| fd.as_fd().as_raw_fd()),
        ..Surroundings::default()
    };
    let pid = vfork::spawn(Command::new(program).args(arguments), &surroundings);
    let tool = Tool(Some(Process::of(pid.map_err(|error| failed(program, error))?)?));
    drop((stdin, stderr, null));
    let work = async {
        // One that ends before it has read all says why in its status.
        let give = async {
            let _ = given.write_all(input.as_bytes()).await;
            drop(given);
        };
        let take = async {
            let mut text = Vec::new();
            (&mut told).take(TOLD_BYTES).read_to_end(&mut text).await?;
            tokio::io::copy(&mut told, &mut tokio::io::sink()).await?;
            Ok::<_, io::Error>(text)
        };
        let (text, ()) = tokio::join!(take, give);
        Ok::<_, io::Error>((tool.end().await, text?))
    };
    let ((status, signal), text) = tokio::time::timeout(limit, work)
        .await
        .map_err(|_| failed(program, format_args!("no end in {} s", limit.as_secs())))?
        .map_err(|error| failed(program, error))?;
    match (status, signal) {
        (0, 0) => Ok(()),
        (_, 0) => Err(failed(program, String::from_utf8_lossy(&text).trim())),
        _ => Err(failed(program, format_args!("ended by signal {signal}"))),
    }
}

/// A tool that runs. Dropped: it is killed.
struct Tool(Option<Process>);

impl Tool {
    /// (status, signal), one of which is 0.
    async fn end(mut self) -> (i32, u32) {
        let end = match &self.0 {
            Some(process) => process.wait().await,
            None => (-1, 0),
        };
        self.0 = None;
        end
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let (Some(process), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        process.kill();
        runtime.spawn(async move { process.wait().await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(limit: u64, script: &str, input: &str) -> std::result::Result<(), String> {
        let outcome = run_within(Duration::from_millis(limit), "sh", &["-c", script], input, None).await;
        outcome.map_err(|error| error.message)
    }

    #[tokio::test]
    async fn a_tool_ends_as_it_says() {
        assert_eq!(shell(10_000, "test \"$(wc -c)\" = 300000", &"x".repeat(300_000)).await, Ok(()));
        assert_eq!(shell(10_000, "exit 0", &"x".repeat(300_000)).await, Ok(()));
        assert_eq!(shell(10_000, "echo why >&2; exit 3", "").await, Err("sh: why".into()));
        assert_eq!(shell(10_000, "kill -9 $$", "").await, Err("sh: ended by signal 9".into()));
        let much = shell(10_000, "head -c 1000000 /dev/zero >&2; exit 1", "").await.unwrap_err();
        assert_eq!(much.len() as u64, TOLD_BYTES + "sh: ".len() as u64);
    }

    #[tokio::test]
    async fn a_tool_that_does_not_end_is_killed() {
        let flag = tempfile();
        let script = format!("echo $$ > {flag}; exec sleep 60");
        assert_eq!(shell(1_000, &script, "").await, Err("sh: no end in 1 s".into()));
        let pid = std::fs::read_to_string(&flag).unwrap();
        std::fs::remove_file(&flag).unwrap();
        let folder = format!("/proc/{}", pid.trim());
        // Reaped, too.
        while std::fs::exists(&folder).unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn tempfile() -> String {
        let name = format!("headstart-tool-{}", std::process::id());
        std::env::temp_dir().join(name).to_string_lossy().into_owned()
    }
}

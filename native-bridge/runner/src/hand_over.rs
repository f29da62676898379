//! Scripts that the bridge gives to a runner itself: what is downloaded for a start need not pass through the host.

use crate::runners::Runners;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long a runner may take to take a script in: compiled, it takes milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// What a script is to a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptKind {
    /// A module with its meter.
    Metered,
    /// A module that the runner meters.
    Plain,
    Js,
}

/// A way to a tenant's runner.
pub struct Door(UnixStream);

impl Runners {
    /// Connects to a tenant's runner, if it has one that can be reached now.
    pub async fn door(&self, tenant: &str) -> Option<Door> {
        let runner = self.runner_of(tenant)?;
        runner.connect().await.ok().map(Door)
    }
}

impl Door {
    /// Gives the runner a script, whose digest (64 hex digits) is known to be that. False: it has not taken it.
    pub async fn give(self, kind: ScriptKind, digest: &str, script: &[u8]) -> bool {
        let kind = match kind {
            ScriptKind::Metered => "metered",
            ScriptKind::Plain => "plain",
            ScriptKind::Js => "js",
        };
        let length = script.len();
        let head = format!(
            "PUT /scripts/{kind}/{digest} HTTP/1.1\r\nHost: runner\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let message = [head.as_bytes(), script].concat();
        let Self(mut stream) = self;
        let work = async {
            stream.write_all(&message).await.ok()?;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.ok()?;
            (&head == b"HTTP/1.1 204").then_some(())
        };
        matches!(tokio::time::timeout(LIMIT, work).await, Ok(Some(())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What a runner that answers so was sent, and whether that counted as taken.
    async fn given(answer: &'static [u8]) -> (Vec<u8>, bool) {
        let (bridge, mut runner) = UnixStream::pair().unwrap();
        let runner = tokio::spawn(async move {
            let mut sent = vec![0; 4096];
            let length = runner.read(&mut sent).await.unwrap();
            runner.write_all(answer).await.unwrap();
            sent.truncate(length);
            sent
        });
        let taken = Door(bridge).give(ScriptKind::Metered, "ab", b"module").await;
        (runner.await.unwrap(), taken)
    }

    #[tokio::test]
    async fn a_script_is_taken_where_the_runner_says_so() {
        let (sent, taken) = given(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(taken);
        assert!(sent.starts_with(b"PUT /scripts/metered/ab HTTP/1.1\r\n"));
        assert!(sent.ends_with(b"Content-Length: 6\r\n\r\nmodule"));
        for refusal in [&b"HTTP/1.1 422 Unprocessable\r\n\r\n"[..], b"HTTP/1.1 2", b""] {
            assert!(!given(refusal).await.1);
        }
    }
}

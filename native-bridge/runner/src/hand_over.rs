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

/// A script of which a runner knows that it comes: all but its bytes has been said.
pub struct Announced {
    stream: UnixStream,
    length: u64,
}

impl Runners {
    /// Tells a tenant's runner of a script of so many bytes, whose digest (64 hex digits) they will have, so that it is ready for them. None: the
    /// tenant has no runner that can be reached now. What is dropped does not come.
    pub async fn announce(&self, tenant: &str, kind: ScriptKind, digest: &str, length: u64) -> Option<Announced> {
        let runner = self.runner_of(tenant)?;
        Announced::new(runner.connect().await.ok()?, kind, digest, length).await
    }
}

impl Announced {
    async fn new(mut stream: UnixStream, kind: ScriptKind, digest: &str, length: u64) -> Option<Self> {
        let kind = match kind {
            ScriptKind::Metered => "metered",
            ScriptKind::Plain => "plain",
            ScriptKind::Js => "js",
        };
        let head = format!(
            "PUT /scripts/{kind}/{digest} HTTP/1.1\r\nHost: runner\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let written = tokio::time::timeout(LIMIT, stream.write_all(head.as_bytes())).await;
        matches!(written, Ok(Ok(()))).then_some(Self { stream, length })
    }

    /// Gives the runner the script. False: it has not taken it.
    pub async fn give(self, script: &[u8]) -> bool {
        let Self { mut stream, length } = self;
        if u64::try_from(script.len()) != Ok(length) {
            return false;
        }
        let work = async {
            stream.write_all(script).await.ok()?;
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
        let announced = Announced::new(bridge, ScriptKind::Metered, "ab", 6).await.unwrap();
        let runner = tokio::spawn(async move {
            let mut sent = Vec::new();
            while !sent.ends_with(b"module") {
                runner.read_buf(&mut sent).await.unwrap();
            }
            runner.write_all(answer).await.unwrap();
            sent
        });
        let taken = announced.give(b"module").await;
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

    #[tokio::test]
    async fn other_bytes_than_were_announced_are_not_given() {
        let (bridge, mut runner) = UnixStream::pair().unwrap();
        let announced = Announced::new(bridge, ScriptKind::Js, "ab", 6).await.unwrap();
        assert!(!announced.give(b"modules").await);
        let mut sent = String::new();
        runner.read_to_string(&mut sent).await.unwrap();
        assert!(sent.ends_with("\r\n\r\n"));
    }
}

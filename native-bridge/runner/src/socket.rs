//! The runner's socket: how we connect to it, and whether it answers.

use headstart_base::{Error, ErrorCode, Result};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Connects to the runner. The socket's folder is the runner's own, so what lies at `path` may be a link to another
/// socket of the node: only a listener of the runner's user counts.
pub(crate) async fn connect(path: &Path, user: u32) -> Result<UnixStream> {
    let lost = |what: &str| Error::new(ErrorCode::RunnerLost, format!("the runner cannot be reached: {what}"));
    let stream = UnixStream::connect(path).await.map_err(|error| lost(&error.to_string()))?;
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == user => Ok(stream),
        _ => Err(lost("the socket is not the runner's")),
    }
}

/// Asks `GET /ping`. True when it answers 200 in time.
pub(crate) async fn ping(path: &Path, user: u32, limit: Duration) -> bool {
    let work = async {
        let mut stream = connect(path, user).await.ok()?;
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: runner\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        (&head == b"HTTP/1.1 200").then_some(())
    };
    matches!(tokio::time::timeout(limit, work).await, Ok(Some(())))
}

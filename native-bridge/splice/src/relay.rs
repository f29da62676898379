//! A TLS connection relayed to a socketpair: what is decrypted here cannot be spliced.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::end::{End, broken, silent};
use crate::gone::Gone;
use crate::pair;
use crate::socket;
use crate::status::{State, Status};

/// What each direction holds at most.
const BUFFER: usize = 64 << 10;

/// Which side failed.
enum Failed {
    Source(io::Error),
    Target,
}

/// The application's end of a new socketpair, the connection's status, and the work, which closes both sides when it is dropped.
pub fn relay<S>(
    secure: S,
    idle: Duration,
) -> io::Result<(OwnedFd, Arc<Status>, impl Future<Output = End> + Send + 'static)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (ours, theirs) = pair::new()?;
    let pair = UnixStream::from_std(ours.into())?;
    let status = Arc::new(Status::new());
    let shared = Arc::clone(&status);
    Ok((theirs, status, async move { run(secure, pair, &shared, idle).await }))
}

async fn run<S: AsyncRead + AsyncWrite>(secure: S, mut pair: UnixStream, status: &Status, idle: Duration) -> End {
    let gone = Gone::watch(&pair);
    let (mut from_server, mut to_server) = tokio::io::split(secure);
    let (mut from_app, mut to_app) = pair.split();
    let down = async {
        let how = copy(&mut from_server, &mut to_app, |count| status.add_received(count)).await;
        match how {
            Ok(()) => {
                status.end();
                // The application may be gone.
                let _ = to_app.shutdown().await;
                true
            }
            Err(Failed::Source(error)) => {
                status.break_off(broken(&error));
                false
            }
            Err(Failed::Target) => {
                status.end();
                false
            }
        }
    };
    let up = async {
        match copy(&mut from_app, &mut to_server, |count| status.add_sent(count)).await {
            // TLS's closing message, and a FIN.
            Ok(()) => {
                // Where it fails, the way from the server tells how it broke.
                let _ = to_server.shutdown().await;
                // Should the application close altogether, nobody is there to receive.
                match &gone {
                    Ok(gone) => gone.wait().await,
                    Err(_) => return true,
                }
                status.end();
                false
            }
            Err(Failed::Target) => {
                // The application's next write fails; what the server sent before is still to be had.
                socket::shut_reading(from_app.as_ref().as_fd());
                true
            }
            Err(Failed::Source(_)) => {
                status.end();
                false
            }
        }
    };
    tokio::select! {
        () = both(down, up) => {}
        () = status.idle(idle) => status.break_off(silent(idle)),
    }
    match status.state() {
        State::Broken(error) => End::Broken(error),
        State::Open | State::Ended => End::Done,
    }
}

/// Runs both ways until both are over, or one says that nothing goes on.
async fn both(down: impl Future<Output = bool>, up: impl Future<Output = bool>) {
    let (mut down, mut up) = (std::pin::pin!(down), std::pin::pin!(up));
    tokio::select! {
        goes_on = &mut down => if goes_on { up.await; },
        goes_on = &mut up => if goes_on { down.await; },
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: impl Fn(usize),
) -> Result<(), Failed> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await.map_err(Failed::Source)?;
        if count == 0 {
            return Ok(());
        }
        let sent = async {
            to.write_all(&buffer[..count]).await?;
            to.flush().await
        };
        sent.await.map_err(|_| Failed::Target)?;
        moved(count);
    }
}

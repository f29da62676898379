//! The host's way to the runner: a unix socket on which it speaks JS RPC (Cap'n Proto) as if it were the runner's own.
//!
//! The host is one thread that all tenants share, and the runner is hostile: from the runner to the host only whole
//! messages pass, of bounded size and rate, and a bounded number of calls waits for the host. A breach ends that
//! connection with a line in the log; the calls on it fail at both ends.

use crate::frames::{FrameLimits, Frames};
use crate::meter::{Meter, MeterLimits, Rate};
use crate::runners::Runners;
use crate::supervisor::Runner;
use headstart_base::{Error, ErrorCode, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 8 * 1024;
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection waits for a runner that is being replaced.
const READY_LIMIT: Duration = Duration::from_secs(2);
/// A peer that does not take its bytes for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long the host may take to see that a connection has ended.
const CLOSE_LIMIT: Duration = Duration::from_millis(900);

const TO_HOST: FrameLimits = FrameLimits { bytes: 2 << 20, segments: 64 };
const TO_RUNNER: FrameLimits = FrameLimits { bytes: 128 << 20, segments: 512 };
const METER: MeterLimits = MeterLimits {
    calls: 256,
    call_bytes: 16 << 20,
    questions: 4096,
    exports: 4096,
    other_bytes: 64 << 10,
    messages: Rate { per_second: 8_000.0, burst: 20_000.0 },
    bytes: Rate { per_second: (32 << 20) as f64, burst: (64 << 20) as f64 },
};
/// How often is looked whether a message may pass that has to wait.
const WAIT_STEP: Duration = Duration::from_millis(2);

/// The host's way to the runner in a slot, bounded.
pub struct Relay;

impl Relay {
    /// Serves connections until the listener fails or the future is dropped (which cuts them all). A connection leads to the
    /// runner that is in the slot when it begins, and ends when that one is not in it any more.
    pub async fn serve(listener: UnixListener, runners: Arc<Runners>, slot: u16) -> Result<()> {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let closed = |error: &dyn std::fmt::Display| Error::new(ErrorCode::Internal, format!("relay: {error}"));
            let permit = Arc::clone(&room).acquire_owned().await.map_err(|error| closed(&error))?;
            let host = match listener.accept().await {
                Ok((host, _)) => host,
                // Out of descriptors or memory: that passes.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ECONNABORTED)
                    ) =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(error) => return Err(closed(&error)),
            };
            let runners = Arc::clone(&runners);
            connections.spawn(async move {
                serve_slot(host, &runners, slot).await;
                drop(permit);
            });
        }
    }
}

async fn serve_slot(mut host: UnixStream, runners: &Runners, slot: u16) {
    let Some((runner, mut assigned)) = runners.at(slot) else {
        refuse(&mut host, "410 Gone", "this slot is no tenant's").await;
        return;
    };
    let end = tokio::select! {
        biased;
        // The slot is another's, or nobody's.
        _ = assigned.changed() => {
            close(&mut host).await;
            return;
        }
        end = serve_one(&mut host, &runner) => end,
    };
    if let Err(error) = end {
        if error.code == ErrorCode::Protocol {
            runners.breached();
        }
        runner.say(&format!("relay: connection ended: {}", error.message));
    }
}

/// Ends a connection, and waits until the host has seen that: what it says next, it says on another.
async fn close(host: &mut UnixStream) {
    let mut rest = vec![0; 4096];
    let closed = async {
        host.shutdown().await?;
        while host.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A host that is gone has seen it, too.
    let _ = tokio::time::timeout(CLOSE_LIMIT, closed).await;
}

async fn serve_one(host: &mut UnixStream, runner: &Runner) -> Result<()> {
    let (head, early) = match read_head(host).await {
        Ok(Some(read)) => read,
        Ok(None) => return Ok(()),
        Err(error) => {
            refuse(host, "400 Bad Request", &error.message).await;
            return Err(error);
        }
    };
    let request = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let answer = if request.starts_with(b"CONNECT ") {
        open_stream(runner).await
    } else if request.starts_with(b"GET /ping ") {
        let answers = runner.answers(READY_LIMIT).await;
        let (status, text) = if answers { ("200 OK", "ok") } else { ("503 Service Unavailable", "no answer") };
        refuse(host, status, text).await;
        return Ok(());
    } else {
        refuse(host, "404 Not Found", "only CONNECT and GET /ping are relayed").await;
        return Ok(());
    };
    match answer {
        Ok((stream, head, beginning)) => {
            write(host, &head).await?;
            relay(host, &early, stream, &beginning).await
        }
        Err(error) => {
            refuse(host, "503 Service Unavailable", &error.message).await;
            Err(error)
        }
    }
}

/// A CONNECT stream to the runner: the stream, the answer's head, and what came after it.
async fn open_stream(runner: &Runner) -> Result<(UnixStream, Vec<u8>, Vec<u8>)> {
    let lost = |what: &str| Error::new(ErrorCode::RunnerLost, what);
    if !runner.ready(READY_LIMIT).await {
        return Err(lost("the runner is not ready"));
    }
    let mut stream = runner.connect().await?;
    write(&mut stream, b"CONNECT runner HTTP/1.1\r\nHost: runner\r\n\r\n").await?;
    let (head, beginning) = read_head(&mut stream).await?.ok_or_else(|| lost("the runner closed the connection"))?;
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(lost("the runner refused the connection"));
    }
    Ok((stream, b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), beginning))
}

/// Reads up to and with the empty line: (head, what came after it). None when the peer closed before a byte.
async fn read_head(stream: &mut UnixStream) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let bad = |what: &str| Error::new(ErrorCode::Protocol, what);
    let work = async {
        let mut head = Vec::with_capacity(1024);
        loop {
            let count = stream.read_buf(&mut head).await.map_err(|error| bad(&error.to_string()))?;
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = head.split_off(end + 4);
                return Ok(Some((head, rest)));
            }
            match (count, head.len()) {
                (0, 0) => return Ok(None),
                (0, _) => return Err(bad("the connection ended within a request's head")),
                (_, HEAD_BYTES..) => return Err(bad("a request's head of more than 8 KiB")),
                _ => {}
            }
        }
    };
    tokio::time::timeout(HEAD_LIMIT, work).await.map_err(|_| bad("no request in 5 s"))?
}

/// A short answer, after which the connection ends.
async fn refuse(stream: &mut UnixStream, status: &str, text: &str) {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
    let _ = write(stream, answer.as_bytes()).await;
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> Result<()> {
    let lost = |what: &str| Error::new(ErrorCode::RunnerLost, what);
    match tokio::time::timeout(WRITE_LIMIT, to.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(&error.to_string())),
        Err(_) => Err(lost("the peer does not read")),
    }
}

/// Passes messages both ways until either side ends.
async fn relay(host: &mut UnixStream, early: &[u8], mut runner: UnixStream, beginning: &[u8]) -> Result<()> {
    let meter = Meter::new(METER);
    let (host_in, host_out) = host.split();
    let (runner_in, runner_out) = runner.split();
    tokio::select! {
        end = pass(host_in, runner_out, Frames::new(TO_RUNNER, early), |_| true, |message| meter.host_sent(message)) => end,
        end = pass(
            runner_in,
            host_out,
            Frames::new(TO_HOST, beginning),
            |length| meter.admits(length),
            |message| meter.runner_sent(message),
        ) => end,
    }
}

/// One direction: whole messages, all that a read has brought in one write, as far as they are admitted.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut frames: Frames,
    admits: impl Fn(usize) -> bool,
    check: impl Fn(&[u8]) -> Result<()>,
) -> Result<()> {
    loop {
        let mut whole = 0..0;
        let checked = loop {
            match frames.next() {
                Ok(Some(message)) => {
                    while !admits(message.len()) {
                        if !whole.is_empty() {
                            write(&mut to, frames.bytes(std::mem::take(&mut whole))).await?;
                        }
                        tokio::time::sleep(WAIT_STEP).await;
                    }
                    if whole.is_empty() {
                        whole.start = message.start;
                    }
                    if let Err(error) = check(frames.bytes(message.clone())) {
                        break Err(error);
                    }
                    whole.end = message.end;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if !whole.is_empty() {
            write(&mut to, frames.bytes(whole)).await?;
        }
        checked?;
        if !frames.fill(&mut from).await? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::Builder;
    use capnp_rpc::rpc_capnp::message;

    /// Both far ends of a relay, and its end.
    fn relayed() -> (UnixStream, UnixStream, tokio::task::JoinHandle<Result<()>>) {
        let (host, mut host_end) = UnixStream::pair().unwrap();
        let (runner, runner_end) = UnixStream::pair().unwrap();
        (host, runner, tokio::spawn(async move { relay(&mut host_end, b"", runner_end, b"").await }))
    }

    fn written(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
        let mut builder = Builder::new_default();
        fill(builder.init_root());
        capnp::serialize::write_message_to_words(&builder)
    }

    fn call(id: u32) -> Vec<u8> {
        written(|message| message.init_call().set_question_id(id))
    }

    /// What the host received when the relay had ended, and why it did.
    async fn after(sent: &[u8]) -> (Vec<u8>, Error) {
        let (mut host, mut runner, end) = relayed();
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            host.read_to_end(&mut received).await.map(|_| received)
        });
        // The relay may end before it has taken all.
        let _ = runner.write_all(sent).await;
        let error = end.await.unwrap().unwrap_err();
        (reader.await.unwrap().unwrap(), error)
    }

    #[tokio::test]
    async fn messages_pass_both_ways_and_byte_by_byte() {
        let (mut host, mut runner, end) = relayed();
        for byte in call(7) {
            runner.write_all(&[byte]).await.unwrap();
        }
        let mut received = vec![0; call(7).len()];
        host.read_exact(&mut received).await.unwrap();
        assert_eq!(received, call(7));
        let large = written(|message| {
            message
                .init_call()
                .init_params()
                .get_content()
                .set_as::<capnp::data::Owned>(vec![9; 9 << 20].as_slice())
                .unwrap()
        });
        let expected = large.clone();
        let writer = tokio::spawn(async move { host.write_all(&large).await.map(|()| host) });
        let mut received = vec![0; expected.len()];
        runner.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        drop(writer.await.unwrap().unwrap());
        end.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_calls_ends_the_connection_with_whole_messages_only() {
        let sent: Vec<u8> = (0..300).flat_map(call).collect();
        let (received, error) = after(&sent).await;
        assert!(error.message.contains("256 calls in flight"), "{error}");
        assert_eq!(received, sent[..received.len()]);
        assert_eq!(received.len(), call(0).len() * 256);
    }

    #[tokio::test]
    async fn a_flood_of_messages_is_slowed_down_and_the_other_direction_is_not() {
        let (mut host, mut runner, end) = relayed();
        let finish = written(|message| message.init_finish().set_question_id(3));
        let flood = finish.repeat(100_000);
        let begin = std::time::Instant::now();
        let writer = tokio::spawn(async move {
            // The relay ends with the test.
            let _ = runner.write_all(&flood).await;
            runner
        });
        let mut received = vec![0; finish.len() * 24_000];
        host.read_exact(&mut received).await.unwrap();
        assert_eq!(received, finish.repeat(24_000));
        assert!(begin.elapsed() > Duration::from_millis(450), "{:?}", begin.elapsed());
        host.write_all(&call(1)).await.unwrap();
        drop(host);
        let mut runner = writer.await.unwrap();
        let mut asked = vec![0; call(1).len()];
        runner.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, call(1));
        drop(end.await.unwrap());
    }

    #[tokio::test]
    async fn who_does_not_read_does_not_hold_the_other_direction_up() {
        let (mut host, mut runner, _end) = relayed();
        let large = written(|message| {
            let content = vec![9_u8; 9 << 20];
            message.init_call().init_params().get_content().set_as::<capnp::data::Owned>(content.as_slice()).unwrap()
        });
        let (mut from_host, mut to_relay) = host.split();
        // The relay takes one message whole, and then no more.
        let stuck = async { to_relay.write_all(&large.repeat(2)).await.map(|()| "was taken") };
        let answered = async {
            for id in 0..200 {
                runner.write_all(&call(id)).await?;
                from_host.read_exact(&mut vec![0; call(id).len()]).await?;
            }
            Ok("answered")
        };
        let first: std::io::Result<&str> = tokio::select! { end = stuck => end, end = answered => end };
        assert_eq!(first.unwrap(), "answered");
    }

    #[tokio::test]
    async fn nothing_of_a_huge_malformed_or_torn_message_reaches_the_host() {
        let mut huge = vec![0, 0, 0, 0];
        huge.extend((1_u32 << 20).to_le_bytes());
        let many = [200_u32.to_le_bytes().to_vec(), vec![0; 900]].concat();
        let unknown = [[0, 0, 0, 0, 2, 0, 0, 0].to_vec(), (1_u64 << 32).to_le_bytes().to_vec(), vec![0xff; 8]].concat();
        for bad in [huge, many, unknown, vec![0xff; 64]] {
            let (received, error) = after(&[call(1), bad.clone()].concat()).await;
            assert_eq!((received, error.code), (call(1), ErrorCode::Protocol), "{bad:?}");
        }
        let (mut host, mut runner, end) = relayed();
        runner.write_all(&call(1)[..20]).await.unwrap();
        drop(runner);
        assert_eq!(end.await.unwrap().unwrap_err().code, ErrorCode::Protocol);
        assert_eq!(host.read(&mut [0; 8]).await.unwrap(), 0);
    }
}

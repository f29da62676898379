//! The application's side of its instance.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::ahead;
use crate::connection::{Answered, Connection};
use crate::error::{Error, Result};
use crate::numbers::{self, Code};
use crate::packet::{PAYLOAD, Packet, Request};
use crate::reply::Reply;

const SOCKET: &str = "/run/headstart/app.sock";
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

thread_local! {
    /// This thread's connections, by the socket's path.
    static CONNECTIONS: RefCell<HashMap<Arc<str>, Connection>> = RefCell::default();
}

/// This program's instance. Threads share it, or clones of it; each has a connection of its own (at most 64 of an instance),
/// and so has a forked child, which leaves its parent's alone. Nothing connects before the first call.
#[derive(Clone, Debug)]
pub struct Client {
    path: Arc<str>,
}

/// How a message or an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// 30 s where nothing is said.
    pub timeout: Duration,
    /// Whether the reply may be given while its bytes still come.
    pub progressive: bool,
}

impl Default for Wait {
    fn default() -> Self {
        Self { timeout: TIMEOUT, progressive: false }
    }
}

impl Wait {
    pub fn at_most(timeout: Duration) -> Self {
        Self { timeout, progressive: false }
    }

    pub fn progressive(self) -> Self {
        Self { progressive: true, ..self }
    }

    fn flags(self) -> u32 {
        if self.progressive { numbers::FLAG_PROGRESSIVE } else { 0 }
    }
}

/// The id that a text stands for: FNV-1a, 64 bits.
pub const fn id(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

fn claim(id: u64, content: &str, wait: Wait) -> Request<'_> {
    let (flags, payload) = (wait.flags(), content.as_bytes());
    Request { op: numbers::OP_RECV_MSG, id, flags, payload, ..Request::default() }
}

/// What was claimed ahead may still be coming.
fn given(reply: Reply, wait: Wait) -> Result<Reply> {
    if !wait.progressive {
        reply.whole()?;
    }
    Ok(reply)
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// The instance whose socket HEADSTART_SOCKET names, or else the usual one.
    pub fn new() -> Self {
        let named = std::env::var("HEADSTART_SOCKET").ok().filter(|path| !path.is_empty());
        Self::at(named.as_deref().unwrap_or(SOCKET))
    }

    pub fn at(path: &str) -> Self {
        Self { path: path.into() }
    }

    /// Connects this thread now instead of at its first call, and maps what the initscript has sent so far. The instance's id.
    pub fn connect(&self) -> Result<String> {
        self.prepare(None)
    }

    /// As [`Client::connect`], and claims all that was mapped, for this thread: the answers come while the program does other things,
    /// and who receives those messages finds them here. For programs that want whatever their initscript has sent; what
    /// they never ask for lies in memory until they end.
    pub fn claim_ahead(&self, timeout: Duration) -> Result<String> {
        self.prepare(Some(timeout))
    }

    fn prepare(&self, claiming: Option<Duration>) -> Result<String> {
        self.with(|connection| {
            // It only saves time: what was not mapped is when it is claimed.
            let _ = connection.map_there(claiming);
            connection.instance()
        })
    }

    /// Maps from now on what the initscript sends before it is claimed, in a thread of its own, for programs that do other things
    /// for long before their first claim. The thread ends with the instance; there is one of these.
    pub fn map_ahead(&self) -> Result<()> {
        let failed = |error| Error::new(Code::Internal, format!("no thread can be started: {error}"));
        ahead::start(&self.path).map_err(failed)
    }

    /// Receives message `id`. `content` says what is expected ("GET s3://bucket/key"); "" takes anything.
    pub fn recv_msg(&self, id: u64, content: &str, wait: Wait) -> Result<Reply> {
        self.ask(&claim(id, content, wait), &[], wait).and_then(|reply| given(reply, wait))
    }

    /// Receives several messages, each as [`Client::recv_msg`] does; all are asked for at once, so that they take one round trip
    /// together where they are there. What each came to, in the claims' order; each is waited for after those before it.
    pub fn recv_msgs(&self, claims: &[(u64, &str)], wait: Wait) -> Vec<Result<Reply>> {
        let requests: Vec<Request<'_>> = claims.iter().map(|(id, content)| claim(*id, content, wait)).collect();
        let received = self.with(|connection| Ok(self.replies(connection, &requests, wait)));
        let received = received.unwrap_or_else(|error| claims.iter().map(|_| Err(error.clone())).collect());
        received.into_iter().map(|reply| reply.and_then(|reply| given(reply, wait))).collect()
    }

    /// Has the bridge do a call, "GET s3://bucket/key", with its signature.
    pub fn call(&self, request: &str, headers: &[(&str, &str)], body: &[u8], wait: Wait) -> Result<Reply> {
        let mut lines = vec![request.to_owned()];
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if lines.iter().any(|line| line.contains(['\r', '\n'])) {
            return Err(Error::new(Code::InvalidArgument, "a line break in the head of a call"));
        }
        let head = lines.join("\n") + "\n\n";
        let (b, payload) = (body.len() as u64, head.as_bytes());
        self.ask(&Request { op: numbers::OP_CALL, b, flags: wait.flags(), payload, ..Request::default() }, body, wait)
    }

    /// Stamps a name on the timeline.
    pub fn mark(&self, name: &str) -> Result<()> {
        self.simple(&Request { op: numbers::OP_MARK, payload: name.as_bytes(), ..Request::default() }, &[]).map(|_| ())
    }

    /// Sends a message to the initscript's RecvMsg: at most 1 MiB.
    pub fn send_msg(&self, id: u64, data: &[u8]) -> Result<()> {
        let request = Request { op: numbers::OP_SEND_MSG, id, ..Request::default() };
        self.send(request, data)
    }

    /// A request that carries bytes: in its packet where they fit, else in the outbox.
    pub(crate) fn send(&self, request: Request<'_>, data: &[u8]) -> Result<()> {
        let request = if data.len() <= PAYLOAD {
            return self
                .simple(&Request { flags: request.flags | numbers::FLAG_INLINE, payload: data, ..request }, &[])
                .map(|_| ());
        } else {
            Request { b: data.len() as u64, ..request }
        };
        self.simple(&request, data).map(|_| ())
    }

    /// A request whose answer is no body; `outbox` is put where the bridge reads it.
    pub(crate) fn simple(&self, request: &Request<'_>, outbox: &[u8]) -> Result<Packet> {
        self.with(|connection| {
            connection.put(outbox, TIMEOUT)?;
            Ok(connection.request(request, None, TIMEOUT)?.0)
        })
    }

    /// A request with an fd, or for one.
    pub(crate) fn with_file(
        &self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> Result<Answered> {
        self.with(|connection| connection.request(request, file, timeout))
    }

    /// A request whose answer is a body.
    pub(crate) fn ask(&self, request: &Request<'_>, outbox: &[u8], wait: Wait) -> Result<Reply> {
        self.with(|connection| {
            connection.put(outbox, wait.timeout)?;
            let none = || Err(Error::new(Code::Internal, "a request without its answer"));
            self.replies(connection, std::slice::from_ref(request), wait).pop().unwrap_or_else(none)
        })
    }

    /// Several of them. Segments are asked for where they are needed after the last answer has come.
    fn replies(&self, connection: &mut Connection, requests: &[Request<'_>], wait: Wait) -> Vec<Result<Reply>> {
        let answers = connection.bodies(requests, wait.timeout);
        let reply = |answer: Result<Answered>| {
            let (packet, file) = answer?;
            Reply::new(self.clone(), connection, packet, file, wait.timeout)
        };
        answers.into_iter().map(reply).collect()
    }

    /// Uses this thread's connection, which is opened where there is none, or the one there is is lost or a parent's.
    fn with<T>(&self, use_it: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let ended = |_| Error::new(Code::Cancelled, "the thread is ending");
        let within = |connections: &RefCell<HashMap<Arc<str>, Connection>>| {
            let mut connections = connections.borrow_mut();
            if connections.get(&self.path).is_none_or(|connection| !connection.is_usable()) {
                connections.remove(&self.path);
                connections.insert(Arc::clone(&self.path), Connection::open(&self.path)?);
            }
            match connections.get_mut(&self.path) {
                Some(connection) => use_it(connection),
                None => Err(Error::new(Code::Internal, "the connection is not there")),
            }
        };
        CONNECTIONS.try_with(within).map_err(ended)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_hash() {
        assert_eq!(id(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(id("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn without_a_bridge_there_is_an_error_at_once() {
        let client = Client::at("/nowhere/app.sock");
        assert_eq!(client.connect().unwrap_err().code, Code::BridgeLost);
        assert_eq!(client.mark("x").unwrap_err().code, Code::BridgeLost);
        let split = client.call("GET s3://a/b", &[("x", "y\nz")], &[], Wait::default());
        assert_eq!(split.unwrap_err().code, Code::InvalidArgument);
    }
}

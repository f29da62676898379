//! Invocations: the event goes to the application's `next`, its `respond` goes to the caller.
//!
//! The answer flows through a channel of one piece, so a slow caller slows the application down and nothing piles up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::instance::body::Finished;
use crate::instance::event::Kind;
use crate::instance::{Instance, Stage, closed, error};
use crate::metrics::Outcome;

/// Headers of an answer.
const MOST_HEADERS: usize = 64;
/// How long a caller may come before its instance's start.
const START_WAIT: Duration = Duration::from_secs(10);
/// How long an answer's end is kept back until the host has heard of it.
const HOST_HEARS: Duration = Duration::from_millis(250);
/// How long a caller may take to read what comes before the cut.
const CALLER_READS: Duration = Duration::from_secs(60);

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the caller's side holds: the head comes first, then the pieces.
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) head: oneshot::Receiver<Result<Head>>,
    pub(crate) pieces: mpsc::Receiver<Result<Bytes>>,
    pub(crate) deadline: Instant,
}

#[derive(Default)]
pub(super) struct Invocations {
    last: u64,
    open: HashMap<u64, Open>,
    queue: VecDeque<u64>,
    arrived: Arc<Notify>,
}

/// An invocation that has not been answered.
struct Open {
    event: Arc<Finished>,
    taken: bool,
    head: Option<oneshot::Sender<Result<Head>>>,
    pieces: mpsc::Sender<Result<Bytes>>,
    bytes: u64,
    /// Cancelled when it is not open any more.
    over: CancellationToken,
}

impl Invocations {
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

impl Instance {
    /// Waits until the instance has its function; the caller's request may come before `start` does.
    pub(crate) async fn started(&self) -> Result<()> {
        let mut stage = self.stage.subscribe();
        let started = tokio::time::timeout(START_WAIT, stage.wait_for(|stage| *stage != Stage::Spare)).await;
        match started {
            Ok(Ok(stage)) if *stage == Stage::Started => Ok(()),
            Ok(_) => Err(closed()),
            Err(_) => Err(error(ErrorCode::Deadline, "the instance was not started in time")),
        }
    }

    /// Queues an event for the application. The event's memory is the invocation's from now on, also when it is refused.
    pub(crate) fn invoke(self: &Arc<Self>, event: Finished, deadline: Instant) -> Result<Answer> {
        let segment = event.place.segment;
        self.queue(event, deadline).inspect_err(|_| {
            self.memory.release(segment);
        })
    }

    fn queue(self: &Arc<Self>, event: Finished, deadline: Instant) -> Result<Answer> {
        let (head_sender, head) = oneshot::channel();
        let (sender, pieces) = mpsc::channel(1);
        let over = CancellationToken::new();
        let number = {
            let mut state = self.lock();
            // Under the lock, so that it is either refused here or ended by the stop.
            if self.stage() != Stage::Started {
                return Err(closed());
            }
            if state.invocations.open() >= self.node.config.limits.invocations {
                return Err(error(ErrorCode::TooMany, "too many invocations wait for this instance"));
            }
            let invocations = &mut state.invocations;
            invocations.last += 1;
            let number = invocations.last;
            let open = Open {
                event: Arc::new(event),
                taken: false,
                head: Some(head_sender),
                pieces: sender,
                bytes: 0,
                over: over.clone(),
            };
            invocations.open.insert(number, open);
            invocations.queue.push_back(number);
            invocations.arrived.notify_one();
            number
        };
        let instance = Arc::clone(self);
        self.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => instance.time_out(number),
                () = over.cancelled() => {}
            }
        });
        Ok(Answer { number, head, pieces, deadline })
    }

    /// The next event for the application.
    pub(crate) async fn next(&self, wait: Duration) -> Result<(u64, Arc<Finished>)> {
        let arrived = Arc::clone(&self.lock().invocations.arrived);
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            if let Some(taken) = self.take() {
                return Ok(taken);
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(closed()),
                () = arrived.notified() => {}
                () = tokio::time::sleep_until(deadline) => {
                    return Err(error(ErrorCode::Deadline, "no invocation came in time"));
                }
            }
        }
    }

    fn take(&self) -> Option<(u64, Arc<Finished>)> {
        let mut state = self.lock();
        let number = state.invocations.queue.pop_front()?;
        if !state.invocations.queue.is_empty() {
            state.invocations.arrived.notify_one();
        }
        let open = state.invocations.open.get_mut(&number)?;
        open.taken = true;
        let event = Arc::clone(&open.event);
        drop(state);
        self.events.push(Kind::InvocationTaken(number));
        self.has_started();
        Some((number, event))
    }

    /// Its start is over: it has its first event or, being a service, is ready. What starts held back goes on.
    pub(super) fn has_started(&self) {
        let (starting, since) = {
            let mut state = self.lock();
            let since = headstart_base::now().saturating_sub(state.started_at);
            (state.starting.take(), since)
        };
        if starting.is_none() {
            return;
        }
        self.node.metrics.start_seconds.observe(since as f64 / 1e9);
        // Without the lock: it asks for the pool's.
        drop(starting);
    }

    /// Refuses the number of an invocation that the application does not have, or has no more (`cancelled`).
    pub(crate) fn is_taken(&self, number: u64) -> Result<()> {
        self.lock().invocations.taken(number).map(|_| ())
    }

    /// The answer's head.
    pub(crate) fn answer_head(&self, number: u64, head: Head) -> Result<()> {
        let sender = {
            let mut state = self.lock();
            let open = state.invocations.taken(number)?;
            open.head.take().ok_or_else(|| error(ErrorCode::Protocol, "the answer has its head already"))?
        };
        self.events.push(Kind::AnswerBegun(number));
        // The caller may have gone: the next piece says so.
        let _ = sender.send(Ok(head));
        Ok(())
    }

    /// A piece of the answer: returns when there is room for the next one.
    pub(crate) async fn answer_piece(self: &Arc<Self>, number: u64, piece: Bytes) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let limit = self.function().map_or(0, |function| function.limits.answer_bytes);
        let (sender, length) = {
            let mut state = self.lock();
            let open = state.invocations.taken(number)?;
            if open.head.is_some() {
                return Err(error(ErrorCode::Protocol, "an answer begins with its head"));
            }
            open.bytes += piece.len() as u64;
            (open.pieces.clone(), open.bytes)
        };
        if length > limit {
            let message = format!("the answer is longer than the function's limit of {limit} bytes");
            let too_long = error(ErrorCode::PayloadTooLarge, message);
            self.end_invocation(number, Err(too_long.clone()));
            return Err(too_long);
        }
        self.node.metrics.answer_bytes.inc_by(piece.len() as u64);
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closed()),
            sent = sender.send(Ok(piece)) => sent.map_err(|_| caller_gone()),
        }
    }

    /// The answer is complete.
    pub(crate) fn finish_answer(self: &Arc<Self>, number: u64) -> Result<()> {
        if self.lock().invocations.taken(number)?.head.is_some() {
            return Err(error(ErrorCode::Protocol, "an answer begins with its head"));
        }
        self.end_invocation(number, Ok(()));
        Ok(())
    }

    /// Ends an invocation, if it is still open.
    pub(crate) fn end_invocation(self: &Arc<Self>, number: u64, outcome: Result<()>) {
        let mut state = self.lock();
        let Some(open) = state.invocations.open.remove(&number) else { return };
        state.invocations.queue.retain(|queued| *queued != number);
        if number == 1 {
            state.void_all();
        }
        drop(state);
        open.over.cancel();
        let code = crate::metrics::outcome(&outcome).code;
        self.node.metrics.invocations.get_or_create(&Outcome { code }).inc();
        self.memory.release(open.event.place.segment);
        let error = outcome.err();
        self.events.push(Kind::AnswerEnded { invocation: number, bytes: open.bytes, error: error.clone() });
        let instance = Arc::clone(self);
        // Not a task of the instance's: its reaping does not wait for a caller.
        drop(self.node.data.spawn(async move {
            // The host hears first: a caller that asks again at once finds the instance free.
            instance.events.heard(HOST_HEARS).await;
            drop(instance);
            let Some(error) = error else { return };
            match open.head {
                Some(head) => drop(head.send(Err(error))),
                // The head is out: the connection is cut. There may be no room until the caller has read or is gone.
                None => drop(tokio::time::timeout(CALLER_READS, open.pieces.send(Err(error))).await),
            }
        }));
    }

    /// The caller went away before the answer's end.
    pub(crate) fn caller_gone(self: &Arc<Self>, number: u64) {
        self.end_invocation(number, Err(caller_gone()));
    }

    /// The application is gone: so are the answers.
    pub(super) fn end_invocations(self: &Arc<Self>, why: &Error) {
        let open: Vec<u64> = self.lock().invocations.open.keys().copied().collect();
        for number in open {
            self.end_invocation(number, Err(why.clone()));
        }
    }

    pub(crate) fn open_invocations(&self) -> usize {
        self.lock().invocations.open()
    }

    fn time_out(self: &Arc<Self>, number: u64) {
        if !self.lock().invocations.open.contains_key(&number) {
            return;
        }
        let limit = self.function().map_or(0, |function| function.limits.timeout_millis);
        let late = error(ErrorCode::FunctionTimeout, format!("the function did not answer within {limit} ms"));
        self.end_invocation(number, Err(late.clone()));
        self.kill_app(late);
    }
}

impl Invocations {
    fn taken(&mut self, number: u64) -> Result<&mut Open> {
        if number == 0 || number > self.last {
            return Err(error(ErrorCode::InvalidArgument, format!("there was no invocation {number}")));
        }
        match self.open.get_mut(&number) {
            Some(open) if open.taken => Ok(open),
            Some(_) => {
                Err(error(ErrorCode::InvalidArgument, format!("invocation {number} was not given to the application")))
            }
            None => Err(error(ErrorCode::Cancelled, format!("invocation {number} has ended"))),
        }
    }
}

fn caller_gone() -> Error {
    error(ErrorCode::Cancelled, "the caller went away")
}

impl Head {
    /// The head of an answer that came by HTTP, with the same bounds as [`Head::parse`].
    pub(crate) fn of(status: StatusCode, mut headers: HeaderMap) -> Result<Self> {
        bounded(status.as_u16(), headers.len())?;
        let mut last = None;
        let all = headers.drain().filter_map(|(name, value)| {
            // A name is said once for all of its values.
            last = name.or(last.take());
            last.clone().map(|name| (name, value))
        });
        Ok(Self { status, headers: all.filter(|(name, _)| !is_of_connection(name.as_str())).collect() })
    }

    /// Parses `{"status":200,"headers":[["name","value"]]}`. Headers of the connection itself are not the application's to
    /// set and are left out.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            status: u16,
            #[serde(default)]
            headers: Vec<(String, String)>,
        }
        let wire: Wire = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        bounded(wire.status, wire.headers.len())?;
        let status = StatusCode::from_u16(wire.status).map_err(|error| wrong(error.to_string()))?;
        let mut headers = Vec::with_capacity(wire.headers.len());
        for (name, value) in wire.headers {
            let name = HeaderName::try_from(&name).map_err(|_| wrong(format!("{name:?} is no header's name")))?;
            let value =
                HeaderValue::try_from(&value).map_err(|_| wrong(format!("the value of {name} is malformed")))?;
            if !is_of_connection(name.as_str()) {
                headers.push((name, value));
            }
        }
        Ok(Self { status, headers })
    }
}

/// What no answer has.
fn bounded(status: u16, headers: usize) -> Result<()> {
    if !(200..=599).contains(&status) {
        return Err(wrong(format!("status {status} is not between 200 and 599")));
    }
    if headers > MOST_HEADERS {
        return Err(wrong(format!("more than {MOST_HEADERS} headers")));
    }
    Ok(())
}

fn wrong(what: String) -> Error {
    error(ErrorCode::InvalidArgument, format!("the answer's head: {what}"))
}

fn is_of_connection(name: &str) -> bool {
    matches!(name, "connection" | "content-length" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
        || name.starts_with("x-headstart-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_checked() {
        let json = br#"{"status":201,"headers":[["Content-Type","text/plain"],["Content-Length","5"],["X-Headstart-Invocation","9"]]}"#;
        let head = Head::parse(json).unwrap();
        assert_eq!(head.status, 201);
        assert_eq!(head.headers.len(), 1);
        for json in [
            r#"{"status":100}"#,
            r#"{"status":600}"#,
            r#"{"status":"200"}"#,
            r#"{}"#,
            "",
            r#"{"status":200,"headers":[["a b","c"]]}"#,
            r#"{"status":200,"headers":[["a","c\r\nd: e"]]}"#,
            r#"{"status":200,"more":1}"#,
        ] {
            assert_eq!(Head::parse(json.as_bytes()).unwrap_err().code, ErrorCode::InvalidArgument, "{json}");
        }
    }
}

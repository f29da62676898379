//! What an isolate asks of the bridge, on a socket of its own: identity is the listener, as with the application's socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_sandbox::ISOLATE_ASKS;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBufForce;
use serde::Deserialize;
use tokio::net::UnixListener;

use crate::errors::io;
use crate::http::{Body, discard, failure, receive};
use crate::instance::Instance;
use crate::instance::messages::Given;
use crate::isolate::pieces::Pieces;

const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// The longest deadline that a request may have.
const LONGEST_DEADLINE: Duration = Duration::from_secs(3600);
/// Bytes on their way to the isolate, on a connection: they are still in the processor's cache when it reads them.
const SEND_BUFFER: usize = 128 << 10;
/// The head of a call, and what is asked as JSON.
const TEXT_BYTES: u64 = 4096;
/// How much of a request that is refused is read before the answer.
const REFUSED_BYTES: u64 = 64 << 20;
const REFUSED_TIME: Duration = Duration::from_secs(5);
/// A message to the initscript.
const MESSAGE_BYTES: u64 = 1 << 20;
const HEAD: &str = "x-headstart-head";
const TIMEOUT: &str = "x-headstart-timeout";
/// The status of the protocol behind what is answered.
const STATUS: &str = "x-headstart-status";

/// Makes the socket, and serves it until the instance closes.
pub(crate) fn listen(instance: &Arc<Instance>) -> Result<()> {
    let path = instance.node.instance_dir(&instance.id).join(ISOLATE_ASKS);
    let listener = {
        let _runtime = instance.node.data.enter();
        UnixListener::bind(&path).map_err(|error| io("cannot listen for the isolate", &error))?
    };
    let serving = Arc::clone(instance);
    instance.spawn(async move {
        tokio::select! {
            () = accept(&serving, &listener) => {}
            () = serving.closing.cancelled() => {}
        }
    });
    Ok(())
}

async fn accept(instance: &Arc<Instance>, listener: &UnixListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of fds, say: wait, so as not to spin.
                tracing::warn!(instance = instance.id, %error, "cannot accept an isolate's connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // What is sent waits there for a reader that has a thread of its own only.
        if let Err(error) = setsockopt(&stream, SndBufForce, &SEND_BUFFER) {
            tracing::debug!(%error, "an isolate's connection keeps its buffer");
        }
        if !instance.connection_opened() {
            tracing::info!(instance = instance.id, "too many connections of the isolate");
            continue;
        }
        let serving = Arc::clone(instance);
        instance.spawn(async move {
            let answering = Arc::clone(&serving);
            let service = service_fn(move |request| answer(Arc::clone(&answering), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .max_headers(32)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "an isolate's connection ends");
                },
                () = serving.closing.cancelled() => {}
            }
            serving.connection_closed();
        });
    }
}

async fn answer(
    instance: Arc<Instance>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Body>, Infallible> {
    instance.node.metrics.app_packets.inc();
    // Each request may be an event.
    instance.bound_events();
    let (head, mut body) = request.into_parts();
    let answered = dispatch(&instance, &head, &mut body).await;
    if answered.is_err() {
        // Who still writes does not see an answer.
        discard(&mut body, REFUSED_BYTES, REFUSED_TIME).await;
    }
    Ok(answered.unwrap_or_else(|error| failure(&error)))
}

async fn dispatch(instance: &Arc<Instance>, head: &Parts, body: &mut Incoming) -> Result<Response<Body>> {
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/receive") => receive_message(instance, body).await,
        (&Method::POST, "/call") => call(instance, &head.headers, body).await,
        (&Method::POST, path) => match path.strip_prefix("/send/").and_then(|id| id.parse().ok()) {
            Some(id) => send(instance, id, body).await,
            None => Err(unknown(path)),
        },
        (_, path) => Err(unknown(path)),
    }
}

/// RecvMsg.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receive {
    /// Decimal: the isolate's numbers have 53 bits.
    id: String,
    #[serde(default)]
    content: String,
    /// Milliseconds; 0: 30 s.
    #[serde(default)]
    timeout: u64,
}

async fn receive_message(instance: &Arc<Instance>, body: &mut Incoming) -> Result<Response<Body>> {
    let text = take(instance, body, TEXT_BYTES).await?;
    let Receive { id, content, timeout } = serde_json::from_slice(&text)
        .map_err(|error| Error::new(ErrorCode::Protocol, format!("what is to be received: {error}")))?;
    let id = id.parse().map_err(|_| Error::new(ErrorCode::InvalidArgument, format!("id {id:.40}")))?;
    let (received, served) = instance.receive(id, &content, true, deadline(timeout)).await;
    if let Some(event) = served {
        instance.events.push(event);
    }
    Ok(bytes_of(instance, received?))
}

async fn call(instance: &Arc<Instance>, headers: &HeaderMap, body: &mut Incoming) -> Result<Response<Body>> {
    let head =
        number(headers, HEAD)?.ok_or_else(|| Error::new(ErrorCode::Protocol, "a call says how long its head is"))?;
    let wait = deadline(number(headers, TIMEOUT)?.unwrap_or(0));
    let until = Instant::now() + wait;
    if head > TEXT_BYTES {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("the head of a call has at most {TEXT_BYTES} bytes"),
        ));
    }
    let most = instance.node.config.limits.outbox_bytes.saturating_add(TEXT_BYTES);
    let late = |_| Error::new(ErrorCode::Deadline, "what was waited for did not come in time");
    let work = async {
        let mut bytes = take(instance, body, most).await?;
        let head = usize::try_from(head).ok().filter(|head| *head <= bytes.len());
        let head = head.ok_or_else(|| Error::new(ErrorCode::Protocol, "the head of a call is cut off"))?;
        let body = bytes.split_off(head);
        let reply = instance.call(&bytes, body, until)?;
        instance.give(&reply, true).await
    };
    let given = tokio::time::timeout_at(until.into(), work).await.map_err(late)??;
    Ok(bytes_of(instance, given))
}

async fn send(instance: &Arc<Instance>, id: u64, body: &mut Incoming) -> Result<Response<Body>> {
    let bytes = take(instance, body, MESSAGE_BYTES).await?;
    instance.send_message(id, bytes)?;
    Ok(Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()))
}

/// A body of what the isolate sent. While it comes it lies in the instance's memory, as in an outbox, and counts there.
async fn take(instance: &Arc<Instance>, body: &mut Incoming, most: u64) -> Result<Vec<u8>> {
    if body.size_hint().exact().is_none() {
        return Err(Error::new(ErrorCode::Protocol, "a request says how long it is"));
    }
    let received = tokio::time::timeout(DEFAULT_DEADLINE, receive(instance, body, most)).await;
    let received =
        received.map_err(|_| Error::new(ErrorCode::Deadline, "the request's bytes did not come in time"))??;
    match received.inlined {
        Some(bytes) => Ok(bytes.to_vec()),
        None => {
            let bytes = instance.memory.read(received.place, received.length);
            instance.memory.release(received.place.segment);
            bytes
        }
    }
}

fn bytes_of(instance: &Arc<Instance>, given: Given) -> Response<Body> {
    let status = match &given {
        Given::Whole(finished) => finished.status,
        Given::Part { status, .. } => *status,
    };
    let mut response = Response::new(Pieces::given(instance, given).boxed_unsync());
    response.headers_mut().insert(STATUS, HeaderValue::from(status));
    response
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Error::new(ErrorCode::Protocol, format!("{name} is a number")))
}

fn deadline(millis: u64) -> Duration {
    match millis {
        0 => DEFAULT_DEADLINE,
        millis => Duration::from_millis(millis).min(LONGEST_DEADLINE),
    }
}

fn unknown(path: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no {path:.80} for an isolate"))
}

//! `POST /instances/{id}/invocations`: the event in, the application's answer out, streamed both ways.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::{Request, Response};
use tokio::sync::mpsc;

use super::{Body, Cut, discard};
use crate::app::INLINE;
use crate::instance::Instance;
use crate::instance::body::Finished;
use crate::node::Node;

/// How much of an event that is refused is read before the answer.
const REFUSED_BYTES: u64 = 64 << 20;
const REFUSED_TIME: Duration = Duration::from_secs(5);
const NUMBER: &str = "x-headstart-invocation";

pub(super) async fn invoke(node: &Arc<Node>, id: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    node.refuse_if_draining()?;
    let instance = node.find_instance(id)?;
    instance.started().await?;
    let Some(function) = instance.function() else {
        return Err(crate::errors::instance_closed());
    };
    let deadline = Instant::now() + Duration::from_millis(function.limits.timeout_millis.into());
    let mut body = request.into_body();
    let receiving = receive(&instance, &mut body, function.limits.event_bytes);
    let received = tokio::time::timeout_at(deadline.into(), receiving).await;
    let event = match received.map_err(|_| Error::new(ErrorCode::Deadline, "the event did not come in time"))? {
        Ok(event) => event,
        Err(error) => {
            discard(&mut body, REFUSED_BYTES, REFUSED_TIME).await;
            return Err(error);
        }
    };
    let answer = instance.invoke(event, deadline)?;
    let caller = Caller { instance, number: answer.number };
    // A little later than the instance's own timer, which says why.
    let late = answer.deadline + Duration::from_secs(5);
    let head = match tokio::time::timeout_at(late.into(), answer.head).await {
        Ok(Ok(head)) => head?,
        Ok(Err(_)) => return Err(crate::errors::instance_closed()),
        Err(_) => return Err(Error::new(ErrorCode::FunctionTimeout, "the function did not answer in time")),
    };
    let mut response = Response::new(AnswerBody { pieces: answer.pieces, _caller: caller }.boxed_unsync());
    *response.status_mut() = head.status;
    for (name, value) in head.headers {
        response.headers_mut().append(name, value);
    }
    response.headers_mut().insert(NUMBER, hyper::header::HeaderValue::from(answer.number));
    Ok(response)
}

/// Receives an event, or what an isolate sends: small ones stay here, others go into a segment of the instance.
pub(crate) async fn receive(instance: &Arc<Instance>, body: &mut Incoming, limit: u64) -> Result<Finished> {
    let too_large =
        || Error::new(ErrorCode::PayloadTooLarge, format!("what was sent is larger than the limit of {limit} bytes"));
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let broken = |error: hyper::Error| Error::new(ErrorCode::Cancelled, format!("the event broke off: {error}"));
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut length = 0_u64;
    let mut region = match announced {
        Some(length) if length > INLINE as u64 => Some(instance.memory.event(length)?),
        _ => None,
    };
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        length += piece.len() as u64;
        if length > limit {
            return Err(too_large());
        }
        match &mut region {
            Some(region) => {
                if !region.append(&piece) {
                    return Err(too_large());
                }
            }
            None => pieces.push(piece),
        }
    }
    if region.is_none() && length > INLINE as u64 {
        // Its length was not announced: it is at most the limit.
        let mut whole = instance.memory.event(length)?;
        for piece in pieces.drain(..) {
            if !whole.append(&piece) {
                return Err(too_large());
            }
        }
        region = Some(whole);
    }
    Ok(match region {
        Some(region) => Finished { place: region.keep(), length, ..Finished::default() },
        None => Finished { length, inlined: Some(pieces.concat().into()), ..Finished::default() },
    })
}

/// The caller: when it is dropped before the answer's end, it has gone away.
struct Caller {
    instance: Arc<Instance>,
    number: u64,
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Nothing happens when the invocation has ended.
        self.instance.caller_gone(self.number);
    }
}

/// The answer's pieces as they come. An error cuts the connection.
struct AnswerBody {
    pieces: mpsc::Receiver<Result<Bytes>>,
    _caller: Caller,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Cut>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }
}

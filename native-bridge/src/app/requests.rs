//! What each request of an application does.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headstart_base::app_capnp::{
    AppOp, FLAG_BEGIN, FLAG_DONE, FLAG_END, FLAG_ERROR, FLAG_INLINE, FLAG_LENGTH_KNOWN, FLAG_PROGRESSIVE,
};
use headstart_base::{Error, ErrorCode, Result};

use crate::app::INLINE;
use crate::app::connection::{Beside, Connection};
use crate::app::packet::{Answer, Request};
use crate::instance::body::{Finished, Place};
use crate::instance::event::Kind;
use crate::instance::invocations::Head;
use crate::instance::messages::Given;

/// Pieces that go to the caller at once.
const PIECE: u64 = 256 << 10;
/// Bytes of the text of a handler's failure.
const FAILURE_BYTES: u64 = 64 << 10;
const NAME_BYTES: usize = 256;

pub(super) type Answered = Result<(Answer, Beside)>;

impl Connection {
    pub(super) fn answer_at_once(&mut self, request: &Request<'_>) -> Answered {
        match request.op {
            AppOp::Hello => self.hello(request),
            AppOp::Outbox => self.new_outbox(request),
            AppOp::Free => {
                let segment = number(request.a)?;
                self.instance.free(segment)?;
                self.forget(segment);
                Ok((Answer::default(), Beside::Nothing))
            }
            AppOp::SendMsg => self.send_msg(request),
            AppOp::ConnStatus => self.conn_status(request),
            AppOp::Checkpoint => self.checkpoint(request),
            AppOp::Mark => {
                self.instance.mark(text(request.payload, NAME_BYTES, "a mark's name")?);
                Ok((Answer::default(), Beside::Nothing))
            }
            _ => Err(Error::new(ErrorCode::Internal, "the operation waits")),
        }
    }

    /// The answer, and what the host is told once it has left: to tell it earlier would hold the application up.
    pub(super) async fn wait_for(
        &self,
        request: &Request<'_>,
        files: Vec<OwnedFd>,
        wait: Duration,
    ) -> (Answered, Option<Kind>) {
        if let Some(refused) = self.refuse_before_snapshot(request.op) {
            return (Err(refused), None);
        }
        if request.op == AppOp::RecvMsg {
            return match text(request.payload, INLINE, "a content") {
                Ok(content) => {
                    let progressive = request.has(FLAG_PROGRESSIVE);
                    let (received, served) = self.instance.receive(request.id, &content, progressive, wait).await;
                    (received.and_then(given), served)
                }
                Err(error) => (Err(error), None),
            };
        }
        if request.op == AppOp::GetConn {
            return self.get_conn(request, wait).await;
        }
        (self.wait_for_other(request, files, wait).await, None)
    }

    async fn wait_for_other(&self, request: &Request<'_>, files: Vec<OwnedFd>, wait: Duration) -> Answered {
        let deadline = Instant::now() + wait;
        match request.op {
            AppOp::Call => within(deadline, self.call(request, deadline)).await,
            AppOp::Await => within(deadline, self.await_bytes(request)).await,
            AppOp::Next => self.next(wait).await,
            AppOp::Respond => within(deadline, self.respond(request)).await,
            AppOp::TransferConn => within(deadline, self.transfer_conn(request, files, deadline)).await,
            // A timer takes a millisecond to say that no time is left.
            AppOp::Segment if request.c != 0 => tokio::select! {
                biased;
                answer = self.segment(request) => answer,
                () = std::future::ready(()) => late(),
            },
            AppOp::Segment => within(deadline, self.segment(request)).await,
            _ => Err(Error::new(ErrorCode::Internal, "the operation does not wait")),
        }
    }

    fn hello(&mut self, request: &Request<'_>) -> Answered {
        let client = text(request.payload, NAME_BYTES, "the client's name")?;
        self.instance.app_connected(client);
        let limit = self
            .instance
            .function()
            .map_or(0, |function| function.limits.event_bytes.max(function.limits.answer_bytes));
        let payload = self.instance.id.clone().into_bytes();
        Ok((Answer { total: limit, payload, ..Answer::default() }, Beside::Nothing))
    }

    fn new_outbox(&mut self, request: &Request<'_>) -> Answered {
        let most = self.instance.node.config.limits.outbox_bytes;
        if request.a == 0 || request.a > most {
            return Err(Error::new(ErrorCode::InvalidArgument, format!("an outbox has 1 to {most} bytes")));
        }
        // The old one's memory first.
        self.outbox = None;
        let (segment, outbox) = self.instance.memory.outbox(request.a)?;
        let length = outbox.capacity() as u64;
        self.outbox = Some((segment, outbox));
        Ok((Answer { segment, length, total: length, flags: FLAG_LENGTH_KNOWN, ..Answer::default() }, Beside::Outbox))
    }

    async fn call(&self, request: &Request<'_>, deadline: Instant) -> Answered {
        let body = if request.b == 0 { Vec::new() } else { self.outbox_bytes(request.a, request.b)? };
        let answer = self.instance.call(request.payload, body, deadline)?;
        given(self.instance.give(&answer, request.has(FLAG_PROGRESSIVE)).await?)
    }

    async fn await_bytes(&self, request: &Request<'_>) -> Answered {
        let place = Place { segment: number(request.a)?, offset: request.b };
        let (length, done) = self.instance.await_bytes(place, request.c).await?;
        let flags = if done { FLAG_DONE | FLAG_LENGTH_KNOWN } else { 0 };
        let answer = Answer { flags, segment: place.segment, offset: place.offset, length, ..Answer::default() };
        Ok((Answer { total: if done { length } else { 0 }, ..answer }, Beside::Segment(place.segment)))
    }

    async fn next(&self, wait: Duration) -> Answered {
        let (number, event) = self.instance.next(wait).await?;
        let (answer, beside) = whole(&event);
        Ok((Answer { id: number, ..answer }, beside))
    }

    async fn respond(&self, request: &Request<'_>) -> Answered {
        let id = request.id;
        let ok = || Ok((Answer::default(), Beside::Nothing));
        self.instance.is_taken(id)?;
        if request.has(FLAG_ERROR) {
            let what = if request.b == 0 {
                request.payload.to_vec()
            } else {
                self.outbox_bytes(request.a, request.b.min(FAILURE_BYTES))?
            };
            let failed = Error::new(ErrorCode::FunctionFailed, String::from_utf8_lossy(&what).into_owned());
            self.instance.end_invocation(id, Err(failed));
            return ok();
        }
        let begins = request.has(FLAG_BEGIN);
        if begins && request.has(FLAG_INLINE) {
            return Err(Error::new(ErrorCode::Protocol, "a packet's payload is a head or bytes, not both"));
        }
        if begins {
            self.instance.answer_head(id, Head::parse(request.payload)?)?;
        }
        if request.has(FLAG_INLINE) {
            self.instance.answer_piece(id, Bytes::copy_from_slice(request.payload)).await?;
        } else {
            let (mut offset, mut left) = (request.a, request.b);
            while left > 0 {
                let length = left.min(PIECE);
                self.instance.answer_piece(id, Bytes::from(self.outbox_bytes(offset, length)?)).await?;
                offset = offset.saturating_add(length);
                left -= length;
            }
        }
        if request.has(FLAG_END) {
            self.instance.finish_answer(id)?;
        }
        ok()
    }

    /// The segment that is named or, where none is, the next one whose bytes are for the application.
    async fn segment(&self, request: &Request<'_>) -> Answered {
        let named = number(request.a)?;
        if named != 0 {
            let Some(segment) = self.instance.memory.find_told(named) else {
                return Err(Error::new(ErrorCode::NotFound, format!("there is no segment {named}")));
            };
            let total = segment.capacity() as u64;
            return Ok((Answer { segment: named, total, ..Answer::default() }, Beside::Asked(segment)));
        }
        let news = self.instance.next_segment(request.b).await?;
        let answer = Answer { id: news.order, segment: news.number, ..Answer::default() };
        let Some(segment) = news.segment else { return Ok((answer, Beside::Nothing)) };
        // A content that does not fit is not told.
        let message = self.instance.open_message_in(news.number).filter(|(_, content)| content.len() <= INLINE);
        let (offset, content) = message.unwrap_or_default();
        let answer = Answer { total: segment.capacity() as u64, offset, payload: content.into_bytes(), ..answer };
        Ok((answer, Beside::Asked(segment)))
    }

    pub(super) fn outbox_bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        match &self.outbox {
            Some((_, outbox)) => outbox.copy(offset, length),
            None => Err(Error::new(ErrorCode::InvalidArgument, "the connection has no outbox: ask for one first")),
        }
    }
}

async fn within(deadline: Instant, answer: impl Future<Output = Answered>) -> Answered {
    tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or_else(|_| late())
}

fn late() -> Answered {
    Err(Error::new(ErrorCode::Deadline, "what was waited for did not come in time"))
}

fn given(given: Given) -> Answered {
    match given {
        Given::Whole(finished) => Ok(whole(&finished)),
        Given::Part { status, place, total, written } => {
            let answer = Answer {
                flags: FLAG_LENGTH_KNOWN,
                segment: place.segment,
                offset: place.offset,
                length: written,
                status,
                total,
                ..Answer::default()
            };
            Ok((answer, Beside::Segment(place.segment)))
        }
    }
}

fn whole(finished: &Finished) -> (Answer, Beside) {
    let length = finished.length;
    let answer = Answer {
        flags: FLAG_DONE | FLAG_LENGTH_KNOWN,
        length,
        total: length,
        status: finished.status,
        ..Answer::default()
    };
    match &finished.inlined {
        // What lies in a file of the application's is there, however short.
        Some(bytes) if bytes.len() <= INLINE && finished.file.is_none() => {
            let flags = answer.flags | FLAG_INLINE;
            (Answer { flags, payload: bytes.to_vec(), ..answer }, Beside::Nothing)
        }
        _ => {
            let Place { segment, offset } = finished.place;
            (Answer { segment, offset, ..answer }, Beside::Segment(segment))
        }
    }
}

fn number(field: u64) -> Result<u32> {
    u32::try_from(field).map_err(|_| Error::new(ErrorCode::NotFound, format!("there is no segment {field}")))
}

pub(super) fn text(bytes: &[u8], most: usize, what: &str) -> Result<String> {
    if bytes.len() > most {
        return Err(Error::new(ErrorCode::InvalidArgument, format!("{what} has at most {most} bytes")));
    }
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| Error::new(ErrorCode::InvalidArgument, format!("{what} is not UTF-8")))
}

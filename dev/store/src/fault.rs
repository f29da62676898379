//! Faults on demand, for tests of what stands before the store.

use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use s3s::StdError;
use serde::Deserialize;

/// What goes wrong, once or some times, with one request.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fault {
    /// "GET models/weights".
    request: String,
    #[serde(flatten)]
    pub(crate) kind: Kind,
    #[serde(default = "once")]
    times: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The connection is reset after so many bytes of the body.
    Reset { after: u64 },
    /// The connection is closed after so many bytes of the body.
    Short { after: u64 },
    /// Bytes that nobody announced follow the body.
    Long,
    /// The answer has this status and no object.
    Status { status: u16 },
    /// After so many bytes of the body nothing comes for a while.
    Stall { after: u64, ms: u64 },
    /// The answer comes late.
    Slow { ms: u64 },
}

fn once() -> u32 {
    1
}

/// The faults that wait for their request.
#[derive(Default)]
pub(crate) struct Faults {
    armed: AtomicBool,
    list: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.armed.store(false, Ordering::Release);
    }

    /// The fault that this request meets, if any.
    pub(crate) fn take(&self, request: &str) -> Option<Kind> {
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let at = list.iter().position(|fault| fault.request == request && fault.times > 0)?;
        list[at].times -= 1;
        let kind = list[at].kind;
        list.retain(|fault| fault.times > 0);
        Some(kind)
    }
}

/// The connection of a request, as far as faults need it.
pub(crate) struct Wire {
    pub(crate) fd: RawFd,
    /// Set when bytes that nobody announced are to follow what has been written.
    pub(crate) surplus: AtomicBool,
}

/// A body on its way, with or without a fault.
pub(crate) struct Served {
    inner: s3s::Body,
    fault: Option<(Kind, Arc<Wire>)>,
    sent: u64,
    /// Once set, the body ends with an error after this wait, in which what is written so far leaves.
    ending: Option<Pin<Box<tokio::time::Sleep>>>,
    /// A body in the middle of a stall: what follows, after this wait.
    stalled: Option<(Pin<Box<tokio::time::Sleep>>, Bytes)>,
}

impl Served {
    pub(crate) fn new(inner: s3s::Body, fault: Option<(Kind, Arc<Wire>)>) -> Self {
        Self { inner, fault, sent: 0, ending: None, stalled: None }
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        if let Some(ending) = &mut this.ending {
            std::task::ready!(ending.as_mut().poll(cx));
            if let Some((Kind::Reset { .. }, wire)) = &this.fault {
                reset_on_close(wire.fd);
            }
            return Poll::Ready(Some(Err("a fault that was asked for".into())));
        }
        if let Some((stall, _)) = &mut this.stalled {
            std::task::ready!(stall.as_mut().poll(cx));
        }
        if let Some((_, rest)) = this.stalled.take()
            && !rest.is_empty()
        {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let polled = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let Some((kind, wire)) = &this.fault else { return Poll::Ready(polled) };
        match (kind, polled) {
            (Kind::Reset { after } | Kind::Short { after }, Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
                let left = usize::try_from(after - this.sent).unwrap_or(usize::MAX);
                if data.len() < left {
                    this.sent += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                this.ending = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
                Poll::Ready(Some(Ok(Frame::data(data.slice(..left)))))
            }
            (Kind::Stall { after, ms }, Some(Ok(frame))) => {
                let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
                let left = after.saturating_sub(this.sent);
                this.sent += data.len() as u64;
                if left == 0 || (data.len() as u64) < left {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                let rest = data.split_off(usize::try_from(left).unwrap_or(usize::MAX));
                this.stalled = Some((Box::pin(tokio::time::sleep(Duration::from_millis(*ms))), rest));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            (Kind::Long, frame) => {
                if this.inner.is_end_stream() {
                    wire.surplus.store(true, Ordering::Release);
                }
                Poll::Ready(frame)
            }
            (_, frame) => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.fault.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Makes the coming close(2) a reset.
fn reset_on_close(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: `fd` is the connection that this body is being written to, which outlives the body; the option's value is
    // a `linger` of the length that is given.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length) };
}

//! Bytes of an instance's memory as the body of a message: sent from where they lie, as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use headstart_base::Result;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::http::Cut;
use crate::instance::Instance;
use crate::instance::body::{Finished, Place};
use crate::instance::messages::Given;

/// Bytes that are sent at a time.
const PIECE: u64 = 1 << 20;
/// Pieces that wait to be taken.
const AHEAD: usize = 2;

/// A body whose length is known. An error cuts the connection.
pub(super) struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes>>,
    left: u64,
}

impl Pieces {
    /// The bytes of what the application was given, which is freed when they are sent, or not wanted any more.
    pub(super) fn given(instance: &Arc<Instance>, given: Given) -> Self {
        match given {
            Given::Whole(finished) => Self::finished(instance, finished, true),
            Given::Part { place, total, written, .. } => Self::sent(instance, place, total, written, true),
        }
    }

    /// The bytes of an event, which is the invocation's to free.
    pub(super) fn event(instance: &Arc<Instance>, event: Arc<Finished>) -> Self {
        Self::finished(instance, event, false)
    }

    fn finished(instance: &Arc<Instance>, finished: Arc<Finished>, free: bool) -> Self {
        match &finished.inlined {
            Some(bytes) => {
                let (sender, pieces) = mpsc::channel(1);
                // There is room for one.
                let _ = sender.try_send(Ok(bytes.clone()));
                if free {
                    // Most are nowhere else.
                    instance.memory.release(finished.place.segment);
                }
                Self { pieces, left: finished.length }
            }
            None => Self::sent(instance, finished.place, finished.length, finished.length, free),
        }
    }

    fn sent(instance: &Arc<Instance>, place: Place, total: u64, there: u64, free: bool) -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let reading = Arc::clone(instance);
        instance.spawn(async move {
            tokio::select! {
                () = read(&reading, place, total, there, &sender) => {}
                () = reading.closing.cancelled() => {}
            }
            if free {
                // It may be nowhere: there were no bytes.
                let _ = reading.free(place.segment);
            }
        });
        Self { pieces, left: total }
    }
}

async fn read(instance: &Instance, place: Place, total: u64, mut there: u64, sender: &mpsc::Sender<Result<Bytes>>) {
    let mut sent = 0;
    while sent < total {
        let wanted = async {
            if there <= sent {
                there = instance.await_bytes(place, sent + 1).await?.0;
            }
            let at = Place { offset: place.offset + sent, ..place };
            // SAFETY: what a body says is there has been written, and stays as it is.
            unsafe { instance.memory.view(at, PIECE.min(there - sent)) }
        };
        let piece = tokio::select! {
            piece = wanted => piece,
            () = sender.closed() => return,
        };
        let failed = piece.is_err();
        sent += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Cut>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => Some(Err(crate::errors::instance_closed().into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

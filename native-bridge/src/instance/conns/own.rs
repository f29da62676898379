//! A connection of an instance's own: what the script sends on it goes in the order in which it was sent.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{Address, BodySink, Done, Progress, Request, Session};
use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

use crate::instance::conns::foreign::Foreign;
use crate::instance::error;

/// An open connection.
pub(super) struct Opened {
    pub(super) session: Box<Session>,
    /// Of one that the application made. Dropped after the session.
    pub(super) foreign: Option<Foreign>,
}

pub(crate) struct Own {
    pub(crate) address: Address,
    /// Nothing while it is being opened.
    opened: watch::Sender<Option<Result<Arc<Opened>>>>,
    /// Whose request is written next. Fair: whoever asks first has it first.
    turn: Mutex<()>,
    /// The RPCs on it.
    pub(crate) under_way: TaskTracker,
}

impl Own {
    /// One that is to be opened: see [`Own::open`].
    pub(super) fn new(address: Address) -> Arc<Self> {
        Arc::new(Self {
            address,
            opened: watch::Sender::new(None),
            turn: Mutex::default(),
            under_way: TaskTracker::new(),
        })
    }

    /// There is a connection, or it cannot be had.
    pub(super) fn open(&self, opened: Result<Opened>) {
        self.opened.send_replace(Some(opened.map(Arc::new)));
    }

    async fn opened(&self) -> Result<Arc<Opened>> {
        let mut opening = self.opened.subscribe();
        let opened = opening.wait_for(Option::is_some).await;
        // The sender lives as long as `self`.
        opened.ok().and_then(|opened| opened.clone()).unwrap_or_else(|| Err(error(ErrorCode::Internal, "never opened")))
    }

    /// Sends a request, in the order of the calls' first polls, and receives its answer.
    pub(crate) async fn send(
        &self,
        request: &Request,
        deadline: Instant,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Done> {
        let sending = async {
            let turn = self.turn.lock().await;
            let opened = self.opened().await?;
            let mut sending = pin!(opened.session.send(request, deadline, sink, progress));
            // Its first poll takes its place in the session's own order.
            let first = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
            drop(turn);
            match first {
                Poll::Ready(done) => done,
                Poll::Pending => sending.await,
            }
        };
        tokio::time::timeout_at(deadline.into(), sending).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorCode::RpcTimeout, format!("{} took longer than allowed", request.content)))
        })
    }

    /// Takes the connection away once no RPC is under way on it. Nobody else sends on it any more.
    pub(super) async fn take(&self) -> Result<Opened> {
        self.under_way.close();
        self.under_way.wait().await;
        // It may still be coming.
        drop(self.opened().await?);
        let gone = || Err(error(ErrorCode::ConnectionReset, "the connection was handed over"));
        let opened = self.opened.send_replace(Some(gone())).unwrap_or_else(gone)?;
        Arc::into_inner(opened).ok_or_else(|| error(ErrorCode::ConnectionBusy, "an RPC is under way on the connection"))
    }
}

//! Descriptors that an application sent.
//!
//! close(2) of one of them may take as long as the application likes: a socket that lingers, or a unix socket with such a one on
//! its way in it. So they are closed by threads that may block, one at a time for an instance, and an application that has the
//! bridge hold too many ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headstart_base::ErrorCode;
use nix::sys::socket::{setsockopt, sockopt};

use crate::instance::{Instance, error};

/// Descriptors of one application that wait to be closed: two packets' worth.
const MOST_HELD: usize = 512;

/// What of an application waits to be closed.
#[derive(Default)]
pub(in crate::instance) struct Closing {
    turn: tokio::sync::Mutex<()>,
    held: AtomicUsize,
}

impl Instance {
    /// Closes what an application sent, and waits for it: whoever sends more waits too.
    pub(crate) async fn close_foreign(self: &Arc<Self>, files: Vec<OwnedFd>) {
        if files.is_empty() {
            return;
        }
        let count = files.len();
        if self.closing_files.held.fetch_add(count, Ordering::Relaxed) + count > MOST_HELD {
            let message = format!("the application had more than {MOST_HELD} descriptors wait to be closed");
            self.kill_app(error(ErrorCode::Protocol, message));
        }
        let closed = tokio::spawn(Arc::clone(self).close_in_turn(files));
        tokio::select! {
            // It ends with its threads.
            _ = closed => {}
            () = self.closing.cancelled() => {}
        }
    }

    async fn close_in_turn(self: Arc<Self>, files: Vec<OwnedFd>) {
        let count = files.len();
        let turn = self.closing_files.turn.lock().await;
        // A thread that fails has dropped them.
        let _ = tokio::task::spawn_blocking(move || files.into_iter().for_each(close)).await;
        self.closing_files.held.fetch_sub(count, Ordering::Relaxed);
        drop(turn);
    }
}

fn close(file: OwnedFd) {
    // What is no socket does not linger, and what lies in a socket is not asked: then this takes its time.
    let _ = setsockopt(&file, sockopt::Linger, &libc::linger { l_onoff: 0, l_linger: 0 });
    drop(file);
}

/// Keeps a descriptor of the same socket as what is used of it, so that closing the latter is never the last close.
pub(super) struct Foreign {
    instance: Arc<Instance>,
    file: Option<OwnedFd>,
}

impl Foreign {
    pub(super) fn new(instance: &Arc<Instance>, file: OwnedFd) -> Self {
        Self { instance: Arc::clone(instance), file: Some(file) }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.instance.closing_files.held.fetch_add(1, Ordering::Relaxed);
            self.instance.node.data.spawn(Arc::clone(&self.instance).close_in_turn(vec![file]));
        }
    }
}

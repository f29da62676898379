//! Descriptors that an application sent.
//!
//! close(2) of one of them may take as long as the application likes: a socket that lingers, or a unix socket with such a one on
//! its way in it. So they are closed by threads that may block, one at a time for an instance.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::instance::Instance;

impl Instance {
    /// Closes what an application sent, and waits for it: whoever sends more waits too.
    pub(crate) async fn close_foreign(self: &Arc<Self>, files: Vec<OwnedFd>) {
        if files.is_empty() {
            return;
        }
        let closed = tokio::spawn(Arc::clone(self).close_in_turn(files));
        tokio::select! {
            // It ends with its threads.
            _ = closed => {}
            () = self.closing.cancelled() => {}
        }
    }

    async fn close_in_turn(self: Arc<Self>, files: Vec<OwnedFd>) {
        let _turn = self.closing_files.lock().await;
        // A thread that fails has dropped them.
        let _ = tokio::task::spawn_blocking(move || drop(files)).await;
    }
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
            self.instance.node.data.spawn(Arc::clone(&self.instance).close_in_turn(vec![file]));
        }
    }
}

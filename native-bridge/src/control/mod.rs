//! The control stream: Cap'n Proto over an upgraded connection, on the control thread.
//!
//! One thread serves all streams, for Cap'n Proto's objects cannot leave their thread. Nothing here waits for anything but
//! events and reservations; bytes move on the data runtime.

mod bridge;
mod decode;
mod encode;
mod instance;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use headstart_base::bridge_capnp;
use tokio::io::{AsyncReadExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::instance::StreamId;
use crate::node::Node;

/// Words of one message: 16 MiB. What the host says in one message is far less.
const MOST_WORDS: usize = 2 << 20;

/// A connection that was upgraded by CONNECT, and the bytes that came right behind it.
pub(crate) struct Upgraded {
    pub(crate) stream: std::os::unix::net::UnixStream,
    pub(crate) first: Bytes,
}

/// What the objects of one stream share.
struct Stream {
    node: Arc<Node>,
    id: StreamId,
    /// Capabilities that the stream holds beside the bootstrap.
    objects: Cell<u32>,
}

/// Counts one capability for as long as it lives.
struct Counted(Rc<Stream>);

impl Counted {
    fn new(stream: &Rc<Stream>) -> Self {
        stream.objects.set(stream.objects.get() + 1);
        stream.node.metrics.live_objects.inc();
        Self(Rc::clone(stream))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.objects.set(self.0.objects.get().saturating_sub(1));
        self.0.node.metrics.live_objects.dec();
    }
}

/// Serves the streams that the HTTP side hands over. To be run in a `LocalSet`.
pub(crate) async fn serve(node: Arc<Node>, mut streams: mpsc::Receiver<Upgraded>) {
    while let Some(upgraded) = streams.recv().await {
        match UnixStream::from_std(upgraded.stream) {
            Ok(stream) => {
                tokio::task::spawn_local(serve_one(Arc::clone(&node), stream, upgraded.first));
            }
            Err(error) => tracing::warn!(%error, "a control stream cannot be taken over"),
        }
    }
}

async fn serve_one(node: Arc<Node>, stream: UnixStream, first: Bytes) {
    let id = node.new_stream();
    tracing::debug!(stream = id, "control stream begins");
    let shared = Rc::new(Stream { node: Arc::clone(&node), id, objects: Cell::new(0) });
    let (reader, writer) = stream.into_split();
    let reader = BufReader::new(std::io::Cursor::new(first).chain(reader)).compat();
    let writer = BufWriter::new(writer).compat_write();
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MOST_WORDS));
    let network = twoparty::VatNetwork::new(reader, writer, Side::Server, options);
    let bootstrap: bridge_capnp::bridge::Client = capnp_rpc::new_client(bridge::Server::new(shared));
    let outcome = RpcSystem::new(Box::new(network), Some(bootstrap.client)).await;
    node.stream_ended(id);
    match outcome {
        Ok(()) => tracing::debug!(stream = id, "control stream ends"),
        Err(error) => tracing::info!(stream = id, %error, "control stream breaks"),
    }
}

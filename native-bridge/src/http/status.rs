//! Health, metrics, inventory, logs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Body, Cut, json as answer, with_type};
use crate::logs;
use crate::metrics::{Runners, Sampled};
use crate::node::{Node, VERSION};

/// Lines on their way to a reader.
const LINES: usize = 256;

pub(super) fn health(node: &Arc<Node>) -> Response<Body> {
    let status = if node.is_draining() { "draining" } else { "ok" };
    answer(StatusCode::OK, &json!({ "status": status, "runners": runners(node), "version": VERSION }))
}

fn runners(node: &Node) -> Value {
    node.runners.as_ref().map_or(Value::Null, |runners| json!(runners.all()))
}

pub(super) fn metrics(node: &Arc<Node>) -> Response<Body> {
    let pool = node.pool.status();
    let budget = node.pool.node_budget();
    let text = node.metrics.encode(&Sampled {
        memory_used: budget.used(),
        memory_limit: budget.limit(),
        pool_ready: pool.classes.iter().map(|(_, ready, _)| ready).sum(),
        pool_misses: pool.misses,
        runners: node.runners.as_ref().map_or_else(Runners::default, |runners| Runners {
            assigned: runners.all().iter().filter(|runner| runner.slot.is_some()).count(),
            started: runners.started(),
            breaches: runners.breaches(),
        }),
    });
    with_type(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}

/// What the bridge owns now, so that `doctor --leaks` can tell what nobody does.
pub(super) fn inventory(node: &Arc<Node>) -> Response<Body> {
    let instances: Vec<Value> = node.instances().iter().map(|instance| instance.snapshot()).collect();
    let sockets: Vec<Value> = node
        .instances()
        .iter()
        .filter(|instance| instance.stage() != crate::instance::Stage::Ended)
        .map(|instance| json!(node.instance_dir(&instance.id).join("app.sock")))
        .collect();
    let pool = node.pool.status();
    let classes: Vec<Value> = pool
        .classes
        .iter()
        .map(|(bytes, ready, wanted)| json!({ "bytes": bytes, "ready": ready, "wanted": wanted }))
        .collect();
    let files: Vec<Value> = pool.files.iter().map(|(bytes, ready)| json!({ "bytes": bytes, "ready": ready })).collect();
    let budget = node.pool.node_budget();
    answer(
        StatusCode::OK,
        &json!({
            "pid": std::process::id(),
            "version": VERSION,
            "startedAt": node.started_at,
            "now": headstart_base::now(),
            "instances": instances,
            "sockets": sockets,
            "sandboxes": node.sandboxes.inventory(),
            "images": node.images.list(),
            "snapshots": node.snapshots.list(),
            "services": node.services.list(),
            "shared": { "used": node.shared.held(), "flights": node.shared.list() },
            "memory": { "used": budget.used(), "limit": budget.limit(), "pool": classes, "files": files, "hits": pool.hits, "misses": pool.misses },
            "runners": runners(node),
        }),
    )
}

/// The lines that are kept, and with `follow=1` those that come. `instance` picks one instance's, `tenant` one tenant's.
pub(super) fn logs(query: &str) -> headstart_base::Result<Response<Body>> {
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let instance = value("instance").unwrap_or_default();
    let tenant = value("tenant").unwrap_or_default();
    let follow = value("follow").is_some_and(|value| value == "1" || value == "true");
    let cuts = logs::logs().cuts(&tenant);
    let (kept, mut live) = logs::logs().follow();
    let owner = tenant.clone();
    let wanted = move |entry: &logs::Entry| {
        (instance.is_empty() || entry.instance == instance) && (tenant.is_empty() || entry.tenant == tenant)
    };
    if !follow {
        let text: String = kept.iter().filter(|entry| wanted(entry)).map(|entry| entry.json.as_str()).collect();
        return Ok(with_type(StatusCode::OK, "application/x-ndjson", text));
    }
    let follower = logs::logs().follower(&owner)?;
    let (sender, lines) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let _follower = follower;
        for entry in kept.iter().filter(|entry| wanted(entry)) {
            if sender.send(entry.json.clone()).await.is_err() {
                return;
            }
        }
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = live.recv() => received,
            };
            if logs::logs().cuts(&owner) != cuts {
                return;
            }
            let line = match received {
                Ok(entry) if wanted(&entry) => entry.json.clone(),
                Ok(_) => continue,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(count)) => {
                    format!("{}\n", json!({ "lost": count }))
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            };
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Lines(lines).boxed_unsync());
    let kind = hyper::header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}

struct Lines(mpsc::Receiver<String>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}

//! `GET /secrets/{tenant}`, `PUT` and `DELETE /secrets/{tenant}/{name}`: what is put is never given out. `POST /node-key`: another
//! key for all of them.

use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Body, empty, json as answer};
use crate::node::Node;
use crate::secrets::Rotated;

const MOST_BYTES: usize = 64 << 10;

pub(super) async fn put(
    node: &Arc<Node>,
    tenant: &str,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let value = small_body(request.into_body(), MOST_BYTES).await?;
    let (holder, owner, called) = (Arc::clone(node), tenant.to_owned(), name.to_owned());
    blocking(move || holder.secrets.put(&owner, &called, &value)).await?;
    node.functions.drop_users(tenant, name);
    // What they read with the old one may be in them.
    node.snapshots.drop_tenant(tenant);
    Ok(no_content())
}

pub(super) async fn remove(node: &Arc<Node>, tenant: &str, name: &str) -> Result<Response<Body>> {
    let (holder, owner, called) = (Arc::clone(node), tenant.to_owned(), name.to_owned());
    blocking(move || holder.secrets.remove(&owner, &called)).await?;
    node.functions.drop_users(tenant, name);
    // What they read with the old one may be in them.
    node.snapshots.drop_tenant(tenant);
    Ok(no_content())
}

pub(super) async fn list(node: &Arc<Node>, tenant: &str) -> Result<Response<Body>> {
    let (holder, owner) = (Arc::clone(node), tenant.to_owned());
    let secrets = blocking(move || holder.secrets.list(&owner)).await?;
    let secrets: Vec<Value> = secrets.into_iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
    Ok(answer(StatusCode::OK, &json!({ "secrets": secrets })))
}

/// Answers when all is sealed with the new key, and the old one is gone.
pub(super) async fn rotate_key(node: &Arc<Node>) -> Result<Response<Body>> {
    let holder = Arc::clone(node);
    let Rotated { sealed, unreadable } = blocking(move || holder.secrets.rotate_key()).await?;
    tracing::info!(sealed, unreadable, "the node's key was replaced");
    Ok(answer(StatusCode::OK, &json!({ "sealed": sealed, "unreadable": unreadable })))
}

/// A body of at most `most` bytes. It is wiped when it is dropped.
pub(super) async fn small_body(mut body: Incoming, most: usize) -> Result<Zeroizing<Vec<u8>>> {
    let broken = |error| Error::new(ErrorCode::Cancelled, format!("the body broke off: {error}"));
    // With all its room from the start: growing would leave copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(most));
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        if value.len() + piece.len() > most {
            return Err(Error::new(ErrorCode::PayloadTooLarge, format!("the body has more than {most} bytes")));
        }
        value.extend_from_slice(&piece);
    }
    Ok(value)
}

pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Does what waits for the disk beside the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorCode::Internal, format!("a task broke off: {error}")))?
}

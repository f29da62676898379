//! `GET /services`, `PUT` and `DELETE /services/{id}`: what serves at which address.

use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use super::secrets::{no_content, small_body};
use super::{Body, json as answer};
use crate::node::{Node, is_name};
use crate::services::Wanted;

const MOST_BYTES: usize = 16 << 10;

pub(super) fn list(node: &Arc<Node>) -> Response<Body> {
    answer(StatusCode::OK, &json!({ "services": node.services.list() }))
}

/// Answers when the application is ready.
pub(super) async fn put(node: &Arc<Node>, id: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    if !is_name(id) {
        return Err(Error::new(ErrorCode::InvalidArgument, "a service's id is 1 to 64 of a-z, A-Z, 0-9, - and _"));
    }
    let body = small_body(request.into_body(), MOST_BYTES).await?;
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|error| Error::new(ErrorCode::InvalidArgument, format!("the service is malformed: {error}")))?;
    let instance = node.find_instance(wanted.instance())?;
    let served = node.services.serve(id, instance, wanted).await?;
    let address = served.address.map(|address| address.to_string());
    let ready_ms = served.ready_nanos as f64 / 1e6;
    Ok(answer(StatusCode::OK, &json!({ "address": address, "readyMs": ready_ms })))
}

/// Answers when all is reaped. It is done also when the caller does not wait.
pub(super) async fn remove(node: &Arc<Node>, id: &str) -> Result<Response<Body>> {
    let (holder, id) = (Arc::clone(node), id.to_owned());
    let ended = tokio::spawn(async move { holder.services.end(&id).await }).await;
    ended.map_err(|error| Error::new(ErrorCode::Internal, format!("a task broke off: {error}")))??;
    Ok(no_content())
}

//! `GET /images`, `POST /images`, `DELETE /images/{digest}`: what is cached, a tag's digest and an image ahead of its first
//! use, and dropping one.

use std::sync::Arc;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::secrets::{no_content, small_body};
use super::{Body, is_digest, json as answer};
use crate::node::Node;

const MOST_BYTES: usize = 4096;
/// How long those that end may keep an image, and how often it is tried.
const REAPED: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(20);

/// The body of `POST /images`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    image: String,
    /// Whether it is pulled now.
    #[serde(default)]
    pull: bool,
}

pub(super) fn list(node: &Arc<Node>) -> Response<Body> {
    answer(StatusCode::OK, &json!({ "images": node.images.list() }))
}

/// Answers `{"image": "registry/name@sha256:…"}`.
pub(super) async fn prepare(node: &Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>> {
    let body = small_body(request.into_body(), MOST_BYTES).await?;
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|error| Error::new(ErrorCode::InvalidArgument, format!("the body is malformed: {error}")))?;
    let image = node.images.resolve(&wanted.image).await?;
    if wanted.pull {
        node.images.get(&image).await?;
    }
    Ok(answer(StatusCode::OK, &json!({ "image": image })))
}

/// 204 when it is gone and its place on the disk is free, also when it was not there.
pub(super) async fn remove(node: &Arc<Node>, digest: &str) -> Result<Response<Body>> {
    if !is_digest(digest) {
        return Err(Error::new(ErrorCode::InvalidArgument, "an image's digest is 64 lower-case hex digits"));
    }
    let deadline = tokio::time::Instant::now() + REAPED;
    loop {
        let (images, digest) = (node.images.clone(), digest.to_owned());
        let removed = tokio::task::spawn_blocking(move || images.evict(&digest)).await;
        match removed.map_err(|error| Error::new(ErrorCode::Internal, format!("removing an image: {error}")))? {
            // An instance that has been stopped has it until it is reaped.
            Err(error) if error.code == ErrorCode::ImageInUse && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            outcome => return outcome.map(|_| no_content()),
        }
    }
}

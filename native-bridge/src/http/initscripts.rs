//! `POST /initscripts`, `POST /initscripts/{digest}`: an initscript that is an artifact of a registry, what it is and its bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headstart_base::{Error, ErrorCode, Result};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::secrets::small_body;
use super::{Body, full, is_digest, json as answer};
use crate::instance::event::Kind;
use crate::node::Node;

const MOST_BYTES: usize = 8192;

/// The body of `POST /initscripts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    artifact: String,
}

/// The body of `POST /initscripts/{digest}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    artifact: String,
    /// As they were told at deploy.
    bytes: u64,
    /// Whose start waits for it: there it is an event.
    instance: Option<String>,
}

/// Answers `{"artifact": "registry/name@sha256:…", "digest", "bytes", "format", "config"}`.
pub(super) async fn find(node: &Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>> {
    let Named { artifact } = read(request).await?;
    let script = node.images.find_script(&artifact).await?;
    Ok(answer(StatusCode::OK, &json!(script)))
}

/// Answers the bytes, when they are what the digest says.
pub(super) async fn download(node: &Arc<Node>, digest: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    if !is_digest(digest) {
        return Err(Error::new(ErrorCode::InvalidArgument, "an initscript's digest is 64 lower-case hex digits"));
    }
    let Wanted { artifact, bytes, instance } = read(request).await?;
    let instance = instance.map(|id| node.find_instance(&id)).transpose()?;
    if let Some(instance) = &instance {
        instance.script_is_downloaded.store(true, Ordering::Relaxed);
    }
    let digest = format!("sha256:{digest}");
    let downloaded = node.images.download_script(&artifact, &digest, bytes).await?;
    if let Some(instance) = instance {
        let nanos = downloaded.done_at.saturating_sub(downloaded.begun_at);
        instance.events.push_at(downloaded.done_at, Kind::InitscriptPulled { artifact, bytes, nanos });
    }
    Ok(Response::new(full(downloaded.content)))
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T> {
    let body = small_body(request.into_body(), MOST_BYTES).await?;
    let malformed = |error| Error::new(ErrorCode::InvalidArgument, format!("the body is malformed: {error}"));
    serde_json::from_slice(&body).map_err(malformed)
}

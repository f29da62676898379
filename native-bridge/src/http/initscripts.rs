//! `POST /initscripts`, `POST /initscripts/{digest}`: an initscript that is an artifact of a registry, what it is and its bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use headstart_image::{Downloaded, Layer};
use headstart_runner::ScriptKind;
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
    /// As they were told at deploy, and whether the artifact's manifest has them.
    bytes: u64,
    #[serde(default)]
    embedded: bool,
    /// Whose start waits for it: there it is an event.
    instance: Option<String>,
    /// What it is to the runner of the instance's tenant, where that is to have it at once.
    hand_over: Option<ScriptKind>,
}

/// Answers `{"artifact": "registry/name@sha256:…", "digest", "bytes", "embedded", "metered": {"digest", "bytes", "embedded"} or null,
/// "format", "config"}`.
pub(super) async fn find(node: &Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>> {
    let Named { artifact } = read(request).await?;
    let script = node.images.find_script(&artifact).await?;
    Ok(answer(StatusCode::OK, &json!(script)))
}

/// Answers the bytes, when they are what the digest says; nothing (204) where the tenant's runner has them now.
pub(super) async fn download(node: &Arc<Node>, hex: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    if !is_digest(hex) {
        return Err(Error::new(ErrorCode::InvalidArgument, "an initscript's digest is 64 lower-case hex digits"));
    }
    let Wanted { artifact, bytes, embedded, instance, hand_over } = read(request).await?;
    let instance = instance.map(|id| node.find_instance(&id)).transpose()?;
    if let Some(instance) = &instance {
        instance.script_is_downloaded.store(true, Ordering::Relaxed);
    }
    let layer = Layer { digest: format!("sha256:{hex}"), bytes, embedded };
    let to_runner = async {
        let (kind, instance, runners) = (hand_over?, instance.as_ref()?, node.runners.as_ref()?);
        runners.announce(&instance.tenant, kind, hex, bytes).await
    };
    let (downloaded, to_runner) = tokio::join!(node.images.download_script(&artifact, &layer), to_runner);
    let Downloaded { content, begun_at, done_at } = downloaded?;
    let handed = async {
        let Some(announced) = to_runner else { return false };
        announced.give(&content).await
    };
    // The runner has it before anybody hears of it.
    let told = async {
        if let Some(instance) = instance {
            let nanos = done_at.saturating_sub(begun_at);
            instance.events.push_at(done_at, Kind::InitscriptPulled { artifact, bytes, nanos });
        }
    };
    let (handed, ()) = tokio::join!(biased; handed, told);
    let answer = if handed { Bytes::new() } else { Bytes::from(content) };
    let mut response = Response::new(full(answer));
    if handed {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    Ok(response)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T> {
    let body = small_body(request.into_body(), MOST_BYTES).await?;
    let malformed = |error| Error::new(ErrorCode::InvalidArgument, format!("the body is malformed: {error}"));
    serde_json::from_slice(&body).map_err(malformed)
}

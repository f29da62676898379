//! HTTP on bridge.sock: bodies, health, metrics, and CONNECT for the control stream.

pub(crate) mod bundles;
mod images;
mod initscripts;
mod invoke;
mod secrets;
mod services;
mod status;
mod tenants;
mod unpack;

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

pub(crate) use self::invoke::receive;
use crate::control::Upgraded;
use crate::errors::{self, io};
use crate::node::Node;

/// What a failed answer is cut with.
pub(crate) type Cut = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// The authority of the control stream: `CONNECT control:1`.
const CONTROL: &str = "control:1";
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// Takes the node's socket. A live bridge on it is an error; what a dead one left is replaced.
pub(crate) fn bind(path: &Path) -> Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(taken(path));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("cannot replace the old socket", &error));
        }
        _ => {}
    }
    let cannot = |error| io(&format!("cannot listen on {}", path.display()), &error);
    let listener = UnixListener::bind(path).map_err(cannot)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
    Ok(listener)
}

/// A live bridge has the socket.
pub(crate) fn taken(path: &Path) -> Error {
    let message = format!("another bridge is running on {}: stop it, or choose another run folder", path.display());
    Error::new(ErrorCode::AlreadyExists, message)
}

/// Serves until it is dropped. `streams` takes the control streams.
pub(crate) async fn serve(node: Arc<Node>, listener: UnixListener, streams: mpsc::Sender<Upgraded>) {
    let room = Arc::new(Semaphore::new(node.config.limits.http_connections));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if !is_allowed(&stream) {
            continue;
        }
        let (node, streams) = (Arc::clone(&node), streams.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| route(Arc::clone(&node), request, streams.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .max_headers(64)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ends");
            }
            drop(permit);
        });
    }
}

/// Only root and the bridge's own user: the socket's mode says the same, but folders get copied and modes changed.
fn is_allowed(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) => {
            let allowed = peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw();
            if !allowed {
                tracing::warn!(uid = peer.uid(), "a connection of another user is refused");
            }
            allowed
        }
        Err(_) => false,
    }
}

async fn route(
    node: Arc<Node>,
    request: Request<Incoming>,
    streams: mpsc::Sender<Upgraded>,
) -> std::result::Result<Response<Body>, Infallible> {
    let answer = dispatch(&node, request, streams).await;
    Ok(answer.unwrap_or_else(|error| failure(&error)))
}

async fn dispatch(
    node: &Arc<Node>,
    request: Request<Incoming>,
    streams: mpsc::Sender<Upgraded>,
) -> Result<Response<Body>> {
    if request.method() == Method::CONNECT {
        return connect(request, streams);
    }
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method().as_str(), parts.as_slice()) {
        ("POST", ["instances", id, "invocations"]) => invoke::invoke(node, id, request).await,
        ("GET", ["bundles"]) => bundles::list(node).await,
        ("GET", ["bundles", digest]) => bundles::size(node, digest).await,
        ("DELETE", ["bundles", digest]) => bundles::remove(node, digest).await,
        ("HEAD", ["bundles", digest]) => bundles::head(node, digest),
        ("PUT", ["bundles", digest]) => bundles::put(node, digest, request).await,
        ("GET", ["tenants"]) => Ok(tenants::list(node)),
        ("PUT", ["tenants", name]) => tenants::put(node, name, request).await,
        ("POST", ["tenants", name, "cut"]) => tenants::cut(name),
        ("DELETE", ["tenants", name]) => tenants::remove(node, name).await,
        ("GET", ["secrets", tenant]) => secrets::list(node, tenant).await,
        ("PUT", ["secrets", tenant, name]) => secrets::put(node, tenant, name, request).await,
        ("DELETE", ["secrets", tenant, name]) => secrets::remove(node, tenant, name).await,
        ("POST", ["node-key"]) => secrets::rotate_key(node).await,
        ("GET", ["images"]) => Ok(images::list(node)),
        ("POST", ["images"]) => images::prepare(node, request).await,
        ("DELETE", ["images", digest]) => images::remove(node, digest).await,
        ("POST", ["initscripts"]) => initscripts::find(node, request).await,
        ("POST", ["initscripts", digest]) => initscripts::download(node, digest, request).await,
        ("GET", ["services"]) => Ok(services::list(node)),
        ("PUT", ["services", id]) => services::put(node, id, request).await,
        ("DELETE", ["services", id]) => services::remove(node, id).await,
        ("GET", ["healthz"]) => Ok(status::health(node)),
        ("GET", ["metrics"]) => Ok(status::metrics(node)),
        ("GET", ["inventory"]) => Ok(status::inventory(node)),
        ("GET", ["logs"]) => status::logs(request.uri().query().unwrap_or("")),
        (method, _) => Err(Error::new(ErrorCode::NotFound, format!("there is no {method} {path:.80} here"))),
    }
}

/// Takes the connection over for the control thread once the answer is out.
fn connect(request: Request<Incoming>, streams: mpsc::Sender<Upgraded>) -> Result<Response<Body>> {
    if request.uri().authority().is_none_or(|authority| authority.as_str() != CONTROL) {
        return Err(Error::new(ErrorCode::NotFound, format!("only CONNECT {CONTROL} is served here")));
    }
    tokio::spawn(async move {
        let taken = async {
            let upgraded = hyper::upgrade::on(request).await.map_err(|error| error.to_string())?;
            let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| "an unknown stream".to_owned())?;
            let stream = parts.io.into_inner().into_std().map_err(|error| error.to_string())?;
            streams.send(Upgraded { stream, first: parts.read_buf }).await.map_err(|_| "the bridge ends".to_owned())
        };
        if let Err(error) = taken.await {
            tracing::warn!(error, "a control stream cannot be taken over");
        }
    });
    Ok(Response::new(empty()))
}

/// Reads the rest of a body that is refused, within bounds: most clients look for the answer only when all is sent.
pub(crate) async fn discard(body: &mut Incoming, mut bytes: u64, time: Duration) {
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match bytes.checked_sub(length) {
                Some(left) => bytes = left,
                None => return,
            }
        }
    };
    // What comes after that finds the connection closed.
    let _ = tokio::time::timeout(time, all).await;
}

/// An error as `{"code","message"}` with its HTTP status.
pub(crate) fn failure(error: &Error) -> Response<Body> {
    let status = StatusCode::from_u16(errors::http_status(error.code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({ "code": errors::name(error.code), "message": error.message });
    json(status, &body)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with_type(status, "application/json", format!("{value}\n"))
}

fn with_type(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    full(Bytes::new())
}

/// Whether this is a SHA-256 in lower-case hex, and so may be part of a path.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

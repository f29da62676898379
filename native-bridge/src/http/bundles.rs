//! `GET /bundles`, `GET`, `HEAD`, `PUT` and `DELETE /bundles/{hex}`: an application's files, as a tar archive named by its SHA-256.
//!
//! The archive is received into a file and digested on the way; only when the digest is right is it unpacked, into a folder
//! beside its place, and that folder is renamed. So a bundle is there whole or not at all. It goes the same way: out of its
//! place first. Which ones nobody needs is the host's to say.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::secrets::no_content;
use super::unpack::room_of;
use super::unpack::{Bounds, unpack};
use super::{Body, discard, empty, is_digest, json as answer};
use crate::errors;
use crate::instance::{Instance, Stage};
use crate::node::Node;

/// Between two pieces of an archive.
const STALL: Duration = Duration::from_secs(30);
/// All of an archive: uploads have places, which nobody keeps by sending a byte now and then.
const LONGEST: Duration = Duration::from_secs(1800);
/// Of an answer to `PUT`: how much of the disk the bundle takes.
const BYTES: HeaderName = HeaderName::from_static("x-headstart-bytes");
/// What begins the name of a bundle that is being removed.
pub(crate) const GONE: &str = ".gone-";

/// Those that are in their places, by digest.
pub(super) async fn list(node: &Arc<Node>) -> Result<Response<Body>> {
    let folder = node.config.bundles_dir();
    let listed = blocking(move || {
        let entries = std::fs::read_dir(folder).map_err(|error| errors::io("cannot list the bundles", &error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| is_digest(name)).collect::<Vec<_>>())
    });
    Ok(answer(StatusCode::OK, &json!({ "bundles": listed.await? })))
}

/// Also where it was not there. `imageInUse`: something runs from it.
pub(super) async fn remove(node: &Arc<Node>, digest: &str) -> Result<Response<Body>> {
    let folder = node.config.bundles_dir();
    let place = folder.join(checked(digest)?);
    // Whoever starts one of these is asked to put it again, and then there are no files for it.
    node.functions.drop_bundle(&place);
    let uses = |instance: &Arc<Instance>| {
        instance.stage() != Stage::Ended && instance.function().is_some_and(|function| function.bundle == place)
    };
    if node.instances().iter().any(uses) {
        return Err(Error::new(ErrorCode::ImageInUse, format!("something runs from bundle sha256:{digest}")));
    }
    let gone = folder.join(format!("{GONE}{}", number()));
    blocking(move || match std::fs::rename(&place, &gone) {
        Ok(()) => std::fs::remove_dir_all(&gone).map_err(|error| errors::io("cannot remove the bundle", &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(errors::io("cannot remove the bundle", &error)),
    })
    .await?;
    Ok(no_content())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorCode::Internal, format!("a bundle: {error}")))?
}

/// Unlike any other of this life.
fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn head(node: &Arc<Node>, digest: &str) -> Result<Response<Body>> {
    let mut response = Response::new(empty());
    if !node.config.bundles_dir().join(checked(digest)?).is_dir() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

/// How much of the disk it takes.
pub(super) async fn size(node: &Arc<Node>, digest: &str) -> Result<Response<Body>> {
    let place = node.config.bundles_dir().join(checked(digest)?);
    let bytes = blocking(move || match place.is_dir() {
        true => Ok(room_of(&place)),
        false => Err(Error::new(ErrorCode::NotFound, "there is no such bundle")),
    });
    Ok(answer(StatusCode::OK, &json!({ "bytes": bytes.await? })))
}

pub(super) async fn put(node: &Arc<Node>, digest: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    let digest = checked(digest)?;
    let place = node.config.bundles_dir().join(digest);
    let mut response = Response::new(empty());
    let scratch = Scratch::new(&node.config.bundles_dir())?;
    let limits = Bounds { bytes: node.config.limits.bundle_bytes, entries: node.config.limits.bundle_entries };
    let mut body = request.into_body();
    // Also where it is there already: whoever puts it must have it.
    let received = tokio::time::timeout(LONGEST, receive(&mut body, &scratch.archive(), digest, limits.bytes)).await;
    let late =
        |_| Err(Error::new(ErrorCode::Deadline, format!("the bundle had not come after {} s", LONGEST.as_secs())));
    if let Err(error) = received.unwrap_or_else(late) {
        discard(&mut body, limits.bytes, STALL).await;
        return Err(error);
    }
    let there = place.is_dir();
    let bytes = blocking(move || {
        if there {
            return Ok(room_of(&place));
        }
        let bytes = unpack(&scratch.archive(), &scratch.files(), limits)?;
        settle(&scratch.files(), &place)?;
        Ok(bytes)
    });
    response.headers_mut().insert(BYTES, bytes.await?.into());
    if !there {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

fn checked(digest: &str) -> Result<&str> {
    match is_digest(digest) {
        true => Ok(digest),
        false => {
            Err(Error::new(ErrorCode::InvalidArgument, "a bundle's name is its SHA-256 in 64 lower-case hex digits"))
        }
    }
}

/// A folder of its own beside the bundles, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(bundles: &Path) -> Result<Self> {
        let folder = bundles.join(format!(".incoming-{}-{}", std::process::id(), number()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| errors::io("cannot make a folder for the bundle", &error))?;
        Ok(Self(folder))
    }

    fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }

    fn files(&self) -> PathBuf {
        self.0.join("files")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "cannot remove a bundle's scratch folder");
        }
    }
}

async fn receive(body: &mut Incoming, archive: &Path, digest: &str, limit: u64) -> Result<()> {
    let failed = |error: io::Error| errors::io("cannot store the bundle", &error);
    let mut file = tokio::fs::File::create_new(archive).await.map_err(failed)?;
    let mut sha = Sha256::new();
    let mut length = 0_u64;
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Error::new(ErrorCode::Deadline, "the bundle stopped coming"))? else {
            break;
        };
        let frame =
            frame.map_err(|error| Error::new(ErrorCode::Cancelled, format!("the bundle broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len() as u64;
        if length > limit {
            let message = format!("the bundle is larger than the node's limit of {limit} bytes");
            return Err(Error::new(ErrorCode::PayloadTooLarge, message));
        }
        sha.update(&piece);
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let found: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != digest {
        let message = format!("the bundle's SHA-256 is {found}, not {digest}");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    Ok(())
}

/// Puts the unpacked folder in its place; another may have been as quick.
fn settle(files: &Path, place: &Path) -> Result<()> {
    match std::fs::rename(files, place) {
        Ok(()) => Ok(()),
        Err(_) if place.is_dir() => Ok(()),
        Err(error) => Err(errors::io("cannot put the bundle in its place", &error)),
    }
}

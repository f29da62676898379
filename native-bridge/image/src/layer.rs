//! One layer: received, verified and unpacked at the same time.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use futures_util::StreamExt;
use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use oci_client::Reference;
use oci_client::errors::DigestError;
use oci_client::manifest::OciDescriptor;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::config::Bounds;
use crate::failure::{disk, invalid, pull};
use crate::frames::Frames;
use crate::pieces::{Measured, Pieces};
use crate::registry::Registries;
use crate::scratch::Scratch;
use crate::unpack::unpack;

/// Pieces between the network and the disk.
const PIECES: usize = 32;

#[derive(Clone, Copy)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(media_type: &str) -> Result<Self> {
        match media_type {
            kind if kind.ends_with("tar+gzip") || kind.ends_with("tar.gzip") => Ok(Self::Gzip),
            kind if kind.ends_with("tar+zstd") => Ok(Self::Zstd),
            kind if kind.ends_with(".tar") => Ok(Self::None),
            other => Err(invalid(format!("a layer is of type {other:.100}"))),
        }
    }
}

/// Makes what is to become `layers/<id>`, and tells when its last byte came.
pub(crate) async fn fetch(
    registries: &Registries,
    reference: &Reference,
    blob: &OciDescriptor,
    id: &str,
    layers: &Path,
    bounds: Bounds,
) -> Result<(Made, Nanos)> {
    let packing = Packing::of(&blob.media_type)?;
    let size = u64::try_from(blob.size).unwrap_or_default();
    let (sender, pieces) = mpsc::channel(PIECES);
    let (layers, wanted) = (layers.to_owned(), id.to_owned());
    let unpacking = tokio::task::spawn_blocking(move || make(Pieces::new(pieces), packing, &wanted, &layers, bounds));
    let received = receive(registries, reference, blob, size, |piece| {
        let sender = sender.clone();
        // Nobody takes it any more: the unpacking has failed, and says why.
        async move { sender.send(piece).await.is_ok() }
    })
    .await;
    let received_at = now();
    drop(sender);
    let made = unpacking.await.map_err(|error| Error::new(ErrorCode::Internal, format!("unpacking: {error}")))?;
    // A layer that did not come as it should is the cause of what is wrong in it.
    match (received, made) {
        (Ok(()), Ok(layer)) => Ok((layer, received_at)),
        (Err(error), Ok(_) | Err(_)) if error.code != ErrorCode::Cancelled => Err(error),
        (_, Err(error)) => Err(error),
        (Err(error), Ok(_)) => Err(error),
    }
}

/// Gives a blob's pieces to `take`, and verifies its size; its digest the client verifies on the way. `cancelled`: they are not taken any more.
pub(crate) async fn receive<T: Future<Output = bool>>(
    registries: &Registries,
    reference: &Reference,
    blob: &OciDescriptor,
    size: u64,
    mut take: impl FnMut(Bytes) -> T,
) -> Result<()> {
    let mut stream = registries.blob(reference, blob).await?;
    let mut length = 0_u64;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            let said = format!("{reference}: {}: {error}", blob.digest);
            // The client looks at the digest, too.
            match error.get_ref().is_some_and(|cause| cause.is::<DigestError>()) {
                true => invalid(said),
                false => pull(said),
            }
        })?;
        length += piece.len() as u64;
        if length > size {
            return Err(invalid(format!(
                "{reference}: {} is longer than the {size} bytes that it should have",
                blob.digest
            )));
        }
        if !take(piece).await {
            return Err(Error::new(ErrorCode::Cancelled, "unpacking has failed"));
        }
    }
    match length == size {
        true => Ok(()),
        false => Err(invalid(format!("{reference}: {} has {length} bytes instead of {size}", blob.digest))),
    }
}

/// A layer beside its place: gone when it is dropped, unless it was settled.
pub(crate) struct Made {
    scratch: Option<Scratch>,
    id: String,
    place: PathBuf,
    bytes: u64,
}

impl Made {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Of the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts it in its place.
    pub(crate) fn settle(&self) -> Result<()> {
        let settled = self.scratch.iter().try_for_each(|scratch| scratch.settle(&self.place));
        settled.map_err(|error| disk("a layer", &error))
    }

    /// Takes it out of its place again.
    pub(crate) fn unsettle(&self) {
        let taken = self.scratch.iter().try_for_each(|scratch| scratch.unsettle(&self.place));
        if let Err(error) = taken
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.place.display(), "cannot take back a layer");
        }
    }
}

impl Drop for Made {
    /// Removing files takes its time, which others' bytes must not wait for.
    fn drop(&mut self) {
        let scratch = self.scratch.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(scratch));
        }
    }
}

/// Unpacks all that comes. Blocks.
fn make(pieces: Pieces, packing: Packing, id: &str, layers: &Path, bounds: Bounds) -> Result<Made> {
    let scratch = Scratch::new(layers).map_err(|error| disk("a layer", &error))?;
    let plain: Box<dyn Read> = match packing {
        Packing::None => Box::new(pieces),
        Packing::Gzip => Box::new(MultiGzDecoder::new(pieces)),
        Packing::Zstd => Box::new(Frames::new(pieces)),
    };
    let mut measured = Measured::new(plain, bounds.bytes);
    let bytes = unpack(&mut measured, scratch.path(), bounds)?;
    let found = measured.finish().map_err(crate::archive::broken)?;
    if found != id {
        return Err(invalid(format!("a layer has the id sha256:{found} instead of sha256:{id}")));
    }
    Ok(Made { scratch: Some(scratch), id: id.to_owned(), place: layers.join(id), bytes })
}

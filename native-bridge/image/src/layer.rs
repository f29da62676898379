//! One layer: received, verified and unpacked at the same time.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use oci_client::Reference;
use oci_client::manifest::OciDescriptor;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::ahead::Ahead;
use crate::config::Bounds;
use crate::erofs::Packed;
use crate::failure::{disk, invalid};
use crate::frames::frames;
use crate::parts::Parts;
use crate::pieces::{Measured, Pieces, hex};
use crate::registry::{Registries, hex_of};
use crate::scratch::Scratch;
use crate::unpack::{Folder, unpack};

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

/// Where layers are kept, and as what.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) folder: PathBuf,
    /// Each as a file, else as a folder.
    pub(crate) as_files: bool,
}

/// Makes what is to become `layers/<id>`, and tells when its last byte came.
pub(crate) async fn fetch(
    registries: &Arc<Registries>,
    reference: &Reference,
    blob: &OciDescriptor,
    id: &str,
    layers: &Layers,
    bounds: Bounds,
) -> Result<(Made, Nanos)> {
    let packing = Packing::of(&blob.media_type)?;
    let size = u64::try_from(blob.size).unwrap_or_default();
    let (sender, pieces) = mpsc::channel(PIECES);
    let (layers, wanted) = (layers.clone(), id.to_owned());
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

/// Gives a blob's pieces to `take`, and verifies its size and digest when all have been. `cancelled`: they are not taken any more.
pub(crate) async fn receive<T: Future<Output = bool>>(
    registries: &Arc<Registries>,
    reference: &Reference,
    blob: &OciDescriptor,
    size: u64,
    mut take: impl FnMut(Bytes) -> T,
) -> Result<()> {
    let wrong = |what: String| invalid(format!("{reference}: {} {what}", blob.digest));
    let mut parts = Parts::ask(registries, reference, &blob.digest, size).await?;
    let (mut sha, mut length) = (Sha256::new(), 0_u64);
    while let Some(piece) = parts.next().await? {
        length += piece.len() as u64;
        if length > size {
            return Err(wrong(format!("is longer than the {size} bytes that it should have")));
        }
        sha.update(&piece);
        if !take(piece).await {
            return Err(Error::new(ErrorCode::Cancelled, "unpacking has failed"));
        }
    }
    if length != size {
        return Err(wrong(format!("has {length} bytes instead of {size}")));
    }
    let found = hex(&sha.finalize());
    match hex_of(&blob.digest) == Some(found.as_str()) {
        true => Ok(()),
        false => Err(wrong(format!("has the digest sha256:{found}"))),
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
fn make(pieces: Pieces, packing: Packing, id: &str, layers: &Layers, bounds: Bounds) -> Result<Made> {
    let failed = |error: io::Error| disk("a layer", &error);
    let scratch = Scratch::new(&layers.folder).map_err(failed)?;
    let plain: Box<dyn Read> = match packing {
        Packing::None => Box::new(pieces),
        Packing::Gzip => Box::new(Ahead::new(MultiGzDecoder::new(pieces)).map_err(failed)?),
        Packing::Zstd => Box::new(Ahead::new(frames(pieces).map_err(crate::archive::broken)?).map_err(failed)?),
    };
    let mut measured = Measured::new(plain, bounds.bytes);
    let content = scratch.content();
    let bytes = if layers.as_files {
        let mut files = Packed::new(&content).map_err(failed)?;
        let bytes = unpack(&mut measured, &mut files, bounds)?;
        files.finish().map_err(failed)?;
        bytes
    } else {
        std::fs::create_dir(&content).map_err(failed)?;
        unpack(&mut measured, &mut Folder::open(&content).map_err(failed)?, bounds)?
    };
    let found = measured.finish().map_err(crate::archive::broken)?;
    if found != id {
        return Err(invalid(format!("a layer has the id sha256:{found} instead of sha256:{id}")));
    }
    Ok(Made { scratch: Some(scratch), id: id.to_owned(), place: layers.folder.join(id), bytes })
}

//! An image from its registry to its layers.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use oci_client::Reference;
use tokio::sync::Semaphore;

use crate::config::Bounds;
use crate::layer::{self, Layers, Made};
use crate::manifest::{Record, check, read_config};
use crate::registry::Registries;

/// Layers of one image that are fetched at one time.
const AT_ONCE: usize = 4;

/// What a pull took.
#[derive(Clone, Copy, Debug)]
pub struct Pulled {
    /// Of the layers that were fetched, as they came.
    pub bytes: u64,
    pub layers: u32,
    /// When the last byte of them had come.
    pub pulled_at: Nanos,
    /// When all was unpacked.
    pub unpacked_at: Nanos,
    /// Bytes of the disk that the image's files take.
    pub unpacked: u64,
}

/// Fetches what is not there. `known` tells the bytes of a layer that is. What is made is settled by nobody yet.
pub(crate) async fn pull(
    registries: &Arc<Registries>,
    reference: &Reference,
    layers: &Layers,
    bounds: Bounds,
    known: impl Fn(&str) -> Option<u64>,
) -> Result<(Record, Vec<Made>, Pulled)> {
    let work = fetch(registries, reference, layers, bounds, known);
    tokio::time::timeout(bounds.time, work).await.map_err(|_| {
        Error::new(ErrorCode::ImagePullFailed, format!("{reference} is not here after {} s", bounds.time.as_secs()))
    })?
}

async fn fetch(
    registries: &Arc<Registries>,
    reference: &Reference,
    layers: &Layers,
    bounds: Bounds,
    known: impl Fn(&str) -> Option<u64>,
) -> Result<(Record, Vec<Made>, Pulled)> {
    let manifest = registries.manifest(reference).await?;
    check(&manifest.image, &bounds)?;
    let config = registries.config(reference, &manifest).await?;
    let manifest = manifest.image;
    let (ids, defaults) = read_config(&config, manifest.layers.len())?;

    let mut bytes: Vec<Option<u64>> = ids.iter().map(|id| known(id)).collect();
    let room = Semaphore::new(AT_ONCE);
    let missing = (0..ids.len()).filter(|index| bytes[*index].is_none() && !ids[..*index].contains(&ids[*index]));
    let mut work: FuturesUnordered<_> = missing
        .map(|index| {
            let (room, blob, id) = (&room, &manifest.layers[index], &ids[index]);
            async move {
                let _permit = room.acquire().await;
                Ok::<_, Error>((index, layer::fetch(registries, reference, blob, id, layers, bounds).await?))
            }
        })
        .collect();
    let (mut made, mut fetched, mut pulled, mut pulled_at) = (Vec::new(), 0, 0, now());
    let mut total = bytes.iter().flatten().sum::<u64>();
    while let Some(outcome) = work.next().await {
        let (index, (layer, received_at)) = outcome?;
        let size = layer.bytes();
        made.push(layer);
        pulled_at = pulled_at.max(received_at);
        bytes[index] = Some(size);
        total = total.saturating_add(size);
        if total > bounds.bytes {
            return Err(crate::failure::invalid(format!(
                "{reference} takes more than {} bytes of the disk",
                bounds.bytes
            )));
        }
        fetched += 1;
        pulled += u64::try_from(manifest.layers[index].size).unwrap_or_default();
    }
    drop(work);
    let sizes = ids.iter().zip(&bytes).map(|(id, bytes)| (id.clone(), bytes.unwrap_or_default())).collect();
    let record = Record { reference: reference.to_string(), layers: sizes, defaults, boot: None };
    Ok((record, made, Pulled { bytes: pulled, layers: fetched, pulled_at, unpacked_at: now(), unpacked: total }))
}

//! Initscripts as artifacts of a registry: a layer, which is the script as it was built, one with the module as it is metered, and
//! a configuration that tells of it.
//!
//! Nothing of them is kept here. What a start needs is a layer whose digest was told at deploy, in the manifest or as a blob: one request
//! either way.

use std::sync::Arc;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use oci_client::manifest::OciDescriptor;
use serde::Serialize;

use crate::failure::invalid;
use crate::manifest::Manifest;
use crate::registry::{Registries, hex_of};

const CONFIG: &str = "application/vnd.headstart.initscript.config.v1+json";
const WASM: &str = "application/vnd.headstart.initscript.v1.wasm";
const JS: &str = "application/vnd.headstart.initscript.v1.js";
const METERED: &str = "application/vnd.headstart.initscript.v1.metered.wasm";
/// Of a script: more than a runner takes.
const MOST_BYTES: u64 = 4 << 20;
/// Of one download.
const TIME: Duration = Duration::from_secs(60);

/// An initscript that a registry has.
#[derive(Debug, Serialize)]
pub struct Script {
    /// "registry/name@sha256:…".
    pub artifact: String,
    #[serde(flatten)]
    pub script: Layer,
    /// The same module with its meter, if whoever pushed it keeps his word.
    pub metered: Option<Layer>,
    pub format: Format,
    /// Its configuration, JSON that nobody has looked into.
    pub config: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// "sha256:…".
    pub digest: String,
    pub bytes: u64,
    /// Its bytes are in the artifact's manifest, too.
    pub embedded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Wasm,
    Js,
}

/// A script's bytes, verified, and what it took to have them.
#[derive(Debug)]
pub struct Downloaded {
    pub content: Vec<u8>,
    pub begun_at: Nanos,
    pub done_at: Nanos,
}

/// What the registry says of "registry/name:tag" or "registry/name@sha256:…".
pub(crate) async fn find(registries: &Arc<Registries>, text: &str) -> Result<Script> {
    let reference = registries.reference(text)?;
    let reference = registries.resolve(&reference).await?;
    let manifest = registries.manifest(&reference).await?;
    let (script, metered, format) = check(&manifest)?;
    let config = registries.config(&reference, &manifest).await?;
    let config = String::from_utf8(config).map_err(|_| invalid("the initscript's configuration is no text"))?;
    Ok(Script { artifact: reference.whole(), script, metered, format, config })
}

/// The bytes of an artifact's layer, in one request: from the manifest, where that has them, or as a blob.
pub(crate) async fn download(registries: &Arc<Registries>, artifact: &str, layer: &Layer) -> Result<Downloaded> {
    let begun_at = now();
    let reference = registries.reference(artifact)?;
    let Layer { digest, bytes, embedded } = layer;
    let blob = OciDescriptor {
        digest: digest.clone(),
        size: i64::try_from(*bytes).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    };
    if hex_of(digest).is_none() {
        return Err(Error::new(ErrorCode::InvalidArgument, format!("{digest:.80} is no SHA-256 digest")));
    }
    let work = async {
        if *embedded && let Some(content) = registries.embedded(&reference, &blob).await? {
            return Ok(content);
        }
        registries.small(&reference, &blob, MOST_BYTES).await
    };
    let received = tokio::time::timeout(TIME, work).await;
    let content = received.map_err(|_| crate::failure::pull(format!("{reference} is not here after 60 s")))??;
    Ok(Downloaded { content, begun_at, done_at: now() })
}

/// The script, its metered module where there is one, and its format.
fn check(manifest: &Manifest) -> Result<(Layer, Option<Layer>, Format)> {
    let embeds = |blob: &OciDescriptor| manifest.embeds(&blob.digest);
    let manifest = &manifest.image;
    if manifest.config.media_type != CONFIG {
        return Err(invalid(format!(
            "it is no initscript: its configuration is of type {:.100}",
            manifest.config.media_type
        )));
    }
    let (script, metered) = match manifest.layers.as_slice() {
        [script] => (script, None),
        [script, metered] if script.media_type == WASM && metered.media_type == METERED => (script, Some(metered)),
        layers => {
            let message = format!("an initscript is one layer, and a metered module beside it, not {}", layers.len());
            return Err(invalid(message));
        }
    };
    let format = match script.media_type.as_str() {
        WASM => Format::Wasm,
        JS => Format::Js,
        other => return Err(invalid(format!("the initscript is of type {other:.100}"))),
    };
    let layer = |blob| layer(blob, embeds(blob));
    Ok((layer(script)?, metered.map(layer).transpose()?, format))
}

fn layer(blob: &OciDescriptor, embedded: bool) -> Result<Layer> {
    if hex_of(&blob.digest).is_none() {
        return Err(invalid("the initscript has no SHA-256 digest"));
    }
    Ok(Layer { digest: blob.digest.clone(), bytes: size_of(blob)?, embedded })
}

fn size_of(layer: &OciDescriptor) -> Result<u64> {
    let size = u64::try_from(layer.size).ok().filter(|size| *size <= MOST_BYTES);
    size.ok_or_else(|| invalid(format!("the initscript has {} bytes: at most {MOST_BYTES} are allowed", layer.size)))
}

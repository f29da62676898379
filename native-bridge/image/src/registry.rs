//! The registries that the node names, and what is asked of them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, current_platform_resolver};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{OciDescriptor, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Registry;
use crate::direct::{Direct, Given, MANIFESTS};
use crate::failure::{invalid, pull};
use crate::manifest::{Embedding, Manifest};
use crate::parts::ROOM;
use crate::pieces::is_digest_of;

const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces.
const STALL: Duration = Duration::from_secs(30);
/// Of a configuration.
const CONFIG_BYTES: u64 = 4 << 20;

pub(crate) struct Registries {
    /// Fetches tokens, for registries that want one.
    client: Client,
    direct: Direct,
    traits: Mutex<Traits>,
    /// For parts of blobs that come before their turn, in KiB.
    room: Arc<Semaphore>,
    known: Vec<Registry>,
}

/// What was learned of registries, by their names.
#[derive(Default)]
struct Traits {
    /// They want a token.
    closed: HashSet<String>,
    /// They give blobs as a whole only.
    whole: HashSet<String>,
}

impl Registries {
    pub(crate) fn new(known: Vec<Registry>) -> Result<Self> {
        // An error says that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = known.iter().filter(|registry| registry.plain).map(|registry| registry.host.clone()).collect();
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            connect_timeout: Some(CONNECT),
            read_timeout: Some(STALL),
            user_agent: "headstart",
            ..ClientConfig::default()
        };
        let failed = |error| Error::new(ErrorCode::Internal, format!("the registries' client: {error}"));
        let client = Client::try_from(config).map_err(failed)?;
        let direct = Direct::new(&known, CONNECT, STALL)?;
        Ok(Self { client, direct, traits: Mutex::default(), room: Arc::new(Semaphore::new(ROOM)), known })
    }

    /// Reads "registry/name@sha256:…" or "registry/name:tag". The registry must be one of the node's.
    pub(crate) fn reference(&self, text: &str) -> Result<Reference> {
        let wrong = |what: String| Error::new(ErrorCode::InvalidArgument, what);
        let short: String = text.chars().take(200).collect();
        let reference: Reference = text.parse().map_err(|error| wrong(format!("image {short}: {error}")))?;
        let names_registry = text.split_once('/').is_some_and(|(host, _)| host == reference.registry());
        if !names_registry {
            return Err(wrong(format!("image {short} names no registry: write registry/name@sha256:…")));
        }
        if !self.known.iter().any(|registry| registry.host == reference.registry()) {
            let message = format!(
                "{} is not one of the node's registries: name it in the node's configuration, images.registries",
                reference.registry()
            );
            return Err(pull(message));
        }
        Ok(reference)
    }

    /// The reference with the digest that it has now.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Reference> {
        if reference.digest().is_some() {
            return Ok(reference.clone());
        }
        let digest = self.client.fetch_manifest_digest(reference, &RegistryAuth::Anonymous);
        let digest = digest.await.map_err(|error| refused(reference, &error))?;
        let Some(_) = hex_of(&digest) else { return Err(invalid(format!("{reference} has no SHA-256 digest"))) };
        Ok(reference.clone_with_digest(digest))
    }

    /// The manifest that a reference names; of an image for several machines this one's.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Manifest> {
        let index = match self.named(reference).await? {
            (OciManifest::Image(image), bytes) => return Manifest::new(image, &bytes),
            (OciManifest::ImageIndex(index), _) => index,
        };
        let digest = current_platform_resolver(&index.manifests).filter(|digest| hex_of(digest).is_some());
        let digest = digest.ok_or_else(|| invalid(format!("{reference} is no image for this kind of machine")))?;
        match self.named(&reference.clone_with_digest(digest)).await? {
            (OciManifest::Image(image), bytes) => Manifest::new(image, &bytes),
            (OciManifest::ImageIndex(_), _) => Err(invalid(format!("{reference} names an index in an index"))),
        }
    }

    /// A manifest and its bytes, verified where the reference names its digest.
    async fn named(&self, reference: &Reference) -> Result<(OciManifest, Vec<u8>)> {
        let bytes = self.verified(reference).await?;
        let parsed = serde_json::from_slice(&bytes);
        Ok((parsed.map_err(|error| invalid(format!("{reference}: its manifest: {error}")))?, bytes))
    }

    /// A manifest's bytes.
    async fn verified(&self, reference: &Reference) -> Result<Vec<u8>> {
        let bytes = self.manifest_bytes(reference).await?;
        match reference.digest().is_some_and(|digest| !is_digest_of(digest, &bytes)) {
            true => Err(invalid(format!("{reference}: its manifest has another digest"))),
            false => Ok(bytes),
        }
    }

    /// A layer that a manifest embeds, verified. None: it has not that one.
    pub(crate) async fn embedded(&self, reference: &Reference, layer: &OciDescriptor) -> Result<Option<Vec<u8>>> {
        Embedding::read(&self.verified(reference).await?)?.embedded(layer)
    }

    async fn manifest_bytes(&self, reference: &Reference) -> Result<Vec<u8>> {
        if !self.traits().closed.contains(reference.registry()) {
            if let Some(bytes) = self.direct.manifest(reference).await? {
                return Ok(bytes);
            }
            self.traits().closed.insert(reference.registry().to_owned());
        }
        let pulled = self.client.pull_manifest_raw(reference, &RegistryAuth::Anonymous, &MANIFESTS).await;
        Ok(pulled.map_err(|error| refused(reference, &error))?.0.to_vec())
    }

    /// A manifest's configuration: the one that it embeds, or the blob.
    pub(crate) async fn config(self: &Arc<Self>, reference: &Reference, manifest: &Manifest) -> Result<Vec<u8>> {
        match manifest.embedded()? {
            Some(config) => Ok(config),
            None => self.small(reference, &manifest.image.config, CONFIG_BYTES).await,
        }
    }

    /// A blob, or a part of it, unverified. By its digest alone: the hosts of a descriptor's `urls` are none of the node's
    /// registries.
    pub(crate) async fn blob(&self, reference: &Reference, digest: &str, part: Option<Range<u64>>) -> Result<Given> {
        if !self.traits().closed.contains(reference.registry()) {
            if let Some(given) = self.direct.blob(reference, digest, part.as_ref()).await? {
                return Ok(given);
            }
            self.traits().closed.insert(reference.registry().to_owned());
        }
        // A bridge that has just started has asked for no manifest before.
        self.client.store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous).await;
        let given = match part {
            None => self.client.pull_blob_stream(reference, digest).await.map(BlobResponse::Full),
            Some(Range { start, end }) => {
                self.client.pull_blob_stream_partial(reference, digest, start, Some(end.saturating_sub(start))).await
            }
        };
        Ok(match given.map_err(|error| refused(reference, &error))? {
            BlobResponse::Full(stream) => Given::Whole(stream.stream),
            BlobResponse::Partial(stream) => Given::Part(stream.stream),
        })
    }

    /// Whether its registry is known to give blobs as a whole only.
    pub(crate) fn has_no_parts(&self, reference: &Reference) -> bool {
        self.traits().whole.contains(reference.registry())
    }

    pub(crate) fn remember_no_parts(&self, reference: &Reference) {
        self.traits().whole.insert(reference.registry().to_owned());
    }

    /// Room for so many bytes that come before their turn; none, where others have it.
    pub(crate) fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let room = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(room).ok()
    }

    fn traits(&self) -> MutexGuard<'_, Traits> {
        self.traits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob of at most `most` bytes as a whole, verified.
    pub(crate) async fn small(
        self: &Arc<Self>,
        reference: &Reference,
        blob: &OciDescriptor,
        most: u64,
    ) -> Result<Vec<u8>> {
        let size = u64::try_from(blob.size).ok().filter(|size| *size <= most);
        let size = size.ok_or_else(|| {
            invalid(format!("{reference} has a blob of {} bytes: at most {most} are allowed", blob.size))
        })?;
        let mut bytes = Vec::new();
        crate::layer::receive(self, reference, blob, size, |piece| {
            bytes.extend_from_slice(&piece);
            std::future::ready(true)
        })
        .await?;
        Ok(bytes)
    }
}

/// The hex digits of "sha256:…".
pub(crate) fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (hex.len() == 64 && hex.bytes().all(plain)).then_some(hex)
}

/// What went wrong with a registry, for people; of a long answer the beginning.
pub(crate) fn told(reference: &Reference, error: &dyn std::error::Error) -> String {
    let mut text = format!("{reference}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text.chars().take(600).collect()
}

fn refused(reference: &Reference, error: &OciDistributionError) -> Error {
    match error {
        OciDistributionError::DigestError(_) => invalid(told(reference, error)),
        _ => pull(told(reference, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_one_of_the_nodes_registries() {
        let known = vec![Registry { host: "registry.test:5000".into(), plain: true }];
        let registries = Registries::new(known).unwrap();
        let code = |text: &str| registries.reference(text).err().map(|error| error.code);
        let digest = "a".repeat(64);
        assert_eq!(code(&format!("registry.test:5000/a/b@sha256:{digest}")), None);
        assert_eq!(code("registry.test:5000/a:1"), None);
        assert_eq!(code("registry.test/a:1"), Some(ErrorCode::ImagePullFailed));
        assert_eq!(code("python"), Some(ErrorCode::InvalidArgument));
        assert_eq!(code("library/python"), Some(ErrorCode::InvalidArgument));
        assert_eq!(code("registry.test:5000/A B"), Some(ErrorCode::InvalidArgument));
        assert_eq!(code("registry.test:5000/a@sha256:12"), Some(ErrorCode::InvalidArgument));
    }
}

//! The registries that the node names, and what is asked of them.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::config::Registry;
use crate::failure::{invalid, pull};

const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces.
const STALL: Duration = Duration::from_secs(30);
/// Of a configuration.
pub(crate) const CONFIG_BYTES: u64 = 4 << 20;

pub(crate) struct Registries {
    client: Client,
    /// Has no credentials, not even anonymous ones: the client asks a registry before each request whether it wants a token, as
    /// long as it has none. That is a round trip more for each blob of a registry that wants none.
    open: Client,
    /// The registries that want a token for blobs.
    closed: Mutex<HashSet<String>>,
    known: Vec<Registry>,
}

impl Registries {
    pub(crate) fn new(known: Vec<Registry>) -> Result<Self> {
        // An error says that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = || known.iter().filter(|registry| registry.plain).map(|registry| registry.host.clone()).collect();
        let client = || {
            let config = ClientConfig {
                protocol: ClientProtocol::HttpsExcept(plain()),
                connect_timeout: Some(CONNECT),
                read_timeout: Some(STALL),
                user_agent: "headstart",
                ..ClientConfig::default()
            };
            let failed = |error| Error::new(ErrorCode::Internal, format!("the registries' client: {error}"));
            Client::try_from(config).map_err(failed)
        };
        Ok(Self { client: client()?, open: client()?, closed: Mutex::default(), known })
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

    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<OciImageManifest> {
        let pulled = self.client.pull_image_manifest(reference, &RegistryAuth::Anonymous).await;
        Ok(pulled.map_err(|error| refused(reference, &error))?.0)
    }

    /// A blob from its first byte, in pieces that are not verified yet. By its digest alone: of a descriptor, the client would
    /// ask the hosts of its `urls`, too, which are none of the node's registries.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        blob: &OciDescriptor,
    ) -> Result<oci_client::client::SizedStream> {
        let digest = blob.digest.as_str();
        if !self.closed().contains(reference.registry()) {
            match self.open.pull_blob_stream(reference, digest).await {
                Err(OciDistributionError::UnauthorizedError { .. }) => {
                    self.closed().insert(reference.registry().to_owned());
                }
                outcome => return outcome.map_err(|error| refused(reference, &error)),
            }
        }
        // A bridge that has just started has asked for no manifest before.
        self.client.store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous).await;
        self.client.pull_blob_stream(reference, digest).await.map_err(|error| refused(reference, &error))
    }

    fn closed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob of at most `most` bytes as a whole, verified.
    pub(crate) async fn small(&self, reference: &Reference, blob: &OciDescriptor, most: u64) -> Result<Vec<u8>> {
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

/// What a registry answered, for people; of a long answer the beginning.
pub(crate) fn refused(reference: &Reference, error: &OciDistributionError) -> Error {
    use std::error::Error as _;
    let mut text = format!("{reference}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    match error {
        OciDistributionError::DigestError(_) => invalid(text.chars().take(600).collect::<String>()),
        _ => pull(text.chars().take(600).collect::<String>()),
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

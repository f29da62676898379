//! What an image says of itself, and what is kept of it.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headstart_base::Result;
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use serde::{Deserialize, Serialize};

use crate::config::Bounds;
use crate::failure::invalid;
use crate::pieces::is_digest_of;
use crate::registry::hex_of;

/// How its programs are run where the function does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    pub env: Vec<(String, String)>,
    /// Absolute, or none.
    pub working_dir: Option<String>,
    /// Entrypoint and Cmd.
    pub command: Vec<String>,
}

/// A cached image, as it is written beside its layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The reference that it was pulled by.
    pub(crate) reference: String,
    /// From the lowest: SHA-256 of the uncompressed archive, bytes of the files.
    pub(crate) layers: Vec<(String, u64)>,
    pub(crate) defaults: Defaults,
    /// Of the machine, while the files may be in its memory only: another boot has not all of them. None: they are on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) boot: Option<String>,
}

/// An image's manifest, and what it may embed: nobody has to ask for that.
pub(crate) struct Manifest {
    pub(crate) image: OciImageManifest,
    embedding: Embedding,
}

/// What the client's own type leaves out.
#[derive(Deserialize)]
pub(crate) struct Embedding {
    config: Embedded,
    layers: Vec<Embedded>,
}

#[derive(Deserialize)]
struct Embedded {
    digest: String,
    /// In base64.
    data: Option<String>,
}

impl Manifest {
    /// `bytes`: what `image` was read from.
    pub(crate) fn new(image: OciImageManifest, bytes: &[u8]) -> Result<Self> {
        Ok(Self { image, embedding: Embedding::read(bytes)? })
    }

    /// The configuration that it embeds, which must be what its digest says.
    pub(crate) fn embedded(&self) -> Result<Option<Vec<u8>>> {
        let data = self.embedding.config.data.as_deref();
        data.map(|data| decoded(data, &self.image.config)).transpose()
    }

    /// Whether it says that it has the bytes of a layer.
    pub(crate) fn embeds(&self, digest: &str) -> bool {
        self.embedding.layer(digest).is_some()
    }
}

impl Embedding {
    /// Of a manifest's bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("its manifest: {error}")))
    }

    /// A layer that it embeds, which must be what its digest says.
    pub(crate) fn embedded(&self, layer: &OciDescriptor) -> Result<Option<Vec<u8>>> {
        self.layer(&layer.digest).map(|data| decoded(data, layer)).transpose()
    }

    fn layer(&self, digest: &str) -> Option<&str> {
        self.layers.iter().find(|layer| layer.digest == digest)?.data.as_deref()
    }
}

/// The bytes of a descriptor's `data`, which must be as it says.
fn decoded(data: &str, descriptor: &OciDescriptor) -> Result<Vec<u8>> {
    let bytes = STANDARD.decode(data).map_err(|error| invalid(format!("what its manifest embeds: {error}")))?;
    let as_said = usize::try_from(descriptor.size) == Ok(bytes.len()) && is_digest_of(&descriptor.digest, &bytes);
    match as_said {
        true => Ok(bytes),
        false => Err(invalid("what its manifest embeds is not what it names")),
    }
}

/// The parts of an image's configuration that are used.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    config: Option<Config>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Refuses an image that is larger than an image may be, before any of it is fetched. Tells its bytes.
pub(crate) fn check(manifest: &OciImageManifest, bounds: &Bounds) -> Result<u64> {
    if manifest.layers.is_empty() || manifest.layers.len() > bounds.layers {
        return Err(invalid(format!("it has {} layers: 1 to {} are allowed", manifest.layers.len(), bounds.layers)));
    }
    let mut total = 0_u64;
    for layer in &manifest.layers {
        let size = u64::try_from(layer.size).map_err(|_| invalid("a layer has a negative size"))?;
        if hex_of(&layer.digest).is_none() {
            return Err(invalid("a layer has no SHA-256 digest"));
        }
        total = total.saturating_add(size);
    }
    match total <= bounds.bytes {
        true => Ok(total),
        false => Err(invalid(format!("its layers have {total} bytes: {} are allowed", bounds.bytes))),
    }
}

/// The layers' ids and the defaults.
pub(crate) fn read_config(bytes: &[u8], layers: usize) -> Result<(Vec<String>, Defaults)> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| invalid(format!("its configuration: {error}")))?;
    let ids: Option<Vec<String>> = file.rootfs.diff_ids.iter().map(|id| hex_of(id).map(str::to_owned)).collect();
    let ids = ids.ok_or_else(|| invalid("a layer has no SHA-256 id"))?;
    if ids.len() != layers {
        return Err(invalid(format!("it has {layers} layers and {} ids of layers", ids.len())));
    }
    let config = file.config.unwrap_or_default();
    // What is no variable is left out: the sandbox would refuse all of them for it.
    let env: HashMap<String, String> = config
        .env
        .unwrap_or_default()
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, value)| is_variable(name) && !value.contains('\0'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut env: Vec<(String, String)> = env.into_iter().collect();
    env.sort_unstable();
    let command = [config.entrypoint, config.cmd].into_iter().flatten().flatten().collect();
    let working_dir = config.working_dir.filter(|path| path.starts_with('/') && !path.contains('\0'));
    Ok((ids, Defaults { env, working_dir, command }))
}

fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gives_defaults() {
        let id = "a".repeat(64);
        let text = format!(
            r#"{{"config":{{"Env":["A=1","A=2","no","9=x","B=a=b"],"WorkingDir":"/srv","Entrypoint":["a"],"Cmd":["b"]}},
                "rootfs":{{"type":"layers","diff_ids":["sha256:{id}"]}},"architecture":"amd64"}}"#
        );
        let (ids, defaults) = read_config(text.as_bytes(), 1).unwrap();
        assert_eq!(ids, [id.as_str()]);
        assert_eq!(defaults.env, [("A".into(), "2".into()), ("B".into(), "a=b".into())]);
        assert_eq!(defaults.command, ["a", "b"]);
        assert_eq!(defaults.working_dir.as_deref(), Some("/srv"));
        assert!(read_config(text.as_bytes(), 2).is_err());
        let none = format!(r#"{{"config":null,"rootfs":{{"diff_ids":["sha256:{id}"]}}}}"#);
        assert_eq!(read_config(none.as_bytes(), 1).unwrap().1, Defaults::default());
        assert!(read_config(br#"{"rootfs":{"diff_ids":["sha256:../../x"]}}"#, 1).is_err());
        assert!(read_config(b"[]", 1).is_err());
    }
}

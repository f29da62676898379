//! Debian's docker-registry, and the folder of a node.
#![allow(dead_code)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headstart_image::{Bounds, ImageConfig, Registry, Store};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry of our own, gone with the test.
pub(crate) struct Served {
    child: Child,
    folder: TempDir,
    pub(crate) host: String,
}

impl Served {
    pub(crate) async fn start() -> Self {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": folder.path().join("data") } },
            "http": { "addr": format!("127.0.0.1:{port}") },
            "validation": { "manifests": { "urls": { "allow": ["."] } } },
        });
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("Debian's docker-registry is installed");
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, folder, host: format!("127.0.0.1:{port}") }
    }

    /// Pushes blobs and the manifest that names them, and gives its reference.
    pub(crate) async fn push(&self, name: &str, blobs: &[&[u8]], manifest: &serde_json::Value) -> String {
        let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let reference: Reference = format!("{}/{name}:latest", self.host).parse().unwrap();
        client.auth(&reference, &RegistryAuth::Anonymous, RegistryOperation::Push).await.unwrap();
        for blob in blobs {
            client.push_blob(&reference, blob.to_vec(), &digest(blob)).await.unwrap();
        }
        let bytes = manifest.to_string().into_bytes();
        client.push_manifest_raw(&reference, bytes.clone(), MANIFEST.parse().unwrap()).await.unwrap();
        format!("{}/{name}@{}", self.host, digest(&bytes))
    }

    /// The registry's own file of a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.folder.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    pub(crate) fn config(&self, folder: &Path) -> ImageConfig {
        ImageConfig {
            folder: folder.join("images"),
            most_bytes: 1 << 30,
            registries: vec![Registry { host: self.host.clone(), plain: true }],
            bounds: Bounds { entries: 1000, bytes: 16 << 20, time: Duration::from_secs(20), ..Bounds::default() },
        }
    }

    pub(crate) fn open(&self, folder: &Path) -> Store {
        fs::create_dir_all(folder.join("images")).unwrap();
        fs::create_dir_all(folder.join("top/app")).unwrap();
        Store::open(self.config(folder), folder.join("top")).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node's folder; its mounts end with the test.
pub(crate) struct State(TempDir);

impl State {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("images").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// Files are removed behind the back of who asked.
    pub(crate) async fn is_empty_soon(&self) {
        let all = || ["layers", "roots", "records"].map(|folder| self.names(folder));
        for _ in 0..100 {
            if all().iter().all(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("left: {:?}", all());
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path().join("images/roots")).into_iter().flatten().flatten() {
            let _ = nix::mount::umount2(&entry.path(), nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A blob as a manifest names it.
pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

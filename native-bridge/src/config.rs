//! `bridge.json`: how a node's bridge is set up.

use std::path::{Path, PathBuf};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::Reach;
use serde::Deserialize;

/// The whole file. Paths are absolute; times are milliseconds, sizes bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// `RUN`: sockets. Its path should be short: a socket's address has at most 107 bytes.
    pub(crate) run_dir: PathBuf,
    /// `STATE`: bundles and sandboxes.
    pub(crate) state_dir: PathBuf,
    /// Secrets in the clear, to be taken in at the start and removed: TOML, a table `[tenant.name]` each.
    #[serde(default)]
    pub(crate) secrets_file: Option<PathBuf>,
    /// How long an instance is kept after its control stream broke.
    #[serde(default = "defaults::grace_ms")]
    pub(crate) grace_ms: u32,
    #[serde(default)]
    pub(crate) memory: Memory,
    #[serde(default)]
    pub(crate) net: Net,
    /// None: this node runs no initscripts.
    #[serde(default)]
    pub(crate) runner: Option<Runner>,
    /// A path, or a name to look up in PATH.
    #[serde(default = "defaults::runsc")]
    pub(crate) runsc: PathBuf,
    #[serde(default = "defaults::bwrap")]
    pub(crate) bwrap: PathBuf,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) images: Images,
    #[serde(default)]
    pub(crate) snapshots: Snapshots,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// Of all segments, those that are kept ready included.
    pub(crate) node_bytes: u64,
    /// Which segments are kept ready, their pages prefaulted.
    pub(crate) pool: Vec<PoolClass>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolClass {
    pub(crate) bytes: usize,
    pub(crate) count: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Net {
    /// IPv4 /16 of the sandboxes' links.
    pub(crate) subnet: String,
    /// Network namespaces kept ready.
    pub(crate) pool: usize,
    /// PEM files of further certificate authorities.
    pub(crate) authorities: Vec<PathBuf>,
    /// What of the node's own networks functions may reach: nothing (false), what is spelled as an address or "localhost" (true),
    /// or a list of networks ("10.1.0.0/16").
    pub(crate) allow_private: Reach,
}

/// OCI images of applications (docs/images.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Images {
    /// Of all unpacked layers: what was not used for the longest time is collected.
    pub(crate) bytes: u64,
    /// Where images may come from. None: there are no images here.
    pub(crate) registries: Vec<Registry>,
    /// Of one image, packed or unpacked.
    pub(crate) image_bytes: u64,
    /// Files, folders and links of one layer.
    pub(crate) layer_entries: u64,
    /// Of one pull.
    pub(crate) pull_ms: u64,
}

/// What initialised functions are stopped and gone on from (docs/snapshots.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Snapshots {
    /// Of all of them: what was not used for the longest time is collected.
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// "host" or "host:port".
    pub(crate) host: String,
    /// Without TLS.
    #[serde(default)]
    pub(crate) plain: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runner {
    pub(crate) workerd: PathBuf,
    /// In the folder of the modules that it names.
    pub(crate) config_file: PathBuf,
    /// RLIMIT_DATA of the process; 0: the default.
    #[serde(default)]
    pub(crate) data_limit: u64,
    /// Of its cgroup; 0: the default.
    #[serde(default)]
    pub(crate) memory_limit: u64,
    /// How many tenants may have a runner at one time: as many as the host has bindings for.
    #[serde(default = "defaults::slots")]
    pub(crate) slots: u16,
    /// Runners kept ready for tenants without one.
    #[serde(default = "defaults::spares")]
    pub(crate) spares: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Instances at one time, spares included.
    pub(crate) instances: usize,
    /// Connections of one application.
    pub(crate) app_connections: usize,
    /// HTTP connections on bridge.sock.
    pub(crate) http_connections: usize,
    /// Invocations of one instance that wait or run.
    pub(crate) invocations: usize,
    /// Of a bundle, packed or unpacked.
    pub(crate) bundle_bytes: u64,
    /// Files and folders of a bundle.
    pub(crate) bundle_entries: usize,
    /// Of an application's outbox.
    pub(crate) outbox_bytes: u64,
    /// How long nothing may move on a connection that the bridge carries for an application.
    pub(crate) connection_idle_ms: u64,
    /// How long SIGTERM waits for open invocations.
    pub(crate) drain_ms: u64,
}

mod defaults {
    use std::path::PathBuf;

    pub(super) fn grace_ms() -> u32 {
        5000
    }
    pub(super) fn slots() -> u16 {
        8
    }
    pub(super) fn spares() -> u16 {
        1
    }
    pub(super) fn runsc() -> PathBuf {
        PathBuf::from("runsc")
    }
    pub(super) fn bwrap() -> PathBuf {
        PathBuf::from("bwrap")
    }
}

impl Default for Memory {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        let class = |bytes, count| PoolClass { bytes, count };
        Self {
            node_bytes: 2 << 30,
            pool: vec![class(64 << 10, 16), class(4 * MIB, 4), class(16 * MIB, 4), class(32 * MIB, 2)],
        }
    }
}

impl Default for Net {
    fn default() -> Self {
        Self { subnet: "10.213.0.0/16".into(), pool: 4, authorities: Vec::new(), allow_private: Reach::Public }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self { bytes: 20 << 30, registries: Vec::new(), image_bytes: 8 << 30, layer_entries: 500_000, pull_ms: 600_000 }
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { bytes: 8 << 30 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 256,
            app_connections: 64,
            http_connections: 1024,
            invocations: 256,
            bundle_bytes: 4 << 30,
            bundle_entries: 200_000,
            outbox_bytes: 64 << 20,
            connection_idle_ms: 3_600_000,
            drain_ms: 10_000,
        }
    }
}

impl Config {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorCode::InvalidArgument, format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let config: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (name, folder) in [("run_dir", &config.run_dir), ("state_dir", &config.state_dir)] {
            if !folder.is_absolute() {
                return Err(wrong(format!("{name} is not an absolute path: {}", folder.display())));
            }
        }
        Ok(config)
    }

    pub(crate) fn bridge_socket(&self) -> PathBuf {
        self.run_dir.join("bridge.sock")
    }

    /// The host's way to the runner in a slot.
    pub(crate) fn relay_socket(&self, slot: u16) -> PathBuf {
        self.run_dir.join(format!("relay-{slot}.sock"))
    }

    pub(crate) fn instances_dir(&self) -> PathBuf {
        self.run_dir.join("instances")
    }

    pub(crate) fn images_dir(&self) -> PathBuf {
        self.state_dir.join("images")
    }

    pub(crate) fn snapshots_dir(&self) -> PathBuf {
        self.state_dir.join("snapshots")
    }

    pub(crate) fn bundles_dir(&self) -> PathBuf {
        self.state_dir.join("bundles")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_defaults_and_refuses_unknown_fields() {
        let least = r#"{"run_dir":"/r","state_dir":"/s"}"#;
        let config: Config = serde_json::from_str(least).unwrap();
        assert_eq!(config.grace_ms, 5000);
        assert_eq!(config.bridge_socket(), Path::new("/r/bridge.sock"));
        assert!(config.runner.is_none());
        let unknown = r#"{"run_dir":"/r","state_dir":"/s","grace":1}"#;
        assert!(serde_json::from_str::<Config>(unknown).unwrap_err().to_string().contains("grace"));
    }
}

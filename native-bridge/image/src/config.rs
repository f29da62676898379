//! How a node keeps images.

use std::path::PathBuf;
use std::time::Duration;

/// A registry that images may come from. Others are refused: a reference is a tenant's text, and the bridge goes where it says.
#[derive(Clone, Debug)]
pub struct Registry {
    /// `host` or `host:port`, as references name it.
    pub host: String,
    /// Speaks HTTP without TLS.
    pub plain: bool,
}

/// What one image may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub layers: usize,
    /// Of one layer: files, folders, links, whiteouts. Each counts as a block (4 KiB) of the image's bytes, too.
    pub entries: u64,
    /// Of one image, packed and unpacked.
    pub bytes: u64,
    /// Of a whole pull.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { layers: 120, entries: 500_000, bytes: 8 << 30, time: Duration::from_secs(600) }
    }
}

#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// All that is kept is below it.
    pub folder: PathBuf,
    /// Of all unpacked layers. More than that stays only while it is in use.
    pub most_bytes: u64,
    pub registries: Vec<Registry>,
    pub bounds: Bounds,
}

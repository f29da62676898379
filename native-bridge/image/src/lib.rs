//! OCI images of applications: pulled from a registry, verified, unpacked, mounted, cached and collected.
//!
//! A layer is a file that the kernel mounts, or a folder, named by the SHA-256 of its uncompressed archive; an image is a
//! read-only overlay of its layers, below one of the sandboxes' own (their mount points). docs/images.md tells how.

mod ahead;
mod archive;
mod artifact;
mod config;
mod direct;
mod disk;
mod erofs;
mod failure;
mod frames;
mod layer;
mod lower;
mod manifest;
mod mount;
mod parts;
mod path;
mod pieces;
mod pull;
mod registry;
mod scratch;
mod store;
mod unpack;

pub use artifact::{Downloaded, Format, Layer, Script};
pub use config::{Bounds, ImageConfig, Registry};
pub use manifest::Defaults;
pub use pull::Pulled;
pub use store::{Image, Listed, Store};

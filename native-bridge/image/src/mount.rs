//! The overlay of an image's layers.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use headstart_base::Result;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::disk;

/// Mounts `layers`, the uppermost first, at `place`. Without an upper folder nothing can write to it.
pub(crate) fn overlay(layers: &[&OwnedFd], place: &Path) -> Result<()> {
    let failed = |error: nix::Error| disk(format_args!("the files of an image at {}", place.display()), &error.into());
    std::fs::create_dir_all(place).map_err(|error| disk("an image", &error))?;
    // By descriptors: the options of a mount have one page, and paths may be long.
    let paths: Vec<String> = layers.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = format!("lowerdir={}", paths.join(":"));
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("headstart"), place, Some("overlay"), flags, Some(options.as_str())).map_err(failed)?;
    mount(None::<&str>, place, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).map_err(failed)
}

/// Takes it away. Who has it bound keeps its files.
pub(crate) fn detach(place: &Path) {
    while umount2(place, MntFlags::MNT_DETACH).is_ok() {}
    // If something is mounted there still, this fails, and nothing is lost.
    if let Err(error) = std::fs::remove_dir(place)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, place = %place.display(), "cannot remove an image's mount point");
    }
}

//! What a previous life of this node left: found by names, since nothing else has survived.

use crate::cgroup::{Cgroup, Hierarchies};
use crate::failure::failed;
use crate::names::Names;
use crate::network::delete_leftovers;
use crate::sandbox::remove_folder;
use crate::spec::SandboxConfig;
use headstart_base::Result;
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const END_LIMIT: Duration = Duration::from_secs(10);

/// Ends and removes all that carries this node's names: processes first, then what they held.
pub(crate) async fn leftovers(config: &SandboxConfig, names: &Names, hierarchies: &Hierarchies) -> Result<()> {
    for child in hierarchies.children(&names.cgroup_parent()) {
        tracing::info!(cgroup = child, "reaping a previous life's processes");
        Cgroup::existing(hierarchies, names.cgroup(&child)).destroy(END_LIMIT).await?;
    }
    delete_leftovers(names).await;
    unmount_below(&[&config.state_dir, &config.run_dir])?;
    let folder = config.state_dir.join("sandboxes");
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        remove_folder(entry.path()).await;
    }
    Ok(())
}

fn unmount_below(folders: &[&Path]) -> Result<()> {
    let folders: Vec<PathBuf> = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    let text = fs::read("/proc/self/mountinfo").map_err(|error| failed("/proc/self/mountinfo", error))?;
    // The last mounted is unmounted first.
    for line in text.split(|byte| *byte == b'\n').rev() {
        let Some(field) = line.split(|byte| *byte == b' ').nth(4) else { continue };
        let point = PathBuf::from(std::ffi::OsStr::from_bytes(&unescape(field)));
        if folders.iter().any(|folder| point.starts_with(folder) && point != *folder) {
            tracing::info!(point = %point.display(), "unmounting what a previous life left");
            umount2(&point, MntFlags::MNT_DETACH).map_err(|error| failed(point.display(), error))?;
        }
    }
    Ok(())
}

/// The kernel writes space, tab, line break and backslash as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(code);
                rest = &after[3..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(br"/a\040b\134c\9"), br"/a b\c\9");
    }
}

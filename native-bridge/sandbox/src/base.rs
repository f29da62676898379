//! The file system that every sandbox with base `host` sees: one read-only tree for all of them, made at start.
//!
//! `/usr` is the host's, bound read-only; `/bin`, `/lib` … point into it; `/etc` holds copies of the few files that
//! programs need; the rest are mount points. Because it is one tree, gVisor may cache it without asking again.

use crate::accounts;
use crate::bind::bind_read_only;
use crate::failure::failed;
use headstart_base::Result;
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// User and group of programs in gVisor, whose kernel knows no others of ours.
pub(crate) const NOBODY: u32 = 65534;

/// Where a sandbox finds its files and its socket.
pub(crate) const APP: &str = "/app";
pub(crate) const SOCKETS: &str = "/run/headstart";

pub(crate) const MOUNT_POINTS: [&str; 12] = [
    "app",
    "dev",
    "proc",
    "run/headstart",
    "sys/devices/system/cpu",
    "tmp",
    "usr",
    "etc",
    "var/tmp",
    "var/cache",
    "var/lib",
    "home",
];
const COPIES: [&str; 8] =
    ["alternatives", "ld.so.cache", "localtime", "mime.types", "services", "ssl/certs", "ssl/openssl.cnf", "protocols"];
const WRITTEN: [(&str, &str); 3] = [
    ("hosts", HOSTS),
    ("resolv.conf", "# No DNS here: /etc/hosts has what the application may reach.\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];
/// What /etc/hosts begins with.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost headstart\n::1 localhost\n";

/// The shared tree.
#[derive(Debug)]
pub(crate) struct Base {
    root: PathBuf,
}

impl Base {
    /// Makes the tree below `folder`, anew.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let base = Self { root: folder.join("rootfs") };
        base.destroy();
        base.fill().map_err(|error| failed(format_args!("base {}", base.root.display()), error))?;
        Ok(base)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn fill(&self) -> io::Result<()> {
        for point in MOUNT_POINTS {
            fs::create_dir_all(self.root.join(point))?;
        }
        for link in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            if Path::new("/usr").join(link).is_dir() {
                symlink(Path::new("usr").join(link), self.root.join(link))?;
            }
        }
        let etc = self.root.join("etc");
        for name in COPIES {
            copy_tree(&Path::new("/etc").join(name), &etc.join(name), 3)?;
        }
        for (name, text) in WRITTEN {
            fs::write(etc.join(name), text)?;
        }
        for (name, target) in accounts::links() {
            symlink(target, etc.join(name))?;
        }
        bind_read_only(Path::new("/usr"), &self.root.join("usr"))
    }

    /// Where the host's tree has a mount of ours.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        vec![self.root.join("usr")]
    }

    /// Unmounts and removes the tree. Nothing is removed while something is mounted in it.
    pub(crate) fn destroy(&self) {
        for point in self.mounts() {
            while umount2(&point, MntFlags::MNT_DETACH).is_ok() {}
        }
        // Never through the mount: if it is still there, removing its mount point fails first.
        if fs::remove_dir(self.root.join("usr")).is_ok() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Copies files and links, readable by all; what is not there is left out. `depth` bounds folders in folders.
fn copy_tree(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if metadata.is_dir() && depth > 0 {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()), depth - 1)?;
        }
        Ok(())
    } else if metadata.is_file() && metadata.permissions().mode() & 0o004 != 0 {
        fs::copy(from, to).map(|_| ())
    } else {
        Ok(())
    }
}

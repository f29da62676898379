//! A layer as an overlay takes it: a folder, or a file that is mounted as EROFS, nowhere in the tree of mounts.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use crate::erofs::Packed;
use crate::mount::{detach, overlay};
use crate::scratch::Scratch;
use crate::unpack::Files;

/// Opens a layer. Its files are there as long as this or an overlay of it is.
pub(crate) fn open(layer: &Path) -> io::Result<OwnedFd> {
    let file = File::open(layer)?;
    if !file.metadata()?.is_file() {
        return Ok(file.into());
    }
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_set_string(&context, "source", format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Whether layers can be files here: Linux 6.15, and a file system for them that the kernel reads others from.
pub(crate) fn can_be_files(layers: &Path) -> bool {
    let tried = try_file(layers);
    if let Err(error) = &tried {
        tracing::info!(%error, "layers are folders: this kernel or file system has no mounts of files");
    }
    tried.is_ok()
}

/// Makes a layer of one folder, and an overlay of that.
fn try_file(layers: &Path) -> io::Result<()> {
    let scratch = Scratch::new(layers)?;
    let [layer, below, root] = ["layer", "below", "root"].map(|name| scratch.path().join(name));
    std::fs::create_dir(&below)?;
    let mut files = Packed::new(&layer)?;
    files.parent(&["found".as_ref()])?;
    files.finish()?;
    let mounted = overlay(&[&open(&layer)?, &open(&below)?], &root).map_err(io::Error::other);
    let found = mounted.map(|()| root.join("found").is_dir());
    detach(&root);
    match found? {
        true => Ok(()),
        false => Err(io::Error::other("a file that is mounted lacks what is in it")),
    }
}

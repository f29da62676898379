//! What lies above the files of an image: where a sandbox mounts its own, and the program that gives up root.

use crate::base::{HOSTS, MOUNT_POINTS};
use crate::failure::failed;
use headstart_base::Result;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// In the sandbox. An image's own file of that name is hidden by ours.
pub(crate) const ENTER: &str = "/.headstart/enter";

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/enter"));
/// Of the image's own they are.
const IMAGES_OWN: [&str; 2] = ["usr", "home"];

/// Makes a folder, anew, that has to be the uppermost layer of every image's files.
pub fn write_image_top(folder: &Path) -> Result<()> {
    write(folder).map_err(|error| failed(folder.display(), error))
}

fn write(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for point in MOUNT_POINTS.iter().filter(|point| !IMAGES_OWN.contains(point)) {
        fs::create_dir_all(folder.join(point))?;
    }
    fs::write(folder.join("etc/hosts"), HOSTS)?;
    fs::write(folder.join("etc/resolv.conf"), "# No DNS here: /etc/hosts has what the application may reach.\n")?;
    let program = folder.join(ENTER.trim_start_matches('/'));
    fs::create_dir_all(folder.join(".headstart"))?;
    fs::write(&program, PROGRAM)?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755))
}

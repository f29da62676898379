//! The names of a sandbox's users. Programs ask for that of their own (`getpwuid`), and some end without an answer.

use crate::base::{NOBODY, SOCKETS};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// In /etc, and in the folder of an instance's sockets: those of the base are links to there.
const FILES: [&str; 2] = ["passwd", "group"];
/// Of an image's own file.
const MOST_BYTES: u64 = 1 << 20;

/// What the base has at /etc: (name, what it links to).
pub(crate) fn links() -> [(&'static str, PathBuf); 2] {
    FILES.map(|name| (name, Path::new(SOCKETS).join(name)))
}

/// Writes both files into a folder.
pub(crate) fn write(folder: &Path, user: u32) -> io::Result<()> {
    let [passwd, group] = lines(user);
    let nobody = format!("nobody:x:{NOBODY}:{NOBODY}:nobody:/tmp:/bin/sh\n");
    write_file(&folder.join(FILES[0]), &format!("root:x:0:0:root:/:/usr/sbin/nologin\n{nobody}{passwd}"))?;
    write_file(&folder.join(FILES[1]), &format!("root:x:0:\nnogroup:x:{NOBODY}:\n{group}"))
}

/// An image's own files with the user added to them, in a folder: (file, where it is to be mounted). An image that has none has
/// no place for them either.
pub(crate) fn add_to_image(root: &Path, folder: &Path, user: u32) -> io::Result<Vec<(PathBuf, String)>> {
    let root = File::open(root)?;
    let mut made = Vec::new();
    for (name, line) in FILES.into_iter().zip(lines(user)) {
        if let Some(mut text) = read(&root, &Path::new("etc").join(name))? {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            let file = folder.join(name);
            write_file(&file, &(text + &line))?;
            made.push((file, format!("/etc/{name}")));
        }
    }
    Ok(made)
}

/// The user's own lines; what every sandbox knows needs none.
fn lines(user: u32) -> [String; 2] {
    match user {
        NOBODY => [String::new(), String::new()],
        _ => [format!("app:x:{user}:{user}:app:/tmp:/bin/sh\n"), format!("app:x:{user}:\n")],
    }
}

/// A file of an image's, through no link at all: that could lead to one of the host's. None: there is no such file, or it is no such.
fn read(root: &File, path: &Path) -> io::Result<Option<String>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let Some(file) = openat2(root, path, how).ok().map(File::from) else { return Ok(None) };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    match file.take(MOST_BYTES + 1).read_to_string(&mut text) {
        Ok(bytes) if bytes as u64 <= MOST_BYTES => Ok(Some(text)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a file that all may read.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(PermissionsExt::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_images_own_users_stay_and_links_are_not_followed() {
        let folder = std::env::temp_dir().join(format!("hs-accounts-{}", std::process::id()));
        let (root, made) = (folder.join("root"), folder.join("made"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(&made).unwrap();
        fs::write(root.join("etc/passwd"), "postgres:x:70:70::/:/bin/sh").unwrap();
        symlink("/etc/shadow", root.join("etc/group")).unwrap();
        let mounts = add_to_image(&root, &made, 4711).unwrap();
        assert_eq!(mounts, [(made.join("passwd"), "/etc/passwd".to_owned())]);
        assert_eq!(
            fs::read_to_string(made.join("passwd")).unwrap(),
            "postgres:x:70:70::/:/bin/sh\napp:x:4711:4711:app:/tmp:/bin/sh\n"
        );
        fs::write(root.join("etc/passwd"), [0xff]).unwrap();
        assert_eq!(add_to_image(&root, &made, 4711).unwrap(), []);
        // A folder of the image's that is a link to one of the host's.
        fs::rename(root.join("etc"), folder.join("hosts-etc")).unwrap();
        fs::write(folder.join("hosts-etc/passwd"), "secret").unwrap();
        symlink(folder.join("hosts-etc"), root.join("etc")).unwrap();
        assert_eq!(add_to_image(&root, &made, 4711).unwrap(), []);
        write(&made, NOBODY).unwrap();
        assert_eq!(fs::read_to_string(made.join("group")).unwrap(), "root:x:0:\nnogroup:x:65534:\n");
        fs::remove_dir_all(folder).unwrap();
    }
}

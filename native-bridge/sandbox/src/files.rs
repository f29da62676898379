//! Files that the application shares with the bridge: at paths that its manifest names, on a file system that is else
//! read-only. The folder of such a file is a fresh one, in which the application may make more.

use crate::failure::invalid;
use headstart_base::Result;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Bytes of a path.
const MAX_PATH: usize = 255;
/// Where files may lie.
const BELOW: [&str; 3] = ["tmp", "var", "home"];

/// A file of the host's that is the application's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMount {
    /// In the sandbox.
    pub path: String,
    /// On the host.
    pub host: PathBuf,
}

/// Refuses a path at which no file can be put.
pub fn check_file_path(path: &str) -> Result<()> {
    let wrong = |why: &str| Err(invalid(format!("file {path:.300}: {why}")));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let Some(parts) = path.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>()) else {
        return wrong("an absolute path was expected");
    };
    if path.len() > MAX_PATH {
        return wrong("a path has at most 255 bytes");
    }
    if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || !part.bytes().all(plain)) {
        return wrong("its parts have letters, digits, _, - , + and dots, and none begins with a dot");
    }
    match parts.as_slice() {
        [first, _, ..] if BELOW.contains(first) => Ok(()),
        _ => wrong("it lies below /tmp, /var or /home"),
    }
}

/// What is to be mounted for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout<'a> {
    /// Folders of the sandbox's own files below which something is mounted that is not there, in the place of which comes one
    /// that nobody writes: nothing can be made where they are.
    pub(crate) anchors: BTreeSet<String>,
    /// The files' folders, which anybody may write. One comes before those in it, which it would hide.
    pub(crate) folders: BTreeSet<String>,
    pub(crate) files: &'a [FileMount],
}

impl<'a> Layout<'a> {
    /// In a sandbox whose own folders lie at `root`.
    pub(crate) fn new(files: &'a [FileMount], root: &Path) -> Result<Self> {
        let mut layout = Self { files, ..Self::default() };
        for (folder, _) in files.iter().filter_map(|file| file.path.rsplit_once('/')) {
            layout.anchors.insert(deepest(root, folder)?);
            layout.folders.insert(folder.to_owned());
        }
        // What lies in another is there with it.
        let all = layout.anchors.clone();
        layout.anchors.retain(|anchor| !all.iter().any(|other| other != anchor && is_within(anchor, other)));
        Ok(layout)
    }

    /// Makes folders and empty files over which the mounts below an anchor can be put, at `place`.
    pub(crate) fn make_points(&self, anchor: &str, place: &Path) -> io::Result<()> {
        let below = |path: &str| path.strip_prefix(anchor).map(|rest| place.join(rest.trim_start_matches('/')));
        DirBuilder::new().recursive(true).mode(0o755).create(place)?;
        for folder in self.folders.iter().filter(|folder| is_within(folder, anchor)).filter_map(|folder| below(folder))
        {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        for file in self.files.iter().filter(|file| is_within(&file.path, anchor)).filter_map(|file| below(&file.path))
        {
            File::create(file)?;
        }
        Ok(())
    }
}

/// Whether a path is another one, or lies in it.
fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The deepest folder on the way to `folder` that the sandbox has by itself: nothing can be made on its file system.
fn deepest(root: &Path, folder: &str) -> Result<String> {
    let mut there = String::new();
    for part in folder.split('/').skip(1) {
        let next = format!("{there}/{part}");
        match std::fs::symlink_metadata(root.join(next.trim_start_matches('/'))) {
            Ok(found) if found.is_dir() => there = next,
            Ok(_) => return Err(invalid(format!("a file is to lie in {folder}, and {next} is no folder there"))),
            Err(_) => break,
        }
    }
    match there.is_empty() {
        true => Err(invalid(format!("a file is to lie in {folder}, on the way to which the image has no folder"))),
        false => Ok(there),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_where_files_can_be_put() {
        for path in ["/tmp/a", "/var/cache/memcached.data", "/home/x/y_z-1+2"] {
            assert!(check_file_path(path).is_ok(), "{path}");
        }
        let long = format!("/tmp/{}", "x".repeat(255));
        for path in [
            "",
            "tmp/a",
            "/",
            "/tmp",
            "/tmp/",
            "/tmp//a",
            "/tmp/../etc/x",
            "/tmp/.x",
            "/etc/passwd",
            "/usr/x",
            "/app/x",
            "/run/headstart/app.sock",
            "/tmp/a b",
            "/tmp/a\n",
            "/tmp/\u{e9}",
            "/proc/self/x",
            &long,
        ] {
            assert!(check_file_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn what_is_not_there_has_an_anchor() {
        let root = std::env::temp_dir().join(format!("hs-files-{}", std::process::id()));
        std::fs::create_dir_all(root.join("var/cache")).unwrap();
        std::fs::create_dir_all(root.join("tmp")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("var/link")).unwrap();
        let files = ["/tmp/one", "/tmp/deep/two", "/var/cache/three", "/var/cache/four", "/var/cache/a/b/five"];
        let files = files.map(|path| FileMount { path: path.into(), host: "/dev/shm/x".into() });
        let set = |paths: &[&str]| -> BTreeSet<String> { paths.iter().map(|path| (*path).to_owned()).collect() };
        let layout = Layout::new(&files, &root).unwrap();
        assert_eq!(layout.anchors, set(&["/tmp", "/var/cache"]));
        assert_eq!(layout.folders, set(&["/tmp", "/tmp/deep", "/var/cache", "/var/cache/a/b"]));
        let points = root.join("points");
        layout.make_points("/var/cache", &points).unwrap();
        assert!(points.join("a/b/five").is_file() && points.join("three").is_file() && !points.join("one").exists());
        let at = |path: &str| [FileMount { path: path.into(), host: "/dev/shm/x".into() }];
        assert_eq!(Layout::new(&at("/var/new/folder/x"), &root).unwrap().anchors, set(&["/var"]));
        assert!(Layout::new(&at("/var/link/x"), &root).is_err(), "not through a link of the image's");
        assert!(Layout::new(&at("/home/x"), &root).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}

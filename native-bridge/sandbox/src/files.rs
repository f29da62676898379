//! Files that the application shares with the bridge: at paths that its manifest names, on a file system that is else
//! read-only. The folder of such a file is a fresh one, in which the application may make more.

use crate::failure::invalid;
use headstart_base::Result;
use std::collections::BTreeSet;
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

/// What is to be mounted for them, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A folder that anybody may write.
    Folder(String),
    File(&'a FileMount),
}

/// The folders of the files, and the files, in a sandbox whose own folders lie at `root`.
pub(crate) fn steps<'a>(files: &'a [FileMount], root: &Path) -> Result<Vec<Step<'a>>> {
    // /tmp is one already.
    let mut fresh = BTreeSet::from(["/tmp".to_owned()]);
    let mut steps = Vec::new();
    let mut folders: Vec<&str> =
        files.iter().filter_map(|file| file.path.rsplit_once('/')).map(|(folder, _)| folder).collect();
    // A folder comes before those in it, which it would hide.
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        let within = |one: &str| one == folder || folder.strip_prefix(one).is_some_and(|rest| rest.starts_with('/'));
        if !fresh.iter().any(|one| within(one)) {
            let there = deepest(root, folder)?;
            if there != folder && fresh.insert(there.clone()) {
                steps.push(Step::Folder(there));
            }
        }
        if fresh.insert(folder.to_owned()) {
            steps.push(Step::Folder(folder.to_owned()));
        }
    }
    steps.extend(files.iter().map(Step::File));
    Ok(steps)
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
    fn folders_come_first_and_once() {
        let root = std::env::temp_dir().join(format!("hs-files-{}", std::process::id()));
        std::fs::create_dir_all(root.join("var/cache")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("var/link")).unwrap();
        let files = ["/tmp/one", "/tmp/deep/two", "/var/cache/three", "/var/cache/four", "/var/cache/a/b/five"];
        let files = files.map(|path| FileMount { path: path.into(), host: "/dev/shm/x".into() });
        let folders: Vec<_> = steps(&files, &root)
            .unwrap()
            .into_iter()
            .filter_map(|step| match step {
                Step::Folder(path) => Some(path),
                Step::File(_) => None,
            })
            .collect();
        assert_eq!(folders, ["/tmp/deep", "/var/cache", "/var/cache/a/b"]);
        let at = |path: &str| [FileMount { path: path.into(), host: "/dev/shm/x".into() }];
        let new = at("/var/new/folder/x");
        assert_eq!(
            steps(&new, &root).unwrap(),
            [Step::Folder("/var".into()), Step::Folder("/var/new/folder".into()), Step::File(&new[0])]
        );
        assert!(steps(&at("/var/link/x"), &root).is_err(), "not through a link of the image's");
        assert!(steps(&at("/home/x"), &root).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}

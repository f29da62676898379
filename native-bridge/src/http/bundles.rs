//! `HEAD` and `PUT /bundles/{hex}`: an application's files, as a tar archive named by its SHA-256.
//!
//! The archive is received into a file and digested on the way; only when the digest is right is it unpacked, into a folder
//! beside its place, and that folder is renamed. So a bundle is there whole or not at all.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Body, discard, empty, is_digest};
use crate::errors;
use crate::node::Node;

/// Between two pieces of an archive.
const STALL: Duration = Duration::from_secs(30);

pub(super) fn head(node: &Arc<Node>, digest: &str) -> Result<Response<Body>> {
    let mut response = Response::new(empty());
    if !node.config.bundles_dir().join(checked(digest)?).is_dir() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

pub(super) async fn put(node: &Arc<Node>, digest: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    let digest = checked(digest)?;
    let place = node.config.bundles_dir().join(digest);
    let mut response = Response::new(empty());
    let scratch = Scratch::new(&node.config.bundles_dir())?;
    let limits = Bounds { bytes: node.config.limits.bundle_bytes, entries: node.config.limits.bundle_entries };
    let mut body = request.into_body();
    // Also where it is there already: whoever puts it must have it.
    if let Err(error) = receive(&mut body, &scratch.archive(), digest, limits.bytes).await {
        discard(&mut body, limits.bytes, STALL).await;
        return Err(error);
    }
    if place.is_dir() {
        return Ok(response);
    }
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(&scratch.archive(), &scratch.files(), limits)?;
        settle(&scratch.files(), &place)
    });
    unpacked.await.map_err(|error| Error::new(ErrorCode::Internal, format!("unpacking: {error}")))??;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn checked(digest: &str) -> Result<&str> {
    match is_digest(digest) {
        true => Ok(digest),
        false => {
            Err(Error::new(ErrorCode::InvalidArgument, "a bundle's name is its SHA-256 in 64 lower-case hex digits"))
        }
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    bytes: u64,
    entries: usize,
}

/// A folder of its own beside the bundles, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(bundles: &Path) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = bundles.join(format!(".incoming-{}-{number}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| errors::io("cannot make a folder for the bundle", &error))?;
        Ok(Self(folder))
    }

    fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }

    fn files(&self) -> PathBuf {
        self.0.join("files")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "cannot remove a bundle's scratch folder");
        }
    }
}

async fn receive(body: &mut Incoming, archive: &Path, digest: &str, limit: u64) -> Result<()> {
    let failed = |error: io::Error| errors::io("cannot store the bundle", &error);
    let mut file = tokio::fs::File::create_new(archive).await.map_err(failed)?;
    let mut sha = Sha256::new();
    let mut length = 0_u64;
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Error::new(ErrorCode::Deadline, "the bundle stopped coming"))? else {
            break;
        };
        let frame =
            frame.map_err(|error| Error::new(ErrorCode::Cancelled, format!("the bundle broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len() as u64;
        if length > limit {
            let message = format!("the bundle is larger than the node's limit of {limit} bytes");
            return Err(Error::new(ErrorCode::PayloadTooLarge, message));
        }
        sha.update(&piece);
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let found: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != digest {
        let message = format!("the bundle's SHA-256 is {found}, not {digest}");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    Ok(())
}

/// Unpacks regular files, folders and symbolic links. Whatever else there is, or would leave the folder, is refused.
fn unpack(archive: &Path, files: &Path, bounds: Bounds) -> Result<()> {
    let unreadable = |error: io::Error| Error::new(ErrorCode::InvalidArgument, format!("the archive: {error}"));
    let failed = |error: io::Error| errors::io("cannot unpack the bundle", &error);
    std::fs::DirBuilder::new().mode(0o755).create(files).map_err(failed)?;
    let mut archive = tar::Archive::new(File::open(archive).map_err(failed)?);
    let (mut bytes, mut entries) = (0_u64, 0_usize);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > bounds.entries || bytes > bounds.bytes {
            let message = format!("the bundle unpacks to more than {} files or {} bytes", bounds.entries, bounds.bytes);
            return Err(Error::new(ErrorCode::PayloadTooLarge, message));
        }
        let path = entry.path().map_err(unreadable)?.into_owned();
        let Some(inside) = inside(&path) else {
            return Err(refused(&path, "it would leave the bundle"));
        };
        if inside.as_os_str().is_empty() {
            continue;
        }
        let target = files.join(&inside);
        folder_for(files, &inside)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => match std::fs::DirBuilder::new().mode(0o755).create(&target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_real_folder(&target) => {}
                made => made.map_err(failed)?,
            },
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                let mut file = File::create_new(&target).map_err(|error| taken(&path, error))?;
                let size = entry.size();
                let copied = io::copy(&mut entry.by_ref().take(size), &mut file).map_err(failed)?;
                if copied != size {
                    return Err(refused(&path, "it is cut short"));
                }
                let mode = if executable { 0o755 } else { 0o644 };
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
            }
            tar::EntryType::Symlink => {
                let link = entry.link_name().map_err(unreadable)?;
                let link = link.ok_or_else(|| refused(&path, "a link without a target"))?;
                if !stays_inside(&inside, &link) {
                    return Err(refused(&path, "a link that leaves the bundle"));
                }
                std::os::unix::fs::symlink(&link, &target).map_err(|error| taken(&path, error))?;
            }
            // Names and times of the entries that follow; the library has applied them.
            tar::EntryType::XGlobalHeader | tar::EntryType::XHeader => {}
            _ => return Err(refused(&path, "neither a file nor a folder nor a symbolic link")),
        }
    }
    Ok(())
}

/// The path without "." parts; none when it is absolute or goes up.
fn inside(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Whether a link at `at` to `target` points into the bundle, by its text: links to links are followed by the sandbox only.
fn stays_inside(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count() as i64 - 1;
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Makes the folders above a file. Each must be a real folder: an archive may not write through a link of its own.
fn folder_for(files: &Path, inside: &Path) -> Result<()> {
    let mut folder = files.to_owned();
    for part in inside.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        if is_real_folder(&folder) {
            continue;
        }
        let made = std::fs::DirBuilder::new().mode(0o755).create(&folder);
        made.map_err(|error| taken(inside, error))?;
    }
    Ok(())
}

fn is_real_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn taken(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => refused(path, "it is there twice"),
        _ => errors::io("cannot unpack the bundle", &error),
    }
}

fn refused(path: &Path, why: &str) -> Error {
    let path: String = path.display().to_string().chars().take(200).collect();
    Error::new(ErrorCode::InvalidArgument, format!("{path:?} in the archive: {why}"))
}

/// Puts the unpacked folder in its place; another may have been as quick.
fn settle(files: &Path, place: &Path) -> Result<()> {
    match std::fs::rename(files, place) {
        Ok(()) => Ok(()),
        Err(_) if place.is_dir() => Ok(()),
        Err(error) => Err(errors::io("cannot put the bundle in its place", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 10 };

    fn tried(build: impl FnOnce(&mut tar::Builder<File>)) -> (tempfile::TempDir, Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        build(&mut builder);
        builder.into_inner().unwrap();
        let outcome = unpack(&archive, &folder.path().join("files"), BOUNDS);
        (folder, outcome)
    }

    fn file(builder: &mut tar::Builder<File>, path: &str, mode: u32, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }

    fn link(builder: &mut tar::Builder<File>, kind: tar::EntryType, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }

    #[test]
    fn unpacks_files_folders_and_links() {
        let (folder, outcome) = tried(|builder| {
            file(builder, "./a/b.py", 0o600, b"print()");
            file(builder, "run", 0o4755, b"#!");
            link(builder, tar::EntryType::Symlink, "a/up", "../run");
        });
        outcome.unwrap();
        let files = folder.path().join("files");
        assert_eq!(std::fs::read(files.join("a/b.py")).unwrap(), b"print()");
        assert_eq!(std::fs::metadata(files.join("run")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::metadata(files.join("a/b.py")).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read(files.join("a/up")).unwrap(), b"#!");
    }

    #[test]
    fn refuses_what_leaves_the_folder() {
        type Build = fn(&mut tar::Builder<File>);
        let bad: [Build; 8] = [
            |builder| file(builder, "../x", 0o644, b""),
            |builder| file(builder, "/x", 0o644, b""),
            |builder| file(builder, "a/../../x", 0o644, b""),
            |builder| link(builder, tar::EntryType::Symlink, "a", "/etc"),
            |builder| link(builder, tar::EntryType::Symlink, "a", "b/../../c"),
            |builder| link(builder, tar::EntryType::Link, "a", "b"),
            |builder| link(builder, tar::EntryType::Char, "a", "b"),
            |builder| {
                link(builder, tar::EntryType::Symlink, "a", "b");
                file(builder, "a/x", 0o644, b"");
            },
        ];
        for (number, build) in bad.into_iter().enumerate() {
            let (_folder, outcome) = tried(build);
            assert_eq!(outcome.unwrap_err().code, ErrorCode::InvalidArgument, "case {number}");
        }
    }

    #[test]
    fn is_bounded() {
        let (_folder, outcome) = tried(|builder| (0..11).for_each(|n| file(builder, &format!("f{n}"), 0o644, b"")));
        assert_eq!(outcome.unwrap_err().code, ErrorCode::PayloadTooLarge);
        let (_folder, outcome) = tried(|builder| file(builder, "f", 0o644, &vec![0; 2 << 20]));
        assert_eq!(outcome.unwrap_err().code, ErrorCode::PayloadTooLarge);
    }
}

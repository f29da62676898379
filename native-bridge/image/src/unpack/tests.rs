//! Hostile archives, each into a folder and into a file that is mounted.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use headstart_base::ErrorCode;
use tar::{Builder, EntryType, Header};

use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use super::*;
use crate::erofs::Packed;

/// An archive's entries: name, kind, link's target or content, mode.
fn archive(entries: &[(&str, EntryType, &str, u32)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, text, mode) in entries {
        let mut header = Header::new_gnu();
        let content = if kind.is_file() { text.as_bytes() } else { b"" };
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1);
        let raw = header.as_mut_bytes();
        raw[..name.len()].copy_from_slice(name.as_bytes());
        if !kind.is_file() {
            raw[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn bounds(entries: u64) -> Bounds {
    Bounds { entries, ..Bounds::default() }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum As {
    Folder,
    File,
}

/// Where a layer's files are; what is beside it must stay as it is.
struct Unpacked {
    folder: tempfile::TempDir,
    kind: As,
}

impl Unpacked {
    fn layer(&self) -> PathBuf {
        self.folder.path().join("layer")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if self.kind == As::File {
            let _ = unmount(self.layer(), UnmountFlags::DETACH);
        }
    }
}

fn unpack_as(kind: As, archive: &[u8], layer: &Path, bounds: Bounds) -> Result<u64> {
    if kind == As::Folder {
        return unpack(archive, &mut Folder::open(layer).unwrap(), bounds);
    }
    let beside = tempfile::tempdir().unwrap();
    let file = beside.path().join("layer");
    let mut files = Packed::new(&file).unwrap();
    let bytes = unpack(archive, &mut files, bounds)?;
    files.finish().unwrap();
    let mounted = crate::lower::open(&file).unwrap();
    let (here, flags) = (rustix::fs::CWD, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    move_mount(mounted, "", here, layer, flags).unwrap();
    Ok(bytes)
}

fn unpacked(kind: As, entries: &[(&str, EntryType, &str, u32)]) -> (Unpacked, Result<u64>) {
    let unpacked = Unpacked { folder: tempfile::tempdir().unwrap(), kind };
    fs::create_dir(unpacked.layer()).unwrap();
    let outcome = unpack_as(kind, &archive(entries), &unpacked.layer(), bounds(1000));
    (unpacked, outcome)
}

const KINDS: [As; 2] = [As::Folder, As::File];
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;
const DIR: EntryType = EntryType::Directory;

#[test]
fn files_are_as_an_application_may_have_them() {
    for kind in KINDS {
        let (folder, outcome) = unpacked(
            kind,
            &[
                ("./usr/bin/su", FILE, "program", 0o4755),
                ("etc/shadow", FILE, "secret", 0o600),
                ("tmp", DIR, "", 0o1777),
                ("bin", LINK, "usr/bin", 0o777),
                ("bin/sh", HARD, "usr/bin/su", 0o755),
                ("dev/sda", EntryType::Block, "", 0o666),
            ],
        );
        assert_eq!(outcome, Ok(12 * 4096));
        let layer = folder.layer();
        let mode = |name: &str| fs::symlink_metadata(layer.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode("usr/bin/su"), mode("etc/shadow"), mode("tmp")], [0o755, 0o644, 0o755]);
        assert_eq!(fs::metadata(layer.join("usr/bin/sh")).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(layer.join("etc/shadow")).unwrap().mtime(), 1);
        assert!(!layer.join("dev/sda").exists());
    }
}

#[test]
fn nothing_gets_out_of_the_layer() {
    for kind in KINDS {
        for entries in [
            &[("../escape", FILE, "x", 0o644)][..],
            &[("a/../../escape", FILE, "x", 0o644)],
            &[("up", LINK, "../..", 0o777), ("up/../escape", FILE, "x", 0o644)],
            &[("passwd", HARD, "../../etc/passwd", 0o644)],
            &[("out", LINK, "/etc", 0o777), ("passwd", HARD, "out/passwd", 0o644)],
        ] {
            let (folder, outcome) = unpacked(kind, entries);
            assert_eq!(outcome.unwrap_err().code, ErrorCode::ImageInvalid);
            assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 1);
        }
        // These lead somewhere inside, as they do in the sandbox.
        let (folder, outcome) = unpacked(
            kind,
            &[
                ("etc", DIR, "", 0o755),
                ("abs", LINK, "/etc", 0o777),
                ("up", LINK, "../../../../etc", 0o777),
                ("abs/one", FILE, "x", 0o644),
                ("up/two", FILE, "x", 0o644),
                ("/three", FILE, "x", 0o644),
            ],
        );
        outcome.unwrap();
        for name in ["etc/one", "etc/two", "three"] {
            assert!(folder.layer().join(name).is_file(), "{name}");
        }
    }
}

#[test]
fn a_file_is_never_written_through_a_link() {
    for kind in KINDS {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let target = outside.path().to_str().unwrap();
        let (folder, outcome) = unpacked(
            kind,
            &[
                ("a", LINK, target, 0o777),
                ("a", FILE, "mine", 0o644),
                ("b", FILE, "one", 0o644),
                ("c", HARD, "b", 0o644),
                ("b", FILE, "two", 0o644),
            ],
        );
        outcome.unwrap();
        let read = |name: &str| fs::read_to_string(folder.layer().join(name)).unwrap();
        assert_eq!([read("a"), read("b"), read("c")], ["mine", "two", "one"]);
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
    }
}

#[test]
fn whiteouts_become_the_overlays() {
    for kind in KINDS {
        let (folder, outcome) = unpacked(
            kind,
            &[
                ("etc/.wh.passwd", FILE, "", 0o644),
                ("var/.wh..wh..opq", FILE, "", 0o644),
                (".wh..wh.aufs", FILE, "", 0o644),
            ],
        );
        outcome.unwrap();
        let layer = folder.layer();
        let gone = fs::symlink_metadata(layer.join("etc/passwd")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert_eq!(fs::read_dir(layer.join("var")).unwrap().count(), 0);
        for name in [".wh.", ".wh...", "a/.wh.."] {
            let (_, outcome) = unpacked(kind, &[(name, FILE, "", 0o644)]);
            assert_eq!(outcome.unwrap_err().code, ErrorCode::ImageInvalid, "{name}");
        }
    }
}

#[test]
fn what_is_too_much_or_broken_is_refused() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let entries: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
        let many: Vec<_> = entries.iter().map(|name| (name.as_str(), FILE, "", 0o644)).collect();
        let refused = |bytes: &[u8], most| unpack_as(kind, bytes, folder.path(), bounds(most)).unwrap_err();
        assert!(refused(&archive(&many), 19).message.contains("more than 19 entries"));
        let whole = archive(&[("a", FILE, "text", 0o644)]);
        assert_eq!(refused(&whole[..514], 9).code, ErrorCode::ImageInvalid);
        assert_eq!(refused(&[7; 1024], 9).code, ErrorCode::ImageInvalid);

        // A name of 2 MiB, said to be one.
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(2 << 20);
        header.set_cksum();
        let mut builder = Builder::new(Vec::new());
        builder.append(&header, &vec![b'a'; 2 << 20][..]).unwrap();
        assert!(refused(&builder.into_inner().unwrap(), 9).message.contains("1 MiB"));
    }
}

#[test]
fn what_is_empty_counts_too() {
    for kind in KINDS {
        let refused = |archive: &[u8], bounds| {
            let folder = tempfile::tempdir().unwrap();
            unpack_as(kind, archive, folder.path(), bounds).unwrap_err().message
        };
        let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
        let small = Bounds { bytes: 32 * 4096, ..Bounds::default() };
        for (kind, target) in [(FILE, ""), (DIR, ""), (LINK, "x")] {
            let entries: Vec<_> = names.iter().map(|name| (name.as_str(), kind, target, 0o644)).collect();
            assert_eq!(refused(&archive(&entries), small), "a layer takes more than 131072 bytes of the disk");
        }
        let deep = format!("{}f", "a/".repeat(40));
        assert_eq!(refused(&archive(&[(&deep, FILE, "", 0o644)]), bounds(39)), "a layer has more than 39 entries");
    }
}

/// All that a reader sees of a layer's files, by their names: kind, permissions, bytes, links, time, content or target.
fn seen(layer: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let mut folders = vec![layer.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let kind = found.file_type();
            let content = match () {
                () if kind.is_file() => format!("{} {:?}", found.mtime(), fs::read(&path).unwrap()),
                () if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
                () => String::new(),
            };
            let size = if kind.is_dir() { 0 } else { found.size() };
            let name = path.strip_prefix(layer).unwrap().display().to_string();
            let (mode, links, owner) = (found.mode(), found.nlink(), (found.uid(), found.gid()));
            seen.push(format!("{name}: {mode:o} {owner:?} {links} {size} {:x} {content}", found.rdev()));
            if kind.is_dir() {
                let mut value = [0; 8];
                let opaque = rustix::fs::getxattr(&path, c"trusted.overlay.opaque", &mut value).unwrap_or_default();
                seen.push(format!("{name}: opaque {:?}", &value[..opaque]));
                folders.push(path);
            }
        }
    }
    seen.sort();
    seen
}

#[test]
fn a_file_has_what_a_folder_has() {
    // Folders of many blocks, files of none, of one and of several, names on the edges of their order.
    let lengths = [0, 1, 4095, 4096, 4097, 9000, 300_000];
    let contents: Vec<String> =
        lengths.iter().map(|length| "0123456789".repeat(30_000)[..*length].to_owned()).collect();
    let names: Vec<String> = (0..400).map(|number| format!("many/{number}-{}", "n".repeat(number % 80))).collect();
    let long = format!("{}/f", "l".repeat(90));
    let mut entries: Vec<_> = names.iter().map(|name| (name.as_str(), FILE, name.as_str(), 0o644)).collect();
    let sized: Vec<(String, &str)> =
        contents.iter().map(|content| (format!("sized/{}", content.len()), content.as_str())).collect();
    entries.extend(sized.iter().map(|(name, content)| (name.as_str(), FILE, *content, 0o755)));
    entries.extend([
        ("-", FILE, "before the dots", 0o644),
        ("~", FILE, "after", 0o644),
        ("..x", FILE, "between", 0o644),
        ("\u{fc}", FILE, "not ASCII", 0o644),
        (&long, FILE, "x", 0o644),
        ("hard", HARD, "sized/300000", 0o644),
        ("again", HARD, "hard", 0o644),
        ("link", LINK, "sized/1", 0o777),
        ("hardlink", HARD, "link", 0o777),
        ("many/.wh..wh..opq", FILE, "", 0o644),
        ("many/deeper/.wh.gone", FILE, "", 0o644),
        ("many/deeper/.wh..wh..opq", FILE, "", 0o644),
        ("sized/1", FILE, "replaced", 0o644),
        ("sized/4096", DIR, "", 0o755),
        ("sized/4096/below", FILE, "a folder now", 0o644),
    ]);
    let [folder, file] = KINDS.map(|kind| {
        let (unpacked, outcome) = unpacked(kind, &entries);
        (outcome.unwrap(), seen(&unpacked.layer()))
    });
    assert!(folder.1.iter().any(|line| line == "many/deeper: opaque [121]"), "{:?}", folder.1);
    assert_eq!(folder, file);
}

#[test]
fn what_cannot_be_named_is_refused() {
    for kind in KINDS {
        let loops = [("a", LINK, "b", 0o777), ("b", LINK, "a", 0o777), ("a/c", FILE, "", 0o644)];
        let file = [("a", FILE, "", 0o644), ("a/b", FILE, "", 0o644)];
        let nothing = [("a", LINK, "b", 0o777), ("a/c", FILE, "", 0o644)];
        let own = [("a", FILE, "", 0o644), ("a", HARD, "a", 0o644)];
        let folder = [("a", DIR, "", 0o755), ("b", HARD, "a", 0o644)];
        let over = [("a", DIR, "", 0o755), ("a", FILE, "", 0o644)];
        let empty = [("a", LINK, "", 0o777)];
        for entries in [&loops[..], &file, &nothing, &own, &folder, &over, &empty] {
            let (_, outcome) = unpacked(kind, entries);
            assert_eq!(outcome.map_err(|error| error.code), Err(ErrorCode::ImageInvalid), "{kind:?} {entries:?}");
        }
    }
}

//! Hostile archives.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use headstart_base::ErrorCode;
use tar::{Builder, EntryType, Header};

use super::*;

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

fn unpacked(entries: &[(&str, EntryType, &str, u32)]) -> (tempfile::TempDir, Result<u64>) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("layer")).unwrap();
    let outcome = unpack(&archive(entries)[..], &folder.path().join("layer"), bounds(1000));
    (folder, outcome)
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;
const DIR: EntryType = EntryType::Directory;

#[test]
fn files_are_as_an_application_may_have_them() {
    let (folder, outcome) = unpacked(&[
        ("./usr/bin/su", FILE, "program", 0o4755),
        ("etc/shadow", FILE, "secret", 0o600),
        ("tmp", DIR, "", 0o1777),
        ("bin", LINK, "usr/bin", 0o777),
        ("bin/sh", HARD, "usr/bin/su", 0o755),
        ("dev/sda", EntryType::Block, "", 0o666),
    ]);
    assert_eq!(outcome, Ok(12 * 4096));
    let layer = folder.path().join("layer");
    let mode = |name: &str| fs::symlink_metadata(layer.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("usr/bin/su"), mode("etc/shadow"), mode("tmp")], [0o755, 0o644, 0o755]);
    assert_eq!(fs::metadata(layer.join("usr/bin/sh")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(layer.join("etc/shadow")).unwrap().mtime(), 1);
    assert!(!layer.join("dev/sda").exists());
}

#[test]
fn nothing_gets_out_of_the_layer() {
    for entries in [
        &[("../escape", FILE, "x", 0o644)][..],
        &[("a/../../escape", FILE, "x", 0o644)],
        &[("up", LINK, "../..", 0o777), ("up/../escape", FILE, "x", 0o644)],
        &[("passwd", HARD, "../../etc/passwd", 0o644)],
        &[("out", LINK, "/etc", 0o777), ("passwd", HARD, "out/passwd", 0o644)],
    ] {
        let (folder, outcome) = unpacked(entries);
        assert_eq!(outcome.unwrap_err().code, ErrorCode::ImageInvalid);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    // These lead somewhere inside, as they do in the sandbox.
    let (folder, outcome) = unpacked(&[
        ("etc", DIR, "", 0o755),
        ("abs", LINK, "/etc", 0o777),
        ("up", LINK, "../../../../etc", 0o777),
        ("abs/one", FILE, "x", 0o644),
        ("up/two", FILE, "x", 0o644),
        ("/three", FILE, "x", 0o644),
    ]);
    outcome.unwrap();
    for name in ["etc/one", "etc/two", "three"] {
        assert!(folder.path().join("layer").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_file_is_never_written_through_a_link() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let target = outside.path().to_str().unwrap();
    let (folder, outcome) = unpacked(&[
        ("a", LINK, target, 0o777),
        ("a", FILE, "mine", 0o644),
        ("b", FILE, "one", 0o644),
        ("c", HARD, "b", 0o644),
        ("b", FILE, "two", 0o644),
    ]);
    outcome.unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join("layer").join(name)).unwrap();
    assert_eq!([read("a"), read("b"), read("c")], ["mine", "two", "one"]);
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
}

#[test]
fn whiteouts_become_the_overlays() {
    let (folder, outcome) = unpacked(&[
        ("etc/.wh.passwd", FILE, "", 0o644),
        ("var/.wh..wh..opq", FILE, "", 0o644),
        (".wh..wh.aufs", FILE, "", 0o644),
    ]);
    outcome.unwrap();
    let layer = folder.path().join("layer");
    let gone = fs::symlink_metadata(layer.join("etc/passwd")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::read_dir(layer.join("var")).unwrap().count(), 0);
    for name in [".wh.", ".wh...", "a/.wh.."] {
        let (_, outcome) = unpacked(&[(name, FILE, "", 0o644)]);
        assert_eq!(outcome.unwrap_err().code, ErrorCode::ImageInvalid, "{name}");
    }
}

#[test]
fn what_is_too_much_or_broken_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let entries: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    let many: Vec<_> = entries.iter().map(|name| (name.as_str(), FILE, "", 0o644)).collect();
    let refused = |bytes: &[u8], most| unpack(bytes, folder.path(), bounds(most)).unwrap_err();
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

#[test]
fn what_is_empty_counts_too() {
    let refused = |archive: &[u8], bounds| {
        let folder = tempfile::tempdir().unwrap();
        unpack(archive, folder.path(), bounds).unwrap_err().message
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

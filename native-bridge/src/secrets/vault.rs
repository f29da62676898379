//! Secrets on the disk: `STATE/secrets/<tenant>/<name>`, one file each, sealed with the node's key.
//!
//! A file is `HSS1`, a random nonce of 12 bytes, and the value under ChaCha20-Poly1305 with its tag. Tenant and name are
//! authenticated with it, so a file that was put in another's place does not open.
//!
//! The key is replaced in three steps: the next one is written beside it (`node.key.next`), every file is sealed anew with
//! that, and it is renamed to the key's place. While both are there each file opens with one of them, so whatever ends the
//! bridge in between, the next life reads all and goes on.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use headstart_base::{Error, ErrorCode, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::key::{self, Key};
use crate::errors::io;
use crate::sync::lock;

const MAGIC: &[u8; 4] = b"HSS1";
/// Of one tenant.
const MOST_SECRETS: usize = 256;
/// Larger ones are no secrets of ours.
const MOST_FILE: u64 = 128 << 10;

pub(super) type Value = Zeroizing<Vec<u8>>;

/// What came of a key's rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Secrets that are sealed with the new key now.
    pub(crate) sealed: usize,
    /// Files that opened with no key before, either, and are as they were.
    pub(crate) unreadable: usize,
}

/// No `Debug`: it has the key. Names are checked by whoever calls: they become parts of paths.
pub(super) struct Vault {
    folder: PathBuf,
    /// `STATE/node.key`, and its successor while that takes its place.
    key: PathBuf,
    next: PathBuf,
    /// The first one seals; each file opens with one of them.
    keys: Mutex<Arc<[LessSafeKey]>>,
    /// Changes of files are made one at a time, by threads that may wait for the disk: a value that is put must not be taken back
    /// by one that is sealed anew.
    changing: Mutex<()>,
}

impl Vault {
    /// Opens the vault, or makes one with a new key where there is neither.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let folder = state.join("secrets");
        let cannot = |error| io(&format!("cannot make {}", folder.display()), &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cannot)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(cannot)?;
        let (path, next) = (state.join("node.key"), state.join("node.key.next"));
        let key = match key::read(&path)? {
            Some(key) => key,
            None if names(&folder)?.is_empty() => key::make(&path)?,
            None => {
                let message = format!("{} is gone, and {} was sealed with it", path.display(), folder.display());
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        };
        let successor = key::read(&next)?;
        let vault =
            Self { folder, key: path, next, keys: Mutex::new([opener(&key)?].into()), changing: Mutex::default() };
        if let Some(successor) = successor
            && let Err(error) = vault.take_over(&successor)
        {
            // All can be read, with one key or the other.
            tracing::error!(%error, "the node's key was not replaced to the end");
        }
        Ok(vault)
    }

    /// Replaces the node's key by a new one. All is on the disk when this returns; what went wrong on the way leaves all readable,
    /// and may be tried again.
    pub(super) fn rotate(&self) -> Result<Rotated> {
        let _changing = lock(&self.changing);
        let successor = match key::read(&self.next)? {
            Some(begun) => begun,
            None => key::make(&self.next)?,
        };
        self.take_over(&successor)
    }

    /// Seals all with a key that lies beside the present one, and puts it in that one's place.
    fn take_over(&self, successor: &Key) -> Result<Rotated> {
        let present = key::read(&self.key)?;
        let present = present.ok_or_else(|| Error::new(ErrorCode::Internal, "the node's key is gone"))?;
        *lock(&self.keys) = [opener(successor)?, opener(&present)?].into();
        let mut rotated = Rotated::default();
        for tenant in names(&self.folder)? {
            for name in names(&self.folder.join(&tenant))? {
                match self.get(&tenant, &name) {
                    Ok(Some(value)) => {
                        self.write(&tenant, &name, &value)?;
                        rotated.sealed += 1;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a secret is not sealed anew");
                        rotated.unreadable += 1;
                    }
                }
            }
        }
        let cannot = |error| io("cannot put the node's key in its place", &error);
        fs::rename(&self.next, &self.key).map_err(cannot)?;
        self.key.parent().map_or(Ok(()), key::sync_folder)?;
        *lock(&self.keys) = [opener(successor)?].into();
        Ok(rotated)
    }

    /// Keeps a value. It is on the disk when this returns.
    pub(super) fn put(&self, tenant: &str, name: &str, value: &[u8]) -> Result<()> {
        let _changing = lock(&self.changing);
        let folder = self.folder.join(tenant);
        let cannot = |error| io(&format!("cannot make {}", folder.display()), &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cannot)?;
        let names = names(&folder)?;
        if names.len() >= MOST_SECRETS && !names.iter().any(|known| known == name) {
            return Err(Error::new(ErrorCode::TooMany, format!("a tenant has at most {MOST_SECRETS} secrets")));
        }
        self.write(tenant, name, value)?;
        key::sync_folder(&self.folder)
    }

    /// Seals a value into its file.
    fn write(&self, tenant: &str, name: &str, value: &[u8]) -> Result<()> {
        let keys = Arc::clone(&lock(&self.keys));
        let key = keys.first().ok_or_else(|| Error::new(ErrorCode::Internal, "there is no key"))?;
        let mut nonce = [0; NONCE_LEN];
        key::random(&mut nonce)?;
        let mut sealed = Zeroizing::new(value.to_vec());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place(tenant, name)), &mut *sealed)
            .map_err(|_| Error::new(ErrorCode::Internal, "a secret cannot be sealed"))?;
        let file = [MAGIC.as_slice(), &nonce, &sealed].concat();
        key::write_whole(&self.folder.join(tenant).join(name), &file)
    }

    /// The value; none where there is no such secret. `unknownSecret` for a file that this node's key does not open.
    pub(super) fn get(&self, tenant: &str, name: &str) -> Result<Option<Value>> {
        let path = self.folder.join(tenant).join(name);
        // Once more for a file that was sealed with the key before when it was read, and that key went while this looked for it.
        for _ in 0..2 {
            match fs::metadata(&path) {
                Ok(about) if about.len() <= MOST_FILE => {}
                Ok(_) => return Err(unreadable(tenant, name)),
                Err(_) => return Ok(None),
            }
            let file = fs::read(&path).map_err(|_| unreadable(tenant, name))?;
            let keys = Arc::clone(&lock(&self.keys));
            if let Some(value) = keys.iter().find_map(|key| unseal(key, tenant, name, &file)) {
                return Ok(Some(value));
            }
        }
        Err(unreadable(tenant, name))
    }

    /// Whether there was such a secret.
    pub(super) fn remove(&self, tenant: &str, name: &str) -> Result<bool> {
        let _changing = lock(&self.changing);
        let folder = self.folder.join(tenant);
        match fs::remove_file(folder.join(name)) {
            Ok(()) => key::sync_folder(&folder).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io(&format!("cannot remove the secret {tenant}/{name}"), &error)),
        }
    }

    /// Removes all of a tenant's.
    pub(super) fn remove_all(&self, tenant: &str) -> Result<()> {
        let _changing = lock(&self.changing);
        match fs::remove_dir_all(self.folder.join(tenant)) {
            Ok(()) => key::sync_folder(&self.folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io(&format!("cannot remove the secrets of {tenant}"), &error)),
        }
    }

    /// The names of a tenant's secrets, sorted.
    pub(super) fn list(&self, tenant: &str) -> Result<Vec<String>> {
        names(&self.folder.join(tenant))
    }
}

fn opener(key: &Key) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice());
    key.map(LessSafeKey::new).map_err(|_| Error::new(ErrorCode::Internal, "the node's key is of no use"))
}

/// None for what was not sealed with this key, at this place.
fn unseal(key: &LessSafeKey, tenant: &str, name: &str, file: &[u8]) -> Option<Value> {
    let (nonce, sealed) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut value = Zeroizing::new(sealed.to_vec());
    let length = key.open_in_place(nonce, Aad::from(place(tenant, name)), &mut value).ok()?.len();
    value.truncate(length);
    Some(value)
}

/// What a value is authenticated with.
fn place(tenant: &str, name: &str) -> Vec<u8> {
    format!("headstart secret\0{tenant}\0{name}").into_bytes()
}

fn unreadable(tenant: &str, name: &str) -> Error {
    let message = format!("the secret {tenant}/{name} does not open with this node's key: set it again");
    Error::new(ErrorCode::UnknownSecret, message)
}

/// What is in a folder, without what is half written; nothing where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let cannot = |error| io(&format!("cannot read {}", folder.display()), &error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_and_has_it_nowhere_in_the_clear() {
        let state = tempfile::tempdir().unwrap();
        let vault = Vault::open(state.path()).unwrap();
        vault.put("a", "s", b"hush hush").unwrap();
        vault.put("a", "s", b"hush again").unwrap();
        vault.put("b", "s", b"b's").unwrap();
        let again = Vault::open(state.path()).unwrap();
        assert_eq!(again.get("a", "s").unwrap().unwrap().as_slice(), b"hush again");
        assert_eq!(again.get("b", "s").unwrap().unwrap().as_slice(), b"b's");
        assert!(again.get("b", "t").unwrap().is_none());
        assert_eq!(again.list("a").unwrap(), ["s"]);
        let file = fs::read(state.path().join("secrets/a/s")).unwrap();
        assert!(!file.windows(4).any(|bytes| bytes == b"hush"));
        assert_eq!(fs::metadata(state.path().join("secrets/a/s")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(again.remove("a", "s").unwrap() && !again.remove("a", "s").unwrap());
        again.remove_all("b").unwrap();
        again.remove_all("nobody").unwrap();
        assert!(again.list("b").unwrap().is_empty());
    }

    #[test]
    fn a_changed_file_and_one_in_another_place_do_not_open() {
        let state = tempfile::tempdir().unwrap();
        let vault = Vault::open(state.path()).unwrap();
        vault.put("a", "s", b"hush").unwrap();
        vault.put("b", "s", b"other").unwrap();
        let (of_a, of_b) = (state.path().join("secrets/a/s"), state.path().join("secrets/b/s"));
        let file = fs::read(&of_a).unwrap();
        fs::write(&of_b, &file).unwrap();
        assert_eq!(vault.get("b", "s").unwrap_err().code, ErrorCode::UnknownSecret);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            fs::write(&of_a, &changed).unwrap();
            assert!(vault.get("a", "s").is_err(), "byte {at}");
            fs::write(&of_a, &file[..at]).unwrap();
            assert!(vault.get("a", "s").is_err(), "cut at {at}");
        }
    }

    /// Ten secrets, and what they are.
    fn filled(state: &Path) -> Vec<(String, String, Vec<u8>)> {
        let vault = Vault::open(state).unwrap();
        let all = (0..10).map(|n| (format!("t{}", n % 3), format!("s{n}"), format!("hush {n}").into_bytes()));
        let all: Vec<_> = all.collect();
        for (tenant, name, value) in &all {
            vault.put(tenant, name, value).unwrap();
        }
        all
    }

    fn opens(vault: &Vault, all: &[(String, String, Vec<u8>)]) {
        for (tenant, name, value) in all {
            assert_eq!(vault.get(tenant, name).unwrap().unwrap().as_slice(), value.as_slice());
        }
    }

    #[test]
    fn a_key_that_is_replaced_opens_nothing_any_more_and_its_successor_all() {
        let state = tempfile::tempdir().unwrap();
        let all = filled(state.path());
        let (key, backup) = (state.path().join("node.key"), fs::read(state.path().join("node.key")).unwrap());
        fs::write(state.path().join("secrets/t0/damaged"), b"HSS1 and what does not open").unwrap();
        let vault = Vault::open(state.path()).unwrap();
        assert_eq!(vault.rotate().unwrap(), Rotated { sealed: 10, unreadable: 1 });
        assert!(!state.path().join("node.key.next").exists());
        assert_ne!(fs::read(&key).unwrap(), backup);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        opens(&vault, &all);
        vault.put("t0", "after", b"it").unwrap();
        opens(&Vault::open(state.path()).unwrap(), &all);
        assert_eq!(vault.rotate().unwrap(), Rotated { sealed: 11, unreadable: 1 });
        opens(&vault, &all);
        key::write_whole(&key, &backup).unwrap();
        assert!(Vault::open(state.path()).unwrap().get("t0", "s0").is_err());
    }

    /// As a life leaves it that was killed after so many files.
    #[test]
    fn a_rotation_that_broke_off_anywhere_leaves_all_readable_and_is_brought_to_its_end() {
        for sealed in 0..=10 {
            let state = tempfile::tempdir().unwrap();
            let all = filled(state.path());
            let vault = Vault::open(state.path()).unwrap();
            let next = state.path().join("node.key.next");
            let successor = key::make(&next).unwrap();
            let present = key::read(&state.path().join("node.key")).unwrap().unwrap();
            *lock(&vault.keys) = [opener(&successor).unwrap(), opener(&present).unwrap()].into();
            for (tenant, name, value) in all.iter().take(sealed) {
                vault.write(tenant, name, value).unwrap();
            }
            opens(&vault, &all);
            drop(vault);
            let again = Vault::open(state.path()).unwrap();
            opens(&again, &all);
            assert!(!next.exists());
            assert_eq!(*key::read(&state.path().join("node.key")).unwrap().unwrap(), *successor);
        }
    }

    #[test]
    fn what_is_put_while_the_key_is_replaced_stays() {
        let state = tempfile::tempdir().unwrap();
        let all = filled(state.path());
        let vault = Arc::new(Vault::open(state.path()).unwrap());
        let putting = {
            let vault = Arc::clone(&vault);
            std::thread::spawn(move || (0..200_u32).for_each(|n| vault.put("t0", "s0", &n.to_le_bytes()).unwrap()))
        };
        let reading = {
            let (vault, all) = (Arc::clone(&vault), all[1..].to_vec());
            std::thread::spawn(move || (0..200).for_each(|_| opens(&vault, &all)))
        };
        for _ in 0..5 {
            assert_eq!(vault.rotate().unwrap().unreadable, 0);
        }
        putting.join().unwrap();
        reading.join().unwrap();
        assert_eq!(vault.get("t0", "s0").unwrap().unwrap().as_slice(), &199_u32.to_le_bytes());
        opens(&Vault::open(state.path()).unwrap(), &all[1..]);
    }

    #[test]
    fn a_lost_key_is_not_replaced_in_silence() {
        let state = tempfile::tempdir().unwrap();
        Vault::open(state.path()).unwrap().put("a", "s", b"hush").unwrap();
        fs::remove_file(state.path().join("node.key")).unwrap();
        assert!(Vault::open(state.path()).err().unwrap().message.contains("node.key is gone"));
    }
}

//! Secrets on the disk: `STATE/secrets/<tenant>/<name>`, one file each, sealed with the node's key.
//!
//! A file is `HSS1`, a random nonce of 12 bytes, and the value under ChaCha20-Poly1305 with its tag. Tenant and name are
//! authenticated with it, so a file that was put in another's place does not open.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use headstart_base::{Error, ErrorCode, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::key;
use crate::errors::io;

const MAGIC: &[u8; 4] = b"HSS1";
/// Of one tenant.
const MOST_SECRETS: usize = 256;
/// Larger ones are no secrets of ours.
const MOST_FILE: u64 = 128 << 10;

pub(super) type Value = Zeroizing<Vec<u8>>;

/// No `Debug`: it has the key. Names are checked by whoever calls: they become parts of paths.
pub(super) struct Vault {
    folder: PathBuf,
    key: LessSafeKey,
}

impl Vault {
    /// Opens the vault, or makes one with a new key where there is neither.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let folder = state.join("secrets");
        let cannot = |error| io(&format!("cannot make {}", folder.display()), &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cannot)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(cannot)?;
        let path = state.join("node.key");
        let key = match key::read(&path)? {
            Some(key) => key,
            None if names(&folder)?.is_empty() => key::make(&path)?,
            None => {
                let message = format!("{} is gone, and {} was sealed with it", path.display(), folder.display());
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice())
            .map_err(|_| Error::new(ErrorCode::Internal, "the node's key is of no use"))?;
        Ok(Self { folder, key: LessSafeKey::new(key) })
    }

    /// Keeps a value. It is on the disk when this returns.
    pub(super) fn put(&self, tenant: &str, name: &str, value: &[u8]) -> Result<()> {
        let folder = self.folder.join(tenant);
        let cannot = |error| io(&format!("cannot make {}", folder.display()), &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cannot)?;
        let names = names(&folder)?;
        if names.len() >= MOST_SECRETS && !names.iter().any(|known| known == name) {
            return Err(Error::new(ErrorCode::TooMany, format!("a tenant has at most {MOST_SECRETS} secrets")));
        }
        let mut nonce = [0; NONCE_LEN];
        key::random(&mut nonce)?;
        let mut sealed = Zeroizing::new(value.to_vec());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place(tenant, name)), &mut *sealed)
            .map_err(|_| Error::new(ErrorCode::Internal, "a secret cannot be sealed"))?;
        let file = [MAGIC.as_slice(), &nonce, &sealed].concat();
        key::write_whole(&folder.join(name), &file)?;
        key::sync_folder(&self.folder)
    }

    /// The value; none where there is no such secret. `unknownSecret` for a file that this node's key does not open.
    pub(super) fn get(&self, tenant: &str, name: &str) -> Result<Option<Value>> {
        let path = self.folder.join(tenant).join(name);
        match fs::metadata(&path) {
            Ok(about) if about.len() <= MOST_FILE => {}
            Ok(_) => return Err(unreadable(tenant, name)),
            Err(_) => return Ok(None),
        }
        let file = fs::read(&path).map_err(|_| unreadable(tenant, name))?;
        self.unseal(tenant, name, &file).map(Some).ok_or_else(|| unreadable(tenant, name))
    }

    fn unseal(&self, tenant: &str, name: &str, file: &[u8]) -> Option<Value> {
        let (nonce, sealed) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut value = Zeroizing::new(sealed.to_vec());
        let length = self.key.open_in_place(nonce, Aad::from(place(tenant, name)), &mut value).ok()?.len();
        value.truncate(length);
        Some(value)
    }

    /// Whether there was such a secret.
    pub(super) fn remove(&self, tenant: &str, name: &str) -> Result<bool> {
        let folder = self.folder.join(tenant);
        match fs::remove_file(folder.join(name)) {
            Ok(()) => key::sync_folder(&folder).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io(&format!("cannot remove the secret {tenant}/{name}"), &error)),
        }
    }

    /// Removes all of a tenant's.
    pub(super) fn remove_all(&self, tenant: &str) -> Result<()> {
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

    #[test]
    fn a_lost_key_is_not_replaced_in_silence() {
        let state = tempfile::tempdir().unwrap();
        Vault::open(state.path()).unwrap().put("a", "s", b"hush").unwrap();
        fs::remove_file(state.path().join("node.key")).unwrap();
        assert!(Vault::open(state.path()).err().unwrap().message.contains("node.key is gone"));
    }
}

//! The node's secrets: stores and their credentials, by tenant and name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::Store;
use serde::Deserialize;

/// `secrets.toml`. It is read again at each use (a function's deployment or a direct start), so an edit needs no restart.
pub(crate) struct Secrets {
    file: PathBuf,
}

/// One secret as it stands in the file. No `Debug`: it would print the key.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    kind: String,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

type File = HashMap<String, HashMap<String, Secret>>;

impl Secrets {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The secret of that tenant and name. Messages name the place, never a value.
    pub(crate) fn find(&self, tenant: &str, name: &str) -> Result<Secret> {
        let unknown = || {
            let message = format!("there is no [{tenant}.{name}] in {}", self.file.display());
            Error::new(ErrorCode::UnknownSecret, message)
        };
        let text = std::fs::read_to_string(&self.file).map_err(|_| unknown())?;
        // The parser's message may quote a line, and a line may hold a key.
        let mut file: File = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count());
            Error::new(ErrorCode::UnknownSecret, format!("{} is malformed near line {at}", self.file.display()))
        })?;
        file.get_mut(tenant).and_then(|names| names.remove(name)).ok_or_else(unknown)
    }
}

impl Secret {
    pub(crate) fn store(&self) -> Result<Store> {
        if self.kind != "s3" {
            return Err(Error::new(ErrorCode::Unsupported, format!("a secret of the kind {:?}", self.kind)));
        }
        Store::new(&self.endpoint, &self.region, &self.access_key, &self.secret_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_tenant_and_tells_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.toml");
        let secrets = Secrets::new(&file);
        let code = |tenant: &str, name: &str| secrets.find(tenant, name).err().unwrap().code;
        assert_eq!(code("default", "dev"), ErrorCode::UnknownSecret);
        let text = "[default.dev]\nkind = \"s3\"\nendpoint = \"http://h:1\"\nregion = \"r\"\naccess_key = \"a\"\nsecret_key = \"hush\"\n";
        std::fs::write(&file, text).unwrap();
        assert!(secrets.find("default", "dev").ok().unwrap().store().is_ok());
        assert_eq!(code("other", "dev"), ErrorCode::UnknownSecret);
        std::fs::write(&file, format!("{text}secret_key = \"hush\"\n")).unwrap();
        let error = secrets.find("default", "dev").err().unwrap();
        assert!(!error.message.contains("hush"), "{}", error.message);
    }
}

//! Tenants' secrets: stores and their credentials, by tenant and name. The bridge alone has them, sealed on its disk; what
//! is put cannot be read by anybody, only used by the tenant's functions.
//!
//! A secret is read anew at each use (a function is put), so that what was changed needs no restart.

mod key;
mod vault;

use std::collections::BTreeMap;
use std::path::Path;

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::Store;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::node::is_name;
pub(crate) use vault::Rotated;
use vault::Vault;

pub(crate) struct Secrets {
    vault: Vault,
}

/// One secret. No `Debug`: it would print the key.
#[derive(Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Secret {
    S3(Keys),
    Sqs(Keys),
    Redis(Login),
}

/// A service whose requests are signed.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    endpoint: String,
    region: String,
    access_key: Zeroizing<String>,
    secret_key: Zeroizing<String>,
}

/// A server to which a connection says who it is.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    endpoint: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: Zeroizing<String>,
}

/// A file of secrets in the clear, as nodes had it before: `[tenant.name]` tables.
type Plain = BTreeMap<String, BTreeMap<String, Secret>>;

impl Secrets {
    pub(crate) fn open(state: &Path) -> Result<Self> {
        Ok(Self { vault: Vault::open(state)? })
    }

    /// Keeps a secret that came as JSON.
    pub(crate) fn put(&self, tenant: &str, name: &str, json: &[u8]) -> Result<()> {
        check_names(&[tenant, name])?;
        let secret = Secret::parse(json)?;
        secret.store(secret.kind())?;
        self.vault.put(tenant, name, json)
    }

    /// The secret of that tenant and name. Messages name the place, never a value.
    pub(crate) fn find(&self, tenant: &str, name: &str) -> Result<Secret> {
        check_names(&[tenant, name])?;
        let unknown = || Error::new(ErrorCode::UnknownSecret, format!("tenant {tenant} has no secret {name}"));
        Secret::parse(&self.vault.get(tenant, name)?.ok_or_else(unknown)?)
    }

    /// Names and kinds. One that does not open is of the kind "unreadable".
    pub(crate) fn list(&self, tenant: &str) -> Result<Vec<(String, String)>> {
        check_names(&[tenant])?;
        let kind = |name: &str| self.find(tenant, name).map_or("unreadable", |secret| secret.kind()).to_owned();
        Ok(self
            .vault
            .list(tenant)?
            .into_iter()
            .map(|name| (kind(&name), name))
            .map(|(kind, name)| (name, kind))
            .collect())
    }

    pub(crate) fn remove(&self, tenant: &str, name: &str) -> Result<()> {
        check_names(&[tenant, name])?;
        match self.vault.remove(tenant, name)? {
            true => Ok(()),
            false => Err(Error::new(ErrorCode::UnknownSecret, format!("tenant {tenant} has no secret {name}"))),
        }
    }

    /// Removes all of a tenant's.
    pub(crate) fn remove_all(&self, tenant: &str) -> Result<()> {
        check_names(&[tenant])?;
        self.vault.remove_all(tenant)
    }

    /// Replaces the key that all are sealed with.
    pub(crate) fn rotate_key(&self) -> Result<Rotated> {
        self.vault.rotate()
    }

    /// Takes in a file of secrets in the clear, and removes it. None is no error.
    pub(crate) fn take_in(&self, file: &Path) -> Result<()> {
        let Ok(text) = std::fs::read_to_string(file).map(Zeroizing::new) else { return Ok(()) };
        // The parser's message may quote a line, and a line may hold a key.
        let plain: Plain = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count());
            Error::new(ErrorCode::InvalidArgument, format!("{} is malformed near line {at}", file.display()))
        })?;
        for (tenant, secrets) in &plain {
            for (name, secret) in secrets {
                let json = serde_json::to_vec(secret).map(Zeroizing::new);
                let json = json.map_err(|_| Error::new(ErrorCode::Internal, "a secret cannot be written"))?;
                self.put(tenant, name, &json)?;
            }
        }
        std::fs::remove_file(file)
            .map_err(|error| crate::errors::io(&format!("cannot remove {}", file.display()), &error))
    }
}

impl Secret {
    /// The parser's message may quote a value: it is not passed on.
    fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|_| {
            let message = "a secret has a kind, and of \"s3\" and \"sqs\" endpoint, region, access_key and secret_key, \
                of \"redis\" endpoint, user and password: all texts, and nothing else";
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Sqs(_) => "sqs",
            Self::Redis(_) => "redis",
        }
    }

    /// What it is for the addresses of a scheme.
    pub(crate) fn store(&self, scheme: &str) -> Result<Store> {
        match self {
            Self::S3(keys) | Self::Sqs(keys) if matches!(scheme, "s3" | "sqs") => {
                Store::new(&keys.endpoint, &keys.region, &keys.access_key, &keys.secret_key)
            }
            Self::Redis(login) if scheme == "redis" => Store::login(&login.endpoint, &login.user, &login.password),
            _ => {
                let message = format!("a secret of the kind {:?} is not for {scheme:.20}://", self.kind());
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
        }
    }
}

/// They become parts of paths.
fn check_names(names: &[&str]) -> Result<()> {
    match names.iter().all(|name| is_name(name)) {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::InvalidArgument, "a name is 1 to 64 of a-z, A-Z, 0-9, - and _")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: &[u8] = br#"{"kind":"redis","endpoint":"rediss://h:1","password":"hush"}"#;
    const JSON: &[u8] = br#"{"kind":"s3","endpoint":"http://h:1","region":"r","access_key":"a","secret_key":"hush"}"#;

    #[test]
    fn finds_by_tenant_and_name() {
        let state = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(state.path()).unwrap();
        let code = |tenant: &str, name: &str| secrets.find(tenant, name).err().unwrap().code;
        assert_eq!(code("default", "dev"), ErrorCode::UnknownSecret);
        secrets.put("default", "dev", JSON).unwrap();
        assert!(secrets.find("default", "dev").ok().unwrap().store("s3").is_ok());
        assert_eq!(code("other", "dev"), ErrorCode::UnknownSecret);
        secrets.put("default", "cache", REDIS).unwrap();
        let cache = secrets.find("default", "cache").ok().unwrap();
        assert!(cache.store("redis").is_ok() && cache.store("s3").is_err());
        let listed = [("cache".to_owned(), "redis".to_owned()), ("dev".to_owned(), "s3".to_owned())];
        assert_eq!(secrets.list("default").unwrap(), listed);
        for (tenant, name) in [("..", "dev"), ("default", "../dev"), ("default", ""), ("a/b", "c")] {
            assert_eq!(code(tenant, name), ErrorCode::InvalidArgument);
            assert!(secrets.put(tenant, name, JSON).is_err());
        }
        secrets.remove("default", "dev").unwrap();
        assert_eq!(secrets.remove("default", "dev").unwrap_err().code, ErrorCode::UnknownSecret);
    }

    #[test]
    fn what_is_malformed_is_refused_without_a_word_of_it() {
        let state = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(state.path()).unwrap();
        for json in [
            r#"{"kind":"s3","secret_key":"hush"}"#,
            r#"{"kind":"s3","endpoint":"http://h:1","region":"r","access_key":"a","secret_key":["hush"]}"#,
            r#"{"kind":"s3","endpoint":"http://h:1","region":"r","access_key":"a","secret_key":"hush","hush":1}"#,
            r#"{"kind":"hush","endpoint":"ftp://h","region":"r","access_key":"hush hush","secret_key":"hush"#,
            r#"{"kind":"s3","endpoint":"http://h:1","region":"r","access_key":"hush hush","secret_key":"hush"}"#,
            r#"{"kind":"redis","endpoint":"redis://h","password":"hush","secret_key":"hush"}"#,
            r#"{"kind":"redis","endpoint":"http://h","password":"hush"}"#,
            r#""hush""#,
        ] {
            let error = secrets.put("t", "n", json.as_bytes()).unwrap_err();
            assert!(!error.message.contains("hush"), "{}", error.message);
        }
        assert!(secrets.list("t").unwrap().is_empty());
    }

    #[test]
    fn a_file_in_the_clear_is_taken_in_and_goes() {
        let state = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(state.path()).unwrap();
        let file = state.path().join("secrets.toml");
        secrets.take_in(&file).unwrap();
        let text = "[default.dev]\nkind = \"s3\"\nendpoint = \"http://h:1\"\nregion = \"r\"\naccess_key = \"a\"\nsecret_key = \"hush\"\n";
        std::fs::write(&file, format!("{text}secret_key = \"hush\"\n")).unwrap();
        let error = secrets.take_in(&file).unwrap_err();
        assert!(!error.message.contains("hush"), "{}", error.message);
        std::fs::write(&file, text).unwrap();
        secrets.take_in(&file).unwrap();
        assert!(!file.exists());
        assert!(secrets.find("default", "dev").ok().unwrap().store("s3").is_ok());
    }
}

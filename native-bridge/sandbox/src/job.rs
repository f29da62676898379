//! A checked [`Spec`], with the files that its sandbox needs on the host.

use crate::accounts;
use crate::base::{APP, Base, HOSTS};
use crate::failure::{failed, invalid, unsupported};
use crate::files::{Layout, check_file_path};
use crate::names::is_plain;
use crate::spec::{Isolation, Spec};
use headstart_base::Result;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

const MAX_TEXTS: usize = 4096;
const MAX_TEXT_BYTES: usize = 128 * 1024;
const MAX_EGRESS: usize = 1024;

/// A sandbox about to start.
pub(crate) struct Job {
    pub(crate) spec: Spec,
    /// `STATE/sandboxes/<id>`, which is removed at the end.
    pub(crate) folder: PathBuf,
    /// The sandbox's own /etc/hosts, if it has one.
    pub(crate) hosts: Option<PathBuf>,
    /// The user and group of its program: one of [`crate::Users`], or in gVisor its kernel's nobody.
    pub(crate) user: u32,
    /// Files with the user's name in them, and where they are put over an image's own.
    pub(crate) accounts: Vec<(PathBuf, String)>,
    /// Whether there is anything to be mounted at /app: else it is the image's own.
    pub(crate) has_bundle: bool,
}

impl Job {
    /// Refuses what no sandbox can be made of.
    pub(crate) fn check(spec: &Spec) -> Result<()> {
        if !is_plain(&spec.id) {
            return Err(invalid(format!("instance id {:?}: letters, digits, - and _ only, at most 64", spec.id)));
        }
        if spec.image.is_none() && spec.base != "host" {
            return Err(unsupported(format!("base {:?}: this node has the base \"host\" only", spec.base)));
        }
        if spec.isolation != Isolation::Wasm && spec.command.first().is_none_or(String::is_empty) {
            return Err(invalid("the command is empty"));
        }
        let texts = spec.command.len() + spec.env.len() + spec.hosts.len();
        if texts > MAX_TEXTS || spec.egress.len() > MAX_EGRESS {
            return Err(invalid("too many arguments, environment variables, hosts or destinations"));
        }
        let names = spec.env.iter().map(|(name, _)| name);
        if let Some(name) = names.clone().find(|name| !is_variable(name)) {
            return Err(invalid(format!("environment variable {name:?}: letters, digits and _ only, no digit first")));
        }
        let values = spec.env.iter().map(|(_, value)| value);
        if names.chain(values).chain(&spec.command).any(|text| text.contains('\0') || text.len() > MAX_TEXT_BYTES) {
            return Err(invalid("an argument or environment variable has a zero byte or is longer than 128 KiB"));
        }
        let bad_host =
            |name: &String| name.is_empty() || name.len() > 253 || !name.bytes().all(|byte| byte.is_ascii_graphic());
        if spec.isolation == Isolation::Wasm && !spec.files.is_empty() {
            return Err(unsupported("an isolate has no files"));
        }
        for file in &spec.files {
            check_file_path(&file.path)?;
        }
        if let Some((name, _)) = spec.hosts.iter().find(|(name, _)| bad_host(name)) {
            return Err(invalid(format!("host name {name:?}")));
        }
        Ok(())
    }

    /// Makes the sandbox's folder. Blocks for a moment.
    pub(crate) fn prepare(spec: Spec, folder: PathBuf, user: u32) -> Result<Self> {
        if !spec.bundle.is_dir() {
            return Err(invalid(format!("the application's files are not at {}", spec.bundle.display())));
        }
        let broken = |error: io::Error| failed(format_args!("sandbox {}", spec.id), error);
        // Its configuration has the app's environment in it.
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(broken)?;
        open_sockets(&spec.socket_dir, user).map_err(broken)?;
        for file in &spec.files {
            lchown(&file.host, Some(user), Some(user)).map_err(broken)?;
        }
        let accounts = match (&spec.image, spec.isolation) {
            (None, Isolation::Gvisor | Isolation::Bubblewrap) => {
                accounts::write(&spec.socket_dir, user).map(|()| Vec::new()).map_err(broken)?
            }
            (Some(image), Isolation::Bubblewrap) => {
                accounts::add_to_image(&image.root, &folder, user).map_err(broken)?
            }
            _ => Vec::new(),
        };
        let mut hosts = None;
        if !spec.hosts.is_empty() {
            let mut text = HOSTS.to_owned();
            for (name, address) in &spec.hosts {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{address} {name}");
            }
            let path = folder.join("hosts");
            fs::write(&path, text).map_err(broken)?;
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).map_err(broken)?;
            hosts = Some(path);
        }
        let has_bundle = spec.image.is_none() || fs::read_dir(&spec.bundle).map_err(broken)?.next().is_some();
        Ok(Self { spec, folder, hosts, user, accounts, has_bundle })
    }

    /// The root of the sandbox's files.
    pub(crate) fn root<'a>(&'a self, base: &'a Base) -> &'a Path {
        self.spec.image.as_ref().map_or(base.root(), |image| &image.root)
    }

    /// What is to be mounted for the files that the application shares with the bridge.
    pub(crate) fn layout(&self, base: &Base) -> Result<Layout<'_>> {
        Layout::new(&self.spec.files, self.root(base))
    }

    /// Where the application begins.
    pub(crate) fn working_dir(&self) -> &str {
        match &self.spec.image {
            Some(image) if !self.has_bundle => image.working_dir.as_deref().unwrap_or("/"),
            _ => APP,
        }
    }

    /// The environment: ours, then the function's, which may replace it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let ours = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
        ];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let replaced = |name: &String| self.spec.env.iter().any(|(other, _)| other == name);
        ours.into_iter().filter(|(name, _)| !replaced(name)).chain(self.spec.env.iter().cloned()).collect()
    }
}

fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Lets the sandbox's user connect, and no other.
fn open_sockets(folder: &Path, user: u32) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            lchown(entry.path(), Some(user), Some(user))?;
            fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o600))?;
        }
    }
    Ok(())
}

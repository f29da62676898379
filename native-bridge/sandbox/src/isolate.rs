//! The back end `wasm`: an application of JavaScript and WebAssembly modules, in a workerd process of its own.
//!
//! The process is boxed as the runner is (`workerd.rs`), so what bounds the application is the kernel, not V8. It has two
//! sockets: one that workerd inherits and the bridge sends invocations to, and one where the bridge answers what the isolate
//! asks. workerd's configuration is ours; the application gives modules only.

use crate::failure::{failed, invalid, unsupported};
use crate::job::Job;
use crate::process::Launch;
use crate::spec::SandboxConfig;
use crate::workerd::{Mount, Workerd};
use crate::{ISOLATE_ASKS, ISOLATE_SERVES, seccomp};
use headstart_base::Result;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Bytes that workerd needs before the application has any.
pub(crate) const OWN_MEMORY: u64 = 96 << 20;
/// Threads of V8 and workerd.
pub(crate) const OWN_PIDS: u32 = 32;
/// RLIMIT_DATA on top of the memory limit: workerd reserves address space that it never touches.
const OWN_DATA: u64 = 2 << 30;
const OPEN_FILES: u64 = 1024;
/// The module that workerd begins with.
const MAIN: &str = "app.js";
const MODULES: usize = 64;
const NAME_BYTES: usize = 128;
/// Of all modules.
const MODULE_BYTES: u64 = 512 << 20;
const COMPATIBILITY_DATE: &str = "2026-11-01";

/// workerd for a job: the process inherits a listening socket, at [`ISOLATE_SERVES`] in the job's socket folder.
pub(crate) fn launch(config: &SandboxConfig, job: &Job) -> Result<Launch> {
    let workerd = config.workerd.as_ref().ok_or_else(|| unsupported("this node has no workerd for applications"))?;
    let folder = modules_folder(job)?;
    let modules = find_modules(&folder)?;
    let file = job.folder.join("config.capnp");
    fs::write(&file, configuration(&modules, &job.spec.env))
        .and_then(|()| fs::set_permissions(&file, PermissionsExt::from_mode(0o644)))
        .map_err(|error| failed(file.display(), error))?;
    let sockets = &job.spec.socket_dir;
    let path = sockets.join(ISOLATE_SERVES);
    let listener = listen(&path).map_err(|error| failed(path.display(), error))?;
    let filter = seccomp::filter(&[libc::AF_UNIX])?;
    let asks = sockets.join(ISOLATE_ASKS);
    let inside = format!("/run/headstart/{ISOLATE_ASKS}");
    let mounts = [
        Mount { from: &file, to: "/app/config.capnp", writable: false },
        Mount { from: &folder, to: "/app/modules", writable: false },
        Mount { from: &asks, to: &inside, writable: true },
    ];
    let boxed = Workerd {
        bwrap: &config.bwrap,
        workerd,
        hostname: "headstart",
        mounts: &mounts,
        folder: "/app",
        filter: filter.as_raw_fd(),
        network: false,
    };
    let mut launch = Launch::new(
        boxed.serve(["/app/config.capnp".to_owned(), format!("--socket-fd=http={}", listener.as_raw_fd())]),
    );
    launch.keep = vec![filter, listener];
    launch.limits = vec![(libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, OPEN_FILES)];
    if job.spec.limits.memory > 0 {
        launch.limits.push((libc::RLIMIT_DATA, job.spec.limits.memory.saturating_add(OWN_DATA)));
    }
    Ok(launch)
}

/// Nobody but the bridge connects to it.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener.into())
}

/// Where the modules lie: what was deployed, or the image's /app. An image's own links are not followed: they would lead to
/// the host's files.
fn modules_folder(job: &Job) -> Result<PathBuf> {
    let folder = match &job.spec.image {
        Some(image) if !job.has_bundle => image.root.join("app"),
        _ => job.spec.bundle.clone(),
    };
    match fs::symlink_metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => Ok(folder),
        _ => Err(invalid("the image has no folder /app with the application's modules")),
    }
}

/// The names of the modules in a folder; others of its files are not seen.
fn find_modules(folder: &Path) -> Result<Vec<String>> {
    let broken = |error: io::Error| failed(folder.display(), error);
    let mut modules = Vec::new();
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        // Of the entry itself: a link is none.
        let metadata = entry.metadata().map_err(broken)?;
        let Some(name) = entry.file_name().to_str().filter(|name| kind_of(name).is_some()).map(str::to_owned) else {
            continue;
        };
        if metadata.is_file() {
            bytes = bytes.saturating_add(metadata.len());
            modules.push(name);
        }
    }
    modules.sort_unstable();
    match modules.iter().position(|name| name == MAIN) {
        // workerd begins with the first.
        Some(main) => modules[..=main].rotate_right(1),
        None => return Err(invalid(format!("the application has no {MAIN}: [app] main is built into it by a deploy"))),
    }
    if modules.len() > MODULES || bytes > MODULE_BYTES {
        return Err(invalid(format!("an application has at most {MODULES} modules, of {MODULE_BYTES} bytes together")));
    }
    Ok(modules)
}

/// The field of `Worker.Module` for a file, by its name; none for what is no module.
fn kind_of(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() > NAME_BYTES || name.starts_with('.') || !name.bytes().all(plain) {
        return None;
    }
    match name.rsplit_once('.')?.1 {
        "js" | "mjs" => Some("esModule"),
        "wasm" => Some("wasm"),
        "txt" => Some("text"),
        "bin" => Some("data"),
        _ => None,
    }
}

/// workerd's configuration: one worker, whose only way out is the bridge.
fn configuration(modules: &[String], env: &[(String, String)]) -> String {
    let mut list = String::new();
    for name in modules {
        // Only names that `kind_of` takes are modules. Writing to a String cannot fail.
        let kind = kind_of(name).unwrap_or("data");
        let _ = writeln!(list, "    (name = \"{name}\", {kind} = embed \"modules/{name}\"),");
    }
    let env: serde_json::Map<_, _> = env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let env = serde_json::Value::Object(env).to_string();
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "app", worker = .app),
    (name = "bridge", external = (address = "unix:/run/headstart/{ISOLATE_ASKS}", http = ())),
    (name = "nothing", network = (allow = [])),
  ],
  sockets = [(name = "http", service = "app", http = ())],
);
const app :Workerd.Worker = (
  modules = [
{list}  ],
  compatibilityDate = "{COMPATIBILITY_DATE}",
  globalOutbound = "nothing",
  bindings = [
    (name = "BRIDGE", service = "bridge"),
    (name = "ENV", json = {}),
  ],
);
"#,
        quoted(&env)
    )
}

/// A text as the configuration's language writes it. JSON has no control characters in it.
fn quoted(json: &str) -> String {
    format!("\"{}\"", json.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_plain_files_with_plain_names() {
        assert_eq!(kind_of("app.js"), Some("esModule"));
        assert_eq!(kind_of("engine-1.2_x.wasm"), Some("wasm"));
        for name in ["", ".js", "a\"b.js", "a b.wasm", "é.js", "a.png", "js", &format!("{}.js", "a".repeat(128))] {
            assert_eq!(kind_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_main_module_comes_first_and_links_are_none() {
        let folder = std::env::temp_dir().join(format!("hs-modules-{}", std::process::id()));
        fs::create_dir_all(folder.join("folder.js")).unwrap();
        assert!(find_modules(&folder).is_err());
        for name in ["zz.js", "a.wasm", "app.js", "readme.md"] {
            fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", folder.join("link.txt")).unwrap();
        assert_eq!(find_modules(&folder).unwrap(), ["app.js", "a.wasm", "zz.js"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_environment_cannot_leave_its_text() {
        let env = [("A".to_owned(), "\") evil = (\"\\\n\u{1}é".to_owned())];
        let text = configuration(&["app.js".to_owned()], &env);
        assert!(text.contains(r#"json = "{\"A\":\"\\\") evil = (\\\"\\\\\\n\\u0001é\"}")"#), "{text}");
    }
}

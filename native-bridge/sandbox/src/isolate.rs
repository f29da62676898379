//! The back end `wasm`: an application of JavaScript and WebAssembly modules, in a workerd process of its own.
//!
//! The process is boxed as the runner is (`workerd.rs`), so what bounds the application is the kernel, not V8. It has two
//! sockets: one that workerd inherits and the bridge sends invocations to, and one where the bridge answers what the isolate
//! asks. workerd's configuration is ours; the application gives modules only.

use crate::failure::{failed, invalid, unsupported};
use crate::job::Job;
use crate::message::{self, Struct, Value};
use crate::process::Launch;
use crate::spec::SandboxConfig;
use crate::workerd::{Mount, Workerd};
use crate::{ISOLATE_ASKS, ISOLATE_SERVES, seccomp};
use headstart_base::Result;
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
const MODULE_BYTES: u64 = 256 << 20;
const COMPATIBILITY_DATE: &str = "2026-11-01";
/// V8 would optimise what ran for 13 million bytes' worth: in a start the code that reads a model, on the cores that the start needs, and
/// before the first answer. What serves many invocations gets there all the same.
const V8_FLAGS: [&str; 1] = ["--wasm-tiering-budget=100000000"];

// Tags of the unions in workerd.capnp: of `Service`, `Worker`, `Worker.Module`, `Worker.Binding`, `Socket` and `ExternalServer`.
const WORKER: u16 = 1;
const NETWORK: u16 = 2;
const EXTERNAL: u16 = 3;
const MODULES_GIVEN: u16 = 0;
const ES_MODULE: u16 = 0;
const TEXT: u16 = 2;
const DATA: u16 = 3;
const WASM: u16 = 4;
const BOUND_JSON: u16 = 4;
const BOUND_SERVICE: u16 = 7;
const HTTP: u16 = 0;
/// Where workerd warns that its own scripts, compiled ahead, were made for other flags of V8's than ours: that is so in each start, and takes
/// 1 to 4 ms of it.
const WARNS: &[u8] = b"workerd/api/per-isolate-bootstrap.c++:";

/// A file that is a module.
struct Module {
    name: String,
    path: PathBuf,
    bytes: u64,
    tag: u16,
    text: bool,
}

/// workerd for a job: the process inherits a listening socket, at [`ISOLATE_SERVES`] in the job's socket folder.
pub(crate) fn launch(config: &SandboxConfig, job: &Job) -> Result<Launch> {
    let workerd = config.workerd.as_ref().ok_or_else(|| unsupported("this node has no workerd for applications"))?;
    let folder = modules_folder(job)?;
    let file = job.folder.join("config");
    message::write(configuration(find_modules(&folder)?, &job.spec.env), &file)
        .and_then(|()| fs::set_permissions(&file, PermissionsExt::from_mode(0o644)))
        .map_err(|error| failed(file.display(), error))?;
    let sockets = &job.spec.socket_dir;
    let path = sockets.join(ISOLATE_SERVES);
    let listener = listen(&path).map_err(|error| failed(path.display(), error))?;
    let filter = seccomp::filter(&[libc::AF_UNIX])?;
    let asks = sockets.join(ISOLATE_ASKS);
    let inside = format!("/run/headstart/{ISOLATE_ASKS}");
    let mounts =
        [Mount { from: &file, to: "/app/config", writable: false }, Mount { from: &asks, to: &inside, writable: true }];
    let boxed = Workerd {
        bwrap: &config.bwrap,
        workerd,
        hostname: "headstart",
        mounts: &mounts,
        folder: "/app",
        filter: filter.as_raw_fd(),
        user: job.user,
        network: false,
    };
    let mut launch = Launch::new(boxed.serve([
        "--binary".to_owned(),
        "/app/config".to_owned(),
        format!("--socket-fd=http={}", listener.as_raw_fd()),
    ]));
    launch.keep = vec![filter, listener];
    launch.limits = vec![(libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, OPEN_FILES)];
    if job.spec.limits.memory > 0 {
        launch.limits.push((libc::RLIMIT_DATA, job.spec.limits.memory.saturating_add(OWN_DATA)));
    }
    Ok(launch)
}

/// Whether a line of workerd's error output is no word of the application's, and nothing that anybody can mend.
pub(crate) fn is_noise(line: &[u8]) -> bool {
    line.starts_with(WARNS)
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

/// The modules in a folder, the main one first, as workerd wants it; others of its files are not seen.
fn find_modules(folder: &Path) -> Result<Vec<Module>> {
    let broken = |error: io::Error| failed(folder.display(), error);
    let mut modules = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        // Of the entry itself: a link is none.
        let metadata = entry.metadata().map_err(broken)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some((tag, text)) = kind_of(&name).filter(|_| metadata.is_file()) {
            modules.push(Module { name, path: entry.path(), bytes: metadata.len(), tag, text });
        }
    }
    modules.sort_unstable_by(|one, other| (one.name != MAIN, &one.name).cmp(&(other.name != MAIN, &other.name)));
    if modules.first().is_none_or(|first| first.name != MAIN) {
        return Err(invalid(format!("the application has no {MAIN}: [app] main is built into it by a deploy")));
    }
    let bytes = modules.iter().fold(0_u64, |sum, module| sum.saturating_add(module.bytes));
    if modules.len() > MODULES || bytes > MODULE_BYTES {
        return Err(invalid(format!("an application has at most {MODULES} modules, of {MODULE_BYTES} bytes together")));
    }
    Ok(modules)
}

/// What a file is among `Worker.Module`'s kinds, by its name: the union's tag, and whether it is a text. None for what is no module.
fn kind_of(name: &str) -> Option<(u16, bool)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() > NAME_BYTES || name.starts_with('.') || !name.bytes().all(plain) {
        return None;
    }
    match name.rsplit_once('.')?.1 {
        "js" | "mjs" => Some((ES_MODULE, true)),
        "txt" => Some((TEXT, true)),
        "bin" => Some((DATA, false)),
        "wasm" => Some((WASM, false)),
        _ => None,
    }
}

/// workerd's configuration (`Config` of its schema): one worker, whose only way out is the bridge.
fn configuration(modules: Vec<Module>, env: &[(String, String)]) -> Value {
    let env: serde_json::Map<_, _> = env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let env = serde_json::Value::Object(env).to_string();
    let modules = modules.into_iter().map(|Module { name, path, bytes, tag, text: is_text }| Struct {
        tag,
        pointers: vec![text(&name), Value::File { path, bytes, text: is_text }],
    });
    let bindings = vec![
        Struct { tag: BOUND_SERVICE, pointers: vec![text("BRIDGE"), named("bridge")] },
        Struct { tag: BOUND_JSON, pointers: vec![text("ENV"), text(&env)] },
    ];
    let worker = Struct {
        tag: MODULES_GIVEN,
        pointers: vec![
            Value::Structs(modules.collect()),
            text(COMPATIBILITY_DATE),
            Value::Null,
            Value::Structs(bindings),
            named("nothing"),
        ],
    };
    let address = text(&format!("unix:/run/headstart/{ISOLATE_ASKS}"));
    let bridge = Struct { tag: HTTP, pointers: vec![address, plain_http()] };
    let nothing = Struct { tag: 0, pointers: vec![Value::Texts(Vec::new())] };
    let service = |tag, name: &str, what| Struct { tag, pointers: vec![text(name), Value::Struct(what)] };
    let services =
        vec![service(WORKER, "app", worker), service(EXTERNAL, "bridge", bridge), service(NETWORK, "nothing", nothing)];
    let socket =
        Struct { tag: HTTP, pointers: vec![text("http"), Value::Null, plain_http(), Value::Null, named("app")] };
    let flags = Value::Texts(V8_FLAGS.map(str::to_owned).into());
    Value::Struct(Struct { tag: 0, pointers: vec![Value::Structs(services), Value::Structs(vec![socket]), flags] })
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A `ServiceDesignator`.
fn named(service: &str) -> Value {
    Value::Struct(Struct { tag: 0, pointers: vec![text(service)] })
}

/// `HttpOptions` with its defaults.
fn plain_http() -> Value {
    Value::Struct(Struct { tag: 0, pointers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_plain_files_with_plain_names() {
        assert_eq!(kind_of("app.js"), Some((ES_MODULE, true)));
        assert_eq!(kind_of("engine-1.2_x.wasm"), Some((WASM, false)));
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
        let found: Vec<String> = find_modules(&folder).unwrap().into_iter().map(|module| module.name).collect();
        assert_eq!(found, ["app.js", "a.wasm", "zz.js"]);
        fs::remove_dir_all(folder).unwrap();
    }
}

//! A node of our own for a test: folders, sandboxes, lines.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use headstart_sandbox::{Isolation, Limits, Line, Sandbox, SandboxConfig, Sandboxes, Spec, Stream};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Node {
    pub folder: PathBuf,
    pub sandboxes: Sandboxes,
}

pub fn config(folder: &std::path::Path) -> SandboxConfig {
    SandboxConfig {
        runsc: "runsc".into(),
        bwrap: "bwrap".into(),
        workerd: Some(workerd()),
        state_dir: folder.join("state"),
        run_dir: folder.join("run"),
        subnet: "10.213.0.0/16".into(),
        pool: 1,
    }
}

/// As npm installed it.
fn workerd() -> PathBuf {
    let package = format!("@cloudflare/workerd-linux-{}", if cfg!(target_arch = "x86_64") { "64" } else { "arm64" });
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("node_modules").join(package).join("bin/workerd").canonicalize().unwrap()
}

/// The same for each run of this checkout, so that a run reaps what a failed one has left.
pub fn folder(name: &str) -> PathBuf {
    let checkout = BuildHasherDefault::<DefaultHasher>::default().hash_one(env!("CARGO_MANIFEST_DIR")) as u16;
    let folder = std::env::temp_dir().join(format!("hs-test-{name}-{checkout:x}"));
    std::fs::create_dir_all(folder.join("run")).unwrap();
    folder
}

impl Node {
    pub async fn start(name: &str) -> Self {
        let folder = folder(name);
        let sandboxes = Sandboxes::new(config(&folder)).await.unwrap();
        Self { folder, sandboxes }
    }

    pub fn python(&self, id: &str, isolation: Isolation, program: &str) -> Spec {
        let bundle = self.folder.join("app");
        std::fs::create_dir_all(&bundle).unwrap();
        Spec {
            id: id.into(),
            isolation,
            base: "host".into(),
            image: None,
            bundle,
            command: ["/usr/bin/python3", "-u", "-c", program].map(String::from).to_vec(),
            env: vec![("GREETING".into(), "hello".into())],
            socket_dir: self.folder.join("run").join("instances").join(id),
            limits: Limits { memory: 256 << 20, cpu_millis: 2000, pids: 128 },
            egress: Vec::new(),
            hosts: Vec::new(),
            boot: headstart_sandbox::Boot::Command,
            files: Vec::new(),
        }
    }

    pub async fn spawn(&self, spec: Spec) -> (Sandbox, mpsc::Receiver<Line>) {
        let (sender, lines) = mpsc::channel(256);
        let reservation = self.sandboxes.reserve().await.unwrap();
        (self.sandboxes.spawn(spec, reservation, sender).await.unwrap(), lines)
    }

    /// Runs to the end: (status, oom, stdout, stderr).
    pub async fn run(&self, spec: Spec) -> (i32, bool, Vec<String>, Vec<String>) {
        let (mut sandbox, mut lines) = self.spawn(spec).await;
        let exit = tokio::time::timeout(LIMIT, sandbox.wait()).await.expect("the sandbox ends");
        sandbox.kill().await;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(line) = lines.recv().await {
            if line.stream == Stream::Stdout { &mut out } else { &mut err }.push(line.text);
        }
        (exit.status, exit.oom, out, err)
    }

    /// Shuts down; nothing that carries the node's tag may remain.
    pub async fn end(self) {
        let tag = self.sandboxes.inventory().tag;
        self.sandboxes.shutdown().await;
        drop(self.sandboxes);
        assert_eq!(leftovers(&tag, &self.folder), Vec::<String>::new());
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// What the machine has of a node, by name.
pub fn leftovers(tag: &str, folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let names = |path: &str| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    found.extend(names("/run/netns").into_iter().filter(|name| name.starts_with(&format!("hs-{tag}-"))));
    found.extend(names("/sys/class/net").into_iter().filter(|name| name.starts_with(&format!("hsv{tag}"))));
    for hierarchy in ["memory", "cpu", "pids", "."] {
        found.extend(names(&format!("/sys/fs/cgroup/{hierarchy}/headstart")).into_iter().filter(|name| name == tag));
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let folder = folder.to_str().unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(folder)).map(String::from));
    found.extend(names(&format!("{folder}/state/sandboxes")));
    for pid in names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(folder) && pid != std::process::id().to_string() {
            found.push(format!("{pid}: {command}"));
        }
    }
    found
}

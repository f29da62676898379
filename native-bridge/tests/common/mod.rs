//! A real bridge, a host that speaks to it, an application's socket, and a small HTTP server to fetch from.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used, clippy::panic)]

pub mod app;
pub mod events;
pub mod given;
pub mod host;
pub mod lines;
pub mod secure;
pub mod server;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// Nothing in these tests takes longer.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A running bridge with folders of its own.
pub struct Bridge {
    child: Child,
    folder: tempfile::TempDir,
}

impl Bridge {
    pub fn start() -> Self {
        Self::start_with(&serde_json::json!({}))
    }

    /// With some settings changed.
    pub fn start_with(settings: &serde_json::Value) -> Self {
        let folder = tempfile::Builder::new().prefix("hsb").tempdir().unwrap();
        let child = spawn(folder.path(), settings, Stdio::inherit());
        let bridge = Self { child, folder };
        bridge.wait_ready();
        bridge
    }

    fn wait_ready(&self) {
        let deadline = Instant::now() + LIMIT;
        while !self.get("/healthz").is_some_and(|answer| answer.contains("200 OK")) {
            assert!(Instant::now() < deadline, "the bridge is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        // As a host does that is told that the bridge does not know it.
        assert!(self.put("/tenants/default", "{}").starts_with("HTTP/1.1 204"));
    }

    /// Kills it and starts another in the same folders.
    pub fn restart_hard(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.folder.path(), &serde_json::json!({}), Stdio::inherit());
        self.wait_ready();
    }

    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.run().join("bridge.sock")
    }

    pub fn app_socket(&self, instance: &str) -> PathBuf {
        self.run().join("instances").join(instance).join("app.sock")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Another bridge in the same folders: what it prints, and its exit status.
    pub fn second(&self) -> (String, i32) {
        let child = spawn(self.folder.path(), &serde_json::json!({}), Stdio::piped());
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
    }

    pub fn get(&self, path: &str) -> Option<String> {
        host::raw(&self.socket(), format!("GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").as_bytes())
            .ok()
    }

    pub fn put(&self, path: &str, body: &str) -> String {
        let length = body.len();
        let request =
            format!("PUT {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        host::raw(&self.socket(), request.as_bytes()).unwrap()
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Stops all its threads, and waits until they are.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let runs = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
            stats.into_iter().any(|stat| !stat.rsplit(") ").next().unwrap().starts_with('T'))
        };
        let deadline = Instant::now() + LIMIT;
        while runs() {
            assert!(Instant::now() < deadline, "the bridge does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The exit status after `terminate`.
    pub fn wait_end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the bridge does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Private memory of the bridge, in bytes.
    pub fn rss_anon(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.terminate_quietly();
    }
}

impl Bridge {
    /// By SIGTERM, so that its namespaces and sandboxes go with it.
    fn terminate_quietly(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.terminate();
        let deadline = Instant::now() + LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, settings: &serde_json::Value, stderr: Stdio) -> Child {
    let mut config = serde_json::json!({
        "run_dir": folder.join("run"),
        "state_dir": folder.join("state"),
        "grace_ms": 300,
        "memory": { "node_bytes": 1 << 30, "pool": [{ "bytes": 65536, "count": 4 }, { "bytes": 4 << 20, "count": 2 }] },
        "net": { "pool": 1, "allow_private": true },
    });
    for (name, value) in settings.as_object().unwrap() {
        config[name] = value.clone();
    }
    let file = folder.join("bridge.json");
    std::fs::write(&file, config.to_string()).unwrap();
    // Applications have users of their own and must reach their bundle.
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_native-bridge"));
    command.arg("--config").arg(&file).env("HEADSTART_LOG", "warn").stderr(stderr);
    command.spawn().unwrap()
}

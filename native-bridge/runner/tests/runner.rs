//! A real workerd in its box, a second one as the host, and the relay between them. Needs root, bwrap and the npm
//! packages.
#![allow(clippy::unwrap_used, clippy::panic)]

use headstart_runner::{End, Relay, Runner, RunnerConfig, State, Status};
use headstart_sandbox::Line;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(10);

struct Node {
    folder: PathBuf,
    runner: Arc<Runner>,
    relay: tokio::task::JoinHandle<()>,
    host: Host,
    lines: Arc<Mutex<Vec<String>>>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).unwrap()
}

fn workerd() -> PathBuf {
    let package = format!("@cloudflare/workerd-linux-{}", if cfg!(target_arch = "x86_64") { "64" } else { "arm64" });
    repository().join("node_modules").join(package).join("bin/workerd")
}

fn config(folder: &Path) -> RunnerConfig {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    RunnerConfig {
        workerd: workerd(),
        bwrap: "bwrap".into(),
        run_dir: folder.to_path_buf(),
        config_file: fixture.join("runner.capnp"),
        dir: fixture,
        socket: folder.join("runner/runner.sock"),
        data_limit: 0,
        memory_limit: 0,
    }
}

/// Dropped: killed, also when a test fails.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hs-runner-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (sender, mut receiver) = mpsc::channel::<Line>(256);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Some(line) = receiver.recv().await {
                kept.lock().unwrap().push(line.text);
            }
        });
        let begin = Instant::now();
        let runner = Runner::start(config(&folder), sender).unwrap();
        let listener = UnixListener::bind(folder.join("relay.sock")).unwrap();
        let relay = tokio::spawn({
            let runner = Arc::clone(&runner);
            async move { drop(Relay::serve(listener, runner).await) }
        });
        assert!(runner.ready(LIMIT).await, "{:?}", lines.lock().unwrap());
        println!("{name}: runner ready in {:?}", begin.elapsed());
        let host = Command::new(workerd())
            .args(["serve", "--experimental"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/host.capnp"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let node = Self { folder, runner, relay, host: Host(host), lines };
        let end = Instant::now() + LIMIT;
        while UnixStream::connect(node.folder.join("host.sock")).await.is_err() {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node
    }

    /// (status, text) of one call, made by the host.
    async fn call(&self, path: &str) -> (u16, String) {
        let work = async {
            let mut stream = UnixStream::connect(self.folder.join("host.sock")).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(LIMIT, work).await.expect("the host answers");
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (answer[9..12].parse().unwrap(), body)
    }

    async fn until(&self, what: impl Fn(Status) -> bool) -> Duration {
        let begin = Instant::now();
        let mut status = self.runner.status();
        while !what(status) {
            status = tokio::time::timeout(LIMIT, self.runner.changed(status)).await.unwrap();
        }
        begin.elapsed()
    }

    fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(part))
    }

    async fn end(self) {
        drop(self.host);
        self.relay.abort();
        self.runner.shutdown().await;
        assert_eq!(self.runner.status().state, State::Dead);
        let group = format!("headstart/{}", headstart_sandbox::tag(&self.folder));
        assert!(!Path::new("/sys/fs/cgroup/memory").join(&group).exists());
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_reaches_the_runner_and_is_called_back() {
    let node = Node::start("rpc").await;
    assert_eq!(node.call("/RUNNER/add/10").await, (200, "10".into()));
    assert_eq!(node.call("/RUNNER/callBack/10").await, (200, "5".into()));
    assert_eq!(node.call("/RUNNER/flood/200").await, (200, "200".into()));
    // More calls than may wait to be finished with, one after the other.
    assert_eq!(node.call("/RUNNER/callBack/10000").await, (200, "5000".into()));
    assert_eq!(node.call("/RUNNER/take/20000000").await, (200, "20000000".into()));
    assert_eq!(node.call("/RUNNER/give/1000000").await, (200, "1000000".into()));
    let mut times = Vec::new();
    for binding in ["DIRECT", "RUNNER"] {
        for call in ["add", "callBack"] {
            let begin = Instant::now();
            assert_eq!(node.call(&format!("/{binding}/{call}/1000")).await.0, 200);
            times.push(format!("{binding} {call} {:?}", begin.elapsed() / 1000));
        }
    }
    println!("a call: {times:?}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_has_no_network_and_no_root() {
    let node = Node::start("box").await;
    assert_eq!(node.call("/RUNNER/network").await, (200, "nothing".into()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.runner.status().pid)).unwrap();
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line}\n{status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.runner.status().pid)).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max data size") && line.contains("1073741824")), "{limits}");
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runner_is_replaced() {
    let node = Node::start("kill").await;
    let Status { pid, generation, .. } = node.runner.status();
    assert_eq!(node.call("/RUNNER/add/1").await.0, 200);
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    node.until(|status| {
        status.generation == generation && status.state == State::Dead || status.generation > generation
    })
    .await;
    let replaced = node.until(|status| status.generation == generation + 1 && status.state == State::Ready).await;
    println!("replaced in {replaced:?}");
    assert!(replaced < Duration::from_secs(3));
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert!(node.said("signal 9"), "{:?}", node.lines.lock().unwrap());
    assert_eq!(node.runner.status().last_end, End::Exited);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_runner_is_replaced_and_its_calls_fail() {
    let node = Node::start("stall").await;
    let generation = node.runner.status().generation;
    let begin = Instant::now();
    let (status, text) = node.call("/RUNNER/spin").await;
    println!("stall ended after {:?}: {text}", begin.elapsed());
    assert_eq!(status, 500);
    assert!(begin.elapsed() < Duration::from_secs(5));
    node.until(|status| status.generation == generation + 1 && status.state == State::Ready).await;
    assert_eq!(node.call("/RUNNER/add/3").await, (200, "3".into()));
    assert!(node.said("stalled: no answer"), "{:?}", node.lines.lock().unwrap());
    let Status { last_end, last_heard, .. } = node.runner.status();
    assert_eq!(last_end, End::Stalled);
    assert!(last_heard > 0 && last_heard < headstart_base::now());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_runner_is_no_stall() {
    let node = Node::start("stop").await;
    let Status { pid, generation, .. } = node.runner.status();
    Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let expected = Status { pid, generation, state: State::Ready, last_end: End::None, last_heard: 0 };
    assert_eq!(node.runner.status(), expected);
    Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert_eq!(node.runner.status().generation, generation);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_relays_bounds_ends_that_connection_only() {
    let node = Node::start("flood").await;
    assert_eq!(node.call("/RUNNER/flood/300").await.0, 500);
    assert!(node.said("more than 256 calls in flight"), "{:?}", node.lines.lock().unwrap());
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert_eq!(node.call("/RUNNER/give/3000000").await.0, 500);
    assert!(node.said("more than 2097152"), "{:?}", node.lines.lock().unwrap());
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert_eq!(node.runner.status().generation, 1);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_rpc_are_answered() {
    let node = Node::start("http").await;
    let ask = async |request: &[u8]| {
        let mut stream = UnixStream::connect(node.folder.join("relay.sock")).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200 OK"));
    assert!(ask(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(ask(&[b'x'; 10_000]).await.starts_with("HTTP/1.1 400"));
    // Not Cap'n Proto after CONNECT: the connection ends, the relay does not.
    let answer = ask(b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    node.end().await;
}

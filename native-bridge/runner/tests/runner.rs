//! A real workerd in its box, a second one as the host, and the relay between them. Needs root, bwrap and the npm
//! packages.
#![allow(clippy::unwrap_used, clippy::panic)]

use headstart_runner::{End, Relay, RunnerConfig, Runners, RunnersConfig, State, Status};
use headstart_sandbox::{Line, Users};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(10);
const SLOTS: u16 = 2;
const TENANT: &str = "acme";

struct Node {
    folder: PathBuf,
    runners: Arc<Runners>,
    users: Users,
    relays: Vec<tokio::task::JoinHandle<()>>,
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
        let users = Users::claim(&folder).unwrap();
        let config = RunnersConfig { runner: config(&folder), slots: SLOTS, spares: 1, users: users.clone() };
        let runners = Runners::start(config, sender).unwrap();
        let relays = (0..SLOTS).map(|slot| {
            let listener = UnixListener::bind(folder.join(format!("relay-{slot}.sock"))).unwrap();
            let runners = Arc::clone(&runners);
            tokio::spawn(async move { drop(Relay::serve(listener, runners, slot).await) })
        });
        let relays = relays.collect();
        let spare = || runners.all().iter().any(|runner| runner.slot.is_none() && runner.status.state == State::Ready);
        while !spare() {
            assert!(begin.elapsed() < LIMIT, "{:?}", lines.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("{name}: runner ready in {:?}", begin.elapsed());
        runners.assign(0, TENANT).await.unwrap();
        let host = Command::new(workerd())
            .args(["serve", "--experimental"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/host.capnp"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let node = Self { folder, runners, users, relays, host: Host(host), lines };
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
        while !what(self.status()) {
            assert!(begin.elapsed() < LIMIT, "{:?}", self.status());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begin.elapsed()
    }

    /// Of the runner of [`TENANT`].
    fn status(&self) -> Status {
        self.runners.of(TENANT).unwrap()
    }

    fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(part))
    }

    async fn end(self) {
        drop(self.host);
        self.relays.iter().for_each(tokio::task::JoinHandle::abort);
        self.runners.shutdown().await;
        assert!(self.runners.all().is_empty());
        assert_eq!(self.users.used(), 0);
        assert_eq!(std::fs::read_dir(self.folder.join("runner")).unwrap().count(), 0);
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
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.status().pid)).unwrap();
    let of = |slot| node.runners.all().iter().find(|runner| runner.slot == slot).unwrap().user;
    let user = of(Some(0));
    node.runners.assign(1, "other").await.unwrap();
    assert!(user != of(Some(1)) && user > 65535, "each has its own");
    for line in [
        &*format!("Uid:\t{user}\t{user}\t{user}\t{user}"),
        &format!("Gid:\t{user}\t{user}\t{user}\t{user}"),
        "Groups:\t ",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line}\n{status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.status().pid)).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max data size") && line.contains("1073741824")), "{limits}");
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runner_is_replaced() {
    let node = Node::start("kill").await;
    let Status { pid, generation, .. } = node.status();
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
    assert_eq!(node.status().last_end, End::Exited);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_runner_is_replaced_and_its_calls_fail() {
    let node = Node::start("stall").await;
    let generation = node.status().generation;
    let begin = Instant::now();
    let (status, text) = node.call("/RUNNER/spin").await;
    println!("stall ended after {:?}: {text}", begin.elapsed());
    assert_eq!(status, 500);
    assert!(begin.elapsed() < Duration::from_secs(5));
    node.until(|status| status.generation == generation + 1 && status.state == State::Ready).await;
    assert_eq!(node.call("/RUNNER/add/3").await, (200, "3".into()));
    assert!(node.said("stalled: no answer"), "{:?}", node.lines.lock().unwrap());
    let Status { last_end, last_heard, .. } = node.status();
    assert_eq!(last_end, End::Stalled);
    assert!(last_heard > 0 && last_heard < headstart_base::now());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_runner_is_no_stall() {
    let node = Node::start("stop").await;
    let Status { pid, generation, .. } = node.status();
    Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let expected = Status { pid, generation, state: State::Ready, last_end: End::None, last_heard: 0 };
    assert_eq!(node.status(), expected);
    Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert_eq!(node.status().generation, generation);
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
    assert_eq!(node.status().generation, 1);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_rpc_are_answered() {
    let node = Node::start("http").await;
    let ask = async |request: &[u8]| {
        let mut stream = UnixStream::connect(node.folder.join("relay-0.sock")).await.unwrap();
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

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_serves_two_tenants() {
    let node = Node::start("tenants").await;
    let pid_of = |tenant: &str| node.runners.of(tenant).map_or(0, |status| status.pid);
    node.runners.assign(1, "other").await.unwrap();
    assert_eq!(node.call("/OTHER/add/1").await, (200, "1".into()));
    let mut seen = vec![pid_of(TENANT), pid_of("other")];
    // A slot changes hands: what the host says at once after that reaches the next tenant's process.
    for tenant in ["a", "b", "c", "a", "b"] {
        let before = *seen.last().unwrap();
        node.runners.assign(1, tenant).await.unwrap();
        assert_eq!(node.call("/OTHER/add/1").await, (200, "1".into()), "{tenant}");
        let pid = pid_of(tenant);
        assert!(pid != 0 && !seen.contains(&pid), "{tenant}: {pid} of {seen:?}");
        seen.push(pid);
        let begin = Instant::now();
        while alive(before) {
            assert!(begin.elapsed() < LIMIT);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(node.call("/RUNNER/add/1").await, (200, "1".into()));
    assert_eq!(node.status().pid, seen[0]);
    // A tenant's own runner follows it into another slot.
    node.runners.assign(1, TENANT).await.unwrap();
    assert_eq!(node.call("/OTHER/add/2").await, (200, "2".into()));
    assert_eq!(node.status().pid, seen[0]);
    assert_eq!(node.call("/RUNNER/add/1").await.0, 500, "the slot is nobody's");
    node.runners.release(TENANT);
    assert!(node.runners.of(TENANT).is_none());
    assert_eq!(node.call("/OTHER/add/1").await.0, 500);
    assert!(node.runners.assign(2, TENANT).await.is_err());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_one_is_ready_again_soon_after_one_was_taken() {
    let node = Node::start("spare").await;
    let spare = || node.runners.all().into_iter().find(|runner| runner.slot.is_none());
    assert!(spare().is_none());
    let begin = Instant::now();
    while spare().is_none_or(|runner| runner.status.state != State::Ready) {
        assert!(begin.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("a spare one after {:?}", begin.elapsed());
    let pid = spare().unwrap().status.pid;
    node.runners.assign(1, "other").await.unwrap();
    assert_eq!(node.runners.of("other").unwrap().pid, pid);
    assert_eq!(node.call("/OTHER/add/1").await, (200, "1".into()));
    node.end().await;
}

//! Each sandbox on the host's own kernel has a user of its own: what one uses up of the kernel's quotas of a user is no other's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{LIMIT, Node};
use headstart_sandbox::{FileMount, Isolation, Sandbox};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Takes inotify instances, large pipes and pending signals, at most so many of each as its argument says, until the kernel has
/// no more for this user; says how many and who it is, and waits.
const TAKE: &str = "
import ctypes, fcntl, os, resource, signal, sys, time
most = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})

def inotify():
    return libc.inotify_init1(0) >= 0

def pipe():
    try:
        fcntl.fcntl(os.pipe()[0], 1031, 1 << 20)
        return True
    except PermissionError:
        return False

def pending():
    return libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p()) == 0

def count(take):
    had = 0
    while had < most and take():
        had += 1
    return had

print(*(count(take) for take in (inotify, pipe, pending)), os.getuid(), os.getgid(), os.getgroups())
time.sleep(1000)
";
const ENDLESS: u32 = 10_000_000;

/// What one took of each, and its user.
struct Taken {
    counts: [u32; 3],
    user: u32,
    sandbox: Sandbox,
    _lines: mpsc::Receiver<headstart_sandbox::Line>,
}

async fn take(node: &Node, id: &str, most: u32) -> Taken {
    take_in(Isolation::Bubblewrap, node, id, most).await
}

async fn take_in(isolation: Isolation, node: &Node, id: &str, most: u32) -> Taken {
    let mut spec = node.python(id, isolation, TAKE);
    spec.command.push(most.to_string());
    let (sandbox, mut lines) = node.spawn(spec).await;
    let line = tokio::time::timeout(LIMIT, lines.recv()).await.unwrap().unwrap().text;
    let (numbers, groups) = line.split_once('[').unwrap();
    assert_eq!(groups, "]", "no other group");
    let numbers: Vec<u32> =
        numbers.split_whitespace().map(|number| number.parse().unwrap_or_else(|_| unreachable!("{line}"))).collect();
    assert_eq!(numbers[3], numbers[4], "its group has the same number");
    Taken { counts: [numbers[0], numbers[1], numbers[2]], user: numbers[3], sandbox, _lines: lines }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_uses_up_its_own_quotas_and_not_its_neighbours() {
    let node = Node::start("users").await;
    let greedy = take(&node, "i-greedy", ENDLESS).await;
    assert!(greedy.counts.iter().all(|count| (1..ENDLESS).contains(count)), "{:?}", greedy.counts);
    let neighbour = take(&node, "i-neighbour", 3).await;
    assert_eq!(neighbour.counts, [3; 3], "beside one that took {:?}", greedy.counts);
    assert_ne!(neighbour.user, greedy.user);

    let told: HashSet<Option<u32>> =
        node.sandboxes.inventory().sandboxes.into_iter().map(|sandbox| sandbox.user).collect();
    assert_eq!(told, HashSet::from([Some(neighbour.user), Some(greedy.user)]));
    assert_eq!(node.sandboxes.users().used(), 2);

    // A user is given back with all that it had, and comes again late.
    greedy.sandbox.kill().await;
    assert_eq!(node.sandboxes.users().used(), 1);
    let next = take(&node, "i-greedy", 3).await;
    assert!(next.counts == [3; 3] && next.user != greedy.user && next.user != neighbour.user);
    next.sandbox.kill().await;
    neighbour.sandbox.kill().await;
    assert_eq!(node.sandboxes.users().used(), 0);
    node.end().await;
}

/// What its programs take there is its own kernel's, not the machine's.
#[tokio::test(flavor = "multi_thread")]
async fn gvisor_takes_nothing_of_the_machines() {
    let node = Node::start("users-gvisor").await;
    let inside = take_in(Isolation::Gvisor, &node, "i-inside", 100).await;
    assert!(inside.counts[0] == 100 && inside.counts[1] == 100 && inside.counts[2] > 0, "{:?}", inside.counts);
    let owned = &node.sandboxes.inventory().sandboxes[0];
    assert_eq!((owned.user, node.sandboxes.users().used()), (None, 0));
    for pid in &owned.pids {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open: Vec<String> = entries
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .collect();
        let count = |what: &str| open.iter().filter(|target| target.contains(what)).count();
        assert!(count("inotify") == 0 && count("pipe:") < 20, "{open:?}");
    }
    inside.sandbox.kill().await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sandbox_may_write_is_its_users_alone() {
    let node = Node::start("owner").await;
    let file = PathBuf::from("/dev/shm/hs-test-owner");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut spec = node.python(
        "i-owner",
        Isolation::Bubblewrap,
        "open('/tmp/it', 'a').write('x')\nprint('up')\nimport time; time.sleep(1000)",
    );
    spec.files = vec![FileMount { path: "/tmp/it".into(), host: file.clone() }];
    std::fs::create_dir_all(&spec.socket_dir).unwrap();
    let socket = spec.socket_dir.join("app.sock");
    let _ = std::fs::remove_file(&socket);
    let _listener = UnixListener::bind(&socket).unwrap();
    let (sandbox, mut lines) = node.spawn(spec).await;
    assert_eq!(tokio::time::timeout(LIMIT, lines.recv()).await.unwrap().unwrap().text, "up");
    let user = node.sandboxes.inventory().sandboxes[0].user.unwrap();
    for path in [&file, &socket] {
        let metadata = std::fs::metadata(path).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o777),
            (user, user, 0o600),
            "{}",
            path.display()
        );
    }
    sandbox.kill().await;
    std::fs::remove_file(&file).unwrap();
    node.end().await;
}

/// A start that fails gives its user back, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_keeps_no_user() {
    let node = Node::start("userless").await;
    let mut spec = node.python("i-userless", Isolation::Bubblewrap, "");
    spec.bundle = "/nowhere".into();
    let reservation = node.sandboxes.reserve().await.unwrap();
    let (sender, _lines) = mpsc::channel(1);
    assert!(node.sandboxes.spawn(spec, reservation, sender).await.is_err());
    assert_eq!(node.sandboxes.users().used(), 0);
    // Dropped rather than killed: it is reaped beside us.
    drop(node.spawn(node.python("i-userless", Isolation::Bubblewrap, "")).await);
    let begin = std::time::Instant::now();
    while node.sandboxes.users().used() > 0 {
        assert!(begin.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.end().await;
}

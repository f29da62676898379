//! A node that is killed leaves things behind; its next life reaps them, and only them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{LIMIT, Node, leftovers};
use headstart_sandbox::Isolation;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROLE: &str = "HEADSTART_TEST_OWNER";
const TEST: &str = "a_killed_nodes_leftovers_are_reaped_by_its_next_life";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_leftovers_are_reaped_by_its_next_life() {
    if std::env::var_os(ROLE).is_some() {
        own_until_killed().await;
    }
    let other = Node::start("bystander").await;
    let (_stays, _lines) =
        other.spawn(other.python("i-other", Isolation::Bubblewrap, "import time\ntime.sleep(1000)")).await;

    let folder = common::folder("left");
    let tag = headstart_sandbox::tag(&folder.join("run"));
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(ROLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + LIMIT;
    while !folder.join("up").exists() {
        assert!(Instant::now() < end && owner.try_wait().unwrap().is_none());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    let found = leftovers(&tag, &folder);
    for part in [format!("hs-{tag}-"), format!("hsv{tag}"), "rootfs/usr".into(), "i-left-gvisor".into()] {
        assert!(found.iter().any(|name| name.contains(&part)), "{part}: {found:?}");
    }
    std::fs::remove_file(folder.join("up")).unwrap();

    let begin = Instant::now();
    let node = Node::start("left").await;
    println!("a node with leftovers starts in {:?}", begin.elapsed());
    let inventory = node.sandboxes.inventory();
    assert!(inventory.sandboxes.is_empty());
    let found = leftovers(&tag, &folder);
    let ours = |name: &String| {
        inventory.namespaces.contains(name)
            || inventory.links.contains(name)
            || name.contains("rootfs/usr")
            || *name == tag
    };
    assert!(found.iter().all(ours), "{found:?}");
    // Beside another node's, of which it knows nothing.
    let program = "import time\ntime.sleep(1000)";
    let (next, _lines) = node.spawn(node.python("i-next", Isolation::Bubblewrap, program)).await;
    let user = |node: &Node| node.sandboxes.inventory().sandboxes[0].user.unwrap();
    assert_ne!(user(&node), user(&other));
    next.kill().await;
    node.end().await;

    assert_eq!(other.sandboxes.inventory().sandboxes.len(), 1);
    assert!(!other.sandboxes.inventory().sandboxes[0].pids.is_empty());
    other.end().await;
}

/// The node that is going to be killed.
async fn own_until_killed() {
    let node = Node::start("left").await;
    let program = "import time\nprint('up')\ntime.sleep(1000)";
    let mut kept = Vec::new();
    for isolation in [Isolation::Gvisor, Isolation::Bubblewrap] {
        let (sandbox, mut lines) =
            node.spawn(node.python(&format!("i-left-{}", isolation.name()), isolation, program)).await;
        assert_eq!(lines.recv().await.unwrap().text, "up");
        kept.push((sandbox, lines));
    }
    std::fs::write(node.folder.join("up"), "").unwrap();
    tokio::time::sleep(LIMIT).await;
}

//! Images of stopped sandboxes, and what goes on from them. Needs root, runsc and bwrap.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{LIMIT, Node};
use headstart_base::ErrorCode;
use headstart_sandbox::{Boot, IMAGE_FILES, Isolation, Line, Spec};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Keeps something in memory and on its /tmp, says so, and goes on when it is told for whom.
const PROGRAM: &str = "
import os, socket, sys
kept = bytes(range(256)) * (1 << 14)
open('/tmp/kept', 'w').write('kept')
print('ready', flush=True)
who = sys.stdin.read()
names = [name for name in os.listdir('/run/headstart') if name.startswith('of-')]
print(who, kept == bytes(range(256)) * (1 << 14), open('/tmp/kept').read(), names, flush=True)
open(f'/tmp/{who}', 'x').close()
try:
    socket.create_connection(('10.213.255.1', 53), 1)
except OSError as error:
    print(type(error).__name__, flush=True)
";

fn stoppable(node: &Node, id: &str, program: &str) -> Spec {
    Spec { boot: Boot::ToBeStopped, ..node.python(id, Isolation::Gvisor, program) }
}

fn restored(node: &Node, id: &str, program: &str, image: &Path) -> Spec {
    let boot = Boot::Restored { image: image.into(), stdin: id.into() };
    Spec { boot, ..node.python(id, Isolation::Gvisor, program) }
}

async fn next(lines: &mut Receiver<Line>) -> String {
    tokio::time::timeout(LIMIT, lines.recv()).await.expect("a line comes").map_or_else(String::new, |line| line.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_on_many_times() {
    let node = Node::start("restore-many").await;
    let image = node.folder.join("image");
    let _ = std::fs::remove_dir_all(&image);
    let (mut sandbox, mut lines) = node.spawn(stoppable(&node, "i-seed", PROGRAM)).await;
    assert_eq!(next(&mut lines).await, "ready");
    sandbox.checkpoint(&image).await.unwrap();
    // It is over, and has not gone on.
    assert_eq!(tokio::time::timeout(LIMIT, sandbox.wait()).await.unwrap().status, 0);
    sandbox.kill().await;
    assert_eq!(next(&mut lines).await, "");
    for file in IMAGE_FILES {
        assert!(image.join(file).is_file(), "{file}");
    }

    let ids = ["i-one", "i-two"];
    for id in ids {
        let sockets = node.folder.join("run/instances").join(id);
        std::fs::create_dir_all(&sockets).unwrap();
        std::fs::write(sockets.join(format!("of-{id}")), "").unwrap();
    }
    let specs = ids.map(|id| restored(&node, id, PROGRAM, &image));
    let [one, two] = specs;
    let outcomes = tokio::join!(node.run(one), node.run(two));
    for (id, (status, _, out, err)) in [(ids[0], outcomes.0), (ids[1], outcomes.1)] {
        let said = [format!("{id} True kept ['of-{id}']"), "OSError".into()];
        assert_eq!((status, &*out), (0, said.as_slice()), "{err:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_is_no_part_of_an_image() {
    let node = Node::start("restore-open").await;
    let image = node.folder.join("image");
    let _ = std::fs::remove_dir_all(&image);
    let connected = "
import socket, sys
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.connect('/run/headstart/app.sock')
print('ready', flush=True)
sys.stdin.read()
";
    let spec = stoppable(&node, "i-open", connected);
    std::fs::create_dir_all(&spec.socket_dir).unwrap();
    let listener = {
        use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
        use std::os::fd::AsRawFd;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let path = spec.socket_dir.join("app.sock");
        let _ = std::fs::remove_file(&path);
        bind(fd.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&fd, Backlog::new(4).unwrap()).unwrap();
        fd
    };
    let (sandbox, mut lines) = node.spawn(spec).await;
    assert_eq!(next(&mut lines).await, "ready");
    let failed = tokio::time::timeout(LIMIT, sandbox.checkpoint(&image)).await.unwrap().unwrap_err();
    assert_eq!(failed.code, ErrorCode::SandboxFailed, "{failed}");
    sandbox.kill().await;
    drop(listener);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_image_is_an_exit_with_a_message() {
    let node = Node::start("restore-cut").await;
    let image = node.folder.join("image");
    let _ = std::fs::remove_dir_all(&image);
    let (sandbox, mut lines) = node.spawn(stoppable(&node, "i-seed", PROGRAM)).await;
    assert_eq!(next(&mut lines).await, "ready");
    sandbox.checkpoint(&image).await.unwrap();
    sandbox.kill().await;
    for file in IMAGE_FILES {
        let path = image.join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let run = node.run(restored(&node, "i-cut", PROGRAM, &image));
        let (status, _, out, err) = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
        assert!(status != 0 && out.is_empty() && !err.is_empty(), "{file}: {status} {out:?} {err:?}");
        std::fs::write(&path, &whole).unwrap();
    }
    node.end().await;
}

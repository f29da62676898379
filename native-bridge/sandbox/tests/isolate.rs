//! Applications in isolates: real workerd processes in their boxes. Needs root, bwrap and the npm packages.
#![allow(clippy::unwrap_used)]

mod common;

use common::{LIMIT, Node};
use headstart_base::ErrorCode;
use headstart_sandbox::{ISOLATE_ASKS, ISOLATE_SERVES, Isolation, Limits, Spec};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

const HELLO: &str = r#"
import { readdirSync } from "node:fs";
let bomb = [];
export default {
  async fetch(request, { ENV, BRIDGE }) {
    const { pathname } = new URL(request.url);
    console.log("asked", pathname);
    if (pathname === "/loop") for (;;) {}
    if (pathname === "/buffers") for (;;) bomb.push(new Uint8Array(16 << 20).fill(1));
    if (pathname === "/heap") for (let text = "x"; ; text += text.length) bomb.push(text.repeat(1000).split(""));
    if (pathname === "/out") return Response.json(await Promise.all([
      fetch("http://10.213.255.1:1/").then(() => "out", (error) => "refused"),
      fetch("http://127.0.0.1:1/").then(() => "out", (error) => "refused"),
    ]));
    if (pathname === "/bridge") return BRIDGE.fetch("http://bridge/hello");
    return new Response(`${ENV.GREETING} ${await request.text()}`);
  },
};
"#;

/// An isolate's specification; its bridge listens.
fn isolate(node: &Node, id: &str, main: &str) -> (Spec, UnixListener) {
    let bundle = node.folder.join(format!("modules-{id}"));
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::write(bundle.join("app.js"), main).unwrap();
    let spec = Spec { isolation: Isolation::Wasm, command: Vec::new(), bundle, ..node.python(id, Isolation::Wasm, "") };
    std::fs::create_dir_all(&spec.socket_dir).unwrap();
    let asks = spec.socket_dir.join(ISOLATE_ASKS);
    let _ = std::fs::remove_file(&asks);
    let _ = std::fs::remove_file(spec.socket_dir.join(ISOLATE_SERVES));
    (spec, UnixListener::bind(asks).unwrap())
}

/// Connects at once: what is sent waits until workerd has started.
fn ask(folder: &Path, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(folder.join(ISOLATE_SERVES)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = Vec::new();
    // One that is killed resets.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_sees_nothing_but_the_bridge() {
    let node = Node::start("isolate-hello").await;
    let (spec, bridge) = isolate(&node, "i-hello", HELLO);
    let folder = spec.socket_dir.clone();
    let (sandbox, mut lines) = node.spawn(spec).await;
    let asked = folder.clone();
    let answers = tokio::task::spawn_blocking(move || ["/", "/out"].map(|path| ask(&asked, path, "world")));
    let [hello, out] = answers.await.unwrap();
    assert!(hello.starts_with("HTTP/1.1 200") && hello.ends_with("hello world"), "{hello}");
    assert!(out.ends_with(r#"["refused","refused"]"#), "{out}");
    // What workerd itself says of "/out" comes by another pipe.
    while lines.recv().await.expect("it logs that it was asked").text != "asked /" {}
    let answering = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = bridge.accept().unwrap();
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbytes").unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let asked = folder.clone();
    let got = tokio::task::spawn_blocking(move || ask(&asked, "/bridge", "")).await.unwrap();
    assert!(got.ends_with("bytes"), "{got}");
    assert!(answering.await.unwrap().starts_with("GET /hello HTTP/1.1\r\n"));
    let owned = &node.sandboxes.inventory().sandboxes[0];
    let status = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let workerd = owned.pids.iter().filter_map(status).find(|status| status.starts_with("Name:\tworkerd\n")).unwrap();
    let user = owned.user.unwrap();
    assert!(workerd.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}\n")) && user > 65535, "{workerd}");
    sandbox.kill().await;
    std::fs::remove_dir_all(folder).unwrap();
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_bounds_is_ended() {
    let node = Node::start("isolate-bounds").await;
    for path in ["/buffers", "/heap"] {
        let (mut spec, _bridge) = isolate(&node, &format!("i{}", path.replace('/', "-")), HELLO);
        spec.limits = Limits { memory: 64 << 20, ..spec.limits };
        let folder = spec.socket_dir.clone();
        let (mut sandbox, _lines) = node.spawn(spec).await;
        let asking = tokio::task::spawn_blocking(move || ask(&folder, path, ""));
        let exit = tokio::time::timeout(LIMIT, sandbox.wait()).await.expect("it ends");
        assert!(exit.status != 0 && exit.oom, "{path} {exit:?}");
        sandbox.kill().await;
        assert!(!asking.await.unwrap().contains("200 OK"));
    }
    let (spec, _bridge) = isolate(&node, "i-loop", HELLO);
    let folder = spec.socket_dir.clone();
    let (sandbox, mut lines) = node.spawn(spec).await;
    let asking = tokio::task::spawn_blocking(move || ask(&folder, "/loop", ""));
    while lines.recv().await.expect("it logs that it was asked").text != "asked /loop" {}
    sandbox.kill().await;
    assert_eq!(asking.await.unwrap(), "");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_application_is_refused_or_says_why_it_ends() {
    let node = Node::start("isolate-bad").await;
    let (spec, _bridge) = isolate(&node, "i-none", HELLO);
    std::fs::remove_file(spec.bundle.join("app.js")).unwrap();
    let (sender, _lines) = tokio::sync::mpsc::channel(1);
    let reservation = node.sandboxes.reserve().await.unwrap();
    let refused = node.sandboxes.spawn(spec, reservation, sender).await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    let (spec, _bridge) = isolate(&node, "i-syntax", "export default {");
    let (status, oom, _, errors) = node.run(spec).await;
    assert!(status != 0 && !oom && errors.concat().contains("SyntaxError"), "{status} {errors:?}");
    node.end().await;
}

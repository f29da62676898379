//! Snapshots, with a program that speaks the application's socket itself. Needs root and runsc.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask};
use common::given::ask;
use common::host::{self, Events, Host, Seen, beside, start, stop};
use common::server::Server;
use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;
use headstart_base::bridge_capnp::instance;

/// Says what it is not given before it is stopped, and answers one event where it goes on.
const PROGRAM: &str = r#"
import socket, struct, sys
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("/run/headstart/app.sock")
    return s
def ask(s, op, id=0, flags=0, payload=b""):
    s.send(struct.pack("<HHIIIQQQQIIQ", 1, op, 1, flags, len(payload), id, 0, 0, 0, 0, 0, 0) + payload)
    answer = s.recv(4096)
    return struct.unpack_from("<HHIIIQQQQIIQ", answer)[9], answer[64:]
s = connect()
before = [ask(s, op)[0] for op in (2, 6, 11, 14)]
ready = ask(s, 15)[0]
s.close()
told = sys.stdin.read()
s = connect()
instance = ask(s, 1, payload=b"test")[1].decode()
event = ask(s, 6)[1]
ask(s, 7, 1, 16, b'{"status":200,"headers":[]}')
ask(s, 7, 1, 8 | 32, f"{before} {ready} {told == f'HEADSTART_INSTANCE={instance}' + chr(0)} {event}".encode())
ask(s, 6)
"#;
const SAYS: &str = "[35, 49, 35, 49] 0 True b'event'";

async fn put(host: &Host, bridge: &Bridge, digest: &str, name: &str, program: &str) -> ErrorCode {
    let (archive, bundle) = host::archive("app.py", program.as_bytes());
    host::put_bundle(&bridge.socket(), &bundle, &archive);
    host.put(digest, &bundle, |mut function| {
        function.set_name(name);
        function.set_isolation("snapshot");
    })
    .await
}

/// One start: the answer, and how long the making of its snapshot was said to be.
async fn run(host: &Host, bridge: &Bridge, digest: &str) -> (String, bool) {
    let (instance, id) = host.create().await;
    assert_eq!(start(&instance, digest, instance::Mode::NoInitscript).await, ErrorCode::Ok);
    let socket = bridge.socket();
    let answer = beside(move || host::invoke(&socket, &id, b"event")).await;
    stop(&instance).await;
    let mut events = Events::of(&instance);
    events.find(|event| matches!(event, Seen::Ended { .. }).then_some(())).await;
    let made = |event: &Seen| matches!(event, Seen::Noted(text) if text.starts_with("snapshot of "));
    (answer, events.all.iter().any(made))
}

/// Those that are whole: what was dropped is removed aside.
fn kept(bridge: &Bridge) -> usize {
    let folders = std::fs::read_dir(bridge.state().join("snapshots")).unwrap();
    folders.filter(|folder| !folder.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
}

#[test]
fn one_is_made_once_and_goes_with_its_version() {
    let mut bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(put(&host, &bridge, "one", "f", PROGRAM).await, ErrorCode::Ok);
        for made in [true, false] {
            let (answer, was_made) = run(&host, &bridge, "one").await;
            assert!(answer.contains(SAYS), "{answer}");
            assert_eq!(was_made, made);
        }
        let inventory = bridge.get("/inventory").unwrap();
        assert!(inventory.contains(r#""function":"f""#) && inventory.contains(r#""version":"one""#), "{inventory}");
        host.cut().await;
    });
    bridge.restart_hard();
    host::test(async {
        let host = Host::connect(&bridge).await;
        // Another function's put leaves it alone, and its own other version does not.
        assert_eq!(put(&host, &bridge, "one", "f", PROGRAM).await, ErrorCode::Ok);
        assert_eq!(put(&host, &bridge, "other", "g", PROGRAM).await, ErrorCode::Ok);
        assert_eq!(kept(&bridge), 1);
        let (answer, made) = run(&host, &bridge, "one").await;
        assert!(answer.contains(SAYS) && !made, "{answer}");
        assert_eq!(put(&host, &bridge, "two", "f", PROGRAM).await, ErrorCode::Ok);
        assert_eq!(kept(&bridge), 0);
        assert!(run(&host, &bridge, "two").await.1);
        let mut drop = host.bridge.drop_function_request();
        drop.get().set_digest("two");
        drop.send().promise.await.unwrap();
        assert_eq!(kept(&bridge), 0);
    });
}

/// Overwrites the beginning of a file of the only snapshot.
fn damage(bridge: &Bridge, file: &str) {
    let folder = std::fs::read_dir(bridge.state().join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::File::options().write(true).open(folder.join(file)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 0).unwrap();
}

#[test]
fn a_damaged_one_is_made_anew_before_a_start_or_by_it() {
    let mut bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(put(&host, &bridge, "one", "f", PROGRAM).await, ErrorCode::Ok);
        assert!(run(&host, &bridge, "one").await.1);
        // Its files were looked at in this life, so that only the start finds out.
        damage(&bridge, "checkpoint.img");
        let (answer, made) = run(&host, &bridge, "one").await;
        assert!(answer.contains(SAYS) && made, "{answer}");
        host.cut().await;
    });
    bridge.restart_hard();
    damage(&bridge, "pages.img");
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(put(&host, &bridge, "one", "f", PROGRAM).await, ErrorCode::Ok);
        for made in [true, false] {
            let (answer, was_made) = run(&host, &bridge, "one").await;
            assert!(answer.contains(SAYS), "{answer}");
            assert_eq!(was_made, made);
        }
    });
}

#[test]
fn what_cannot_be_one_is_a_typed_error() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        for (program, says) in [
            ("import sys; sys.exit(3)", "status 3 before it was ready"),
            (&*PROGRAM.replace("s.close()", "other = connect()"), "keeps a connection to the bridge open"),
            (&*PROGRAM.replace("ready = ask(s, 15)", "ready = ask(s, 15, 0, 64, b'no weights')"), "no weights"),
        ] {
            assert_eq!(put(&host, &bridge, "bad", "f", program).await, ErrorCode::Ok);
            let (answer, _) = run(&host, &bridge, "bad").await;
            assert!(answer.contains("snapshotFailed") && answer.contains(says), "{says}: {answer}");
            assert_eq!(kept(&bridge), 0);
        }
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let (_, told) = ask(App::connect(&bridge.app_socket(&id)), AppOp::Checkpoint, Ask::default()).await;
        assert_eq!(told.error, ErrorCode::Unsupported);
        stop(&instance).await;
    });
}

#[test]
fn they_have_room_for_so_many_bytes() {
    let bridge = Bridge::start_with(&serde_json::json!({ "snapshots": { "bytes": 1000 } }));
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(put(&host, &bridge, "large", "f", PROGRAM).await, ErrorCode::Ok);
        let (answer, _) = run(&host, &bridge, "large").await;
        assert!(answer.contains("snapshotFailed") && answer.contains("at most 1000"), "{answer}");
        assert_eq!(kept(&bridge), 0);
    });
}

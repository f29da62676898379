//! The process: a whole function in a sandbox, memory, shutdown, a second bridge, leftovers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, map};
use common::host::{self, Events, Fill, Host, Seen, beside, connect, reply, send, start, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;
use headstart_base::bridge_capnp::instance;

/// An application that answers with its event in capitals, speaking the packets by itself.
const UPPER: &str = r#"
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(os.environ["HEADSTART_SOCKET"])
number = 0
def ask(op, flags=0, id=0, a=0, b=0, c=0, payload=b""):
    global number
    number += 1
    s.send(struct.pack("<HHIIIQQQQIIQ", 1, op, number, flags, len(payload), id, a, b, c, 0, 0, 0) + payload)
    packet = s.recv(4096)
    head = struct.unpack("<HHIIIQQQQIIQ", packet[:64])
    return head, packet[64:]
ask(1, payload=b"upper 1")
print("READY to serve", flush=True)
while True:
    head, event = ask(6)
    if head[9] != 0:
        sys.exit(0)
    if event == b"die":
        os._exit(3)
    if event == b"fill":
        hog = bytearray(1 << 30)
    ask(7, flags=16, id=head[5], payload=b'{"status":200}')
    ask(7, flags=8 | 32, id=head[5], payload=event.upper())
"#;

async fn upper(bridge: &Bridge, host: &Host, mode: instance::Mode) -> (instance::Client, String) {
    let (archive, bundle) = host::archive("app.py", UPPER.as_bytes());
    let (socket, name) = (bridge.socket(), bundle.clone());
    beside(move || host::put_bundle(&socket, &name, &archive)).await;
    let code = host
        .put("upper", &bundle, |mut function| {
            function.set_marks(&["READY"][..]).unwrap();
            function.init_limits().set_memory(128 << 20);
        })
        .await;
    assert_eq!(code, ErrorCode::Ok);
    let (instance, id) = host.create().await;
    assert_eq!(start(&instance, "upper", mode).await, ErrorCode::Ok);
    (instance, id)
}

async fn invoke(bridge: &Bridge, id: &str, event: &'static [u8]) -> String {
    let (socket, id) = (bridge.socket(), id.to_owned());
    beside(move || host::invoke(&socket, &id, event)).await
}

#[test]
fn a_function_in_a_sandbox_answers() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        assert!(invoke(&bridge, &id, b"hello").await.contains("HELLO"));
        assert!(invoke(&bridge, &id, b"again").await.contains("AGAIN"));
        let mut events = Events::of(&instance);
        events.find(|event| matches!(event, Seen::Answered { invocation: 2, .. }).then_some(())).await;
        let has = |wanted: &dyn Fn(&Seen) -> bool| assert!(events.all.iter().any(wanted), "{:?}", events.all);
        has(&|event| matches!(event, Seen::SandboxCreated(pid) if *pid > 1));
        has(&|event| *event == Seen::AppConnected("upper 1".into()));
        let logs = bridge.get(&format!("/logs?instance={id}")).unwrap();
        assert!(logs.contains("READY to serve"), "{logs}");
        let inventory = bridge.get("/inventory").unwrap();
        assert!(inventory.contains(&id), "{inventory}");
        assert!(bridge.get("/metrics").unwrap().contains("headstart_bridge_instances 1"));
        host::stop(&instance).await;
        events.ended().await;
        assert!(events.all.contains(&Seen::Mark("READY to serve".into())), "{:?}", events.all);
    });
}

#[test]
fn an_application_that_exits_is_told_and_reaped() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        let answer = invoke(&bridge, &id, b"die").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("appExited"), "{answer}");
        let mut events = Events::of(&instance);
        events.ended().await;
        assert!(events.all.contains(&Seen::Exited { status: 3, error: ErrorCode::AppExited }), "{:?}", events.all);
        assert!(!bridge.app_socket(&id).exists());

        let (instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        let answer = invoke(&bridge, &id, b"fill").await;
        assert!(answer.contains("instanceMemoryFull") || answer.contains("appExited"), "{answer}");
        Events::of(&instance).ended().await;
    });
}

#[test]
fn a_body_is_written_once_into_memory_that_the_application_maps() {
    const BYTES: usize = 200 << 20;
    let bridge = Bridge::start_with(&serde_json::json!({ "memory": { "node_bytes": 1 << 30, "pool": [] } }));
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |mut limits| limits.set_results(1 << 30)).await;
        let batch: [&Fill; 3] = [
            &connect(1, &server.address),
            &send(1, 1, "GET /bytes/1000\n\n"),
            &send(1, 2, &format!("GET /bytes/{BYTES}\n\n")),
        ];
        assert_eq!(submit(&instance, &batch[..2]).await, ErrorCode::Ok);
        Events::of(&instance).done(1).await;
        let before = bridge.rss_anon();
        assert_eq!(submit(&instance, &[batch[2], &reply(2, 2)]).await, ErrorCode::Ok);
        Events::of(&instance).done(2).await;
        let grown = bridge.rss_anon().saturating_sub(before);
        assert!(grown < 4 << 20, "the bridge's private memory grew by {grown} bytes");

        let mut app = App::connect(&bridge.app_socket(&id));
        let told = beside(move || app.ask(AppOp::RecvMsg, &Ask { id: 2, ..Ask::default() })).await;
        let file = told.file.unwrap();
        let inode = nix::sys::stat::fstat(&file).unwrap().st_ino;
        assert_eq!(&map(&file)[told.offset as usize..][..BYTES], pattern(BYTES));
        // The bridge maps the same inode.
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", bridge.pid())).unwrap();
        let mapped = maps
            .lines()
            .any(|line| line.contains("headstart:") && line.split_whitespace().nth(4) == Some(&inode.to_string()));
        assert!(mapped, "{maps}");
    });
}

#[test]
fn a_full_disk_has_its_code() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let bridge = Bridge::start();
    let bundles = bridge.state().join("bundles");
    mount(Some("tmpfs"), &bundles, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
    let (archive, digest) = host::archive("big", &vec![1; 3 << 20]);
    let answer = host::put_bundle(&bridge.socket(), &digest, &archive);
    let left = std::fs::read_dir(&bundles).unwrap().count();
    umount2(&bundles, MntFlags::MNT_DETACH).unwrap();
    assert!(answer.starts_with("HTTP/1.1 507") && answer.contains("diskFull"), "{answer}");
    assert_eq!(left, 0, "nothing half received stays");
}

#[test]
fn sigterm_drains() {
    let mut bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        assert!(invoke(&bridge, &id, b"warm").await.contains("WARM"));
        bridge.terminate();
        let mut events = Events::of(&instance);
        assert!(matches!(events.ended().await, Seen::Ended { reason, .. } if reason.contains("shutting down")));
    });
    assert_eq!(bridge.wait_end(), Some(0));
    assert!(!bridge.socket().exists());
}

#[test]
fn a_second_bridge_says_so_in_one_line() {
    let bridge = Bridge::start();
    let (printed, status) = bridge.second();
    assert_eq!(status, 1);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("another bridge is running"), "{printed}");
    assert!(bridge.get("/healthz").unwrap().contains("\"status\":\"ok\""), "the first one is not harmed");
}

#[test]
fn a_restarted_bridge_reaps_what_a_killed_one_left() {
    let mut bridge = Bridge::start();
    let mut left = String::new();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        assert!(invoke(&bridge, &id, b"up").await.contains("UP"));
        left = id;
    });
    bridge.restart_hard();
    assert!(!bridge.app_socket(&left).exists());
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(host.attach(&left).await.err(), Some(ErrorCode::UnknownInstance));
        let (_instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        assert!(invoke(&bridge, &id, b"up").await.contains("UP"));
    });
}

#[test]
fn the_bridge_and_what_it_starts_have_no_privilege_that_is_not_needed() {
    let bridge = Bridge::start();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", bridge.pid())).unwrap();
    let statuses: Vec<String> =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap()).collect();
    assert!(statuses.len() > 2);
    for status in statuses {
        // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_CHROOT, SYS_PTRACE,
        // SYS_ADMIN, SYS_RESOURCE.
        let needed = 0x012c_11ff;
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{set}:\t"))).unwrap();
            assert_eq!(u64::from_str_radix(line, 16).unwrap() & !needed, 0, "{set}\n{status}");
        }
        for line in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line}\n{status}");
        }
    }
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_instance, id) = upper(&bridge, &host, instance::Mode::NoInitscript).await;
        assert!(invoke(&bridge, &id, b"works").await.contains("WORKS"));
    });
}

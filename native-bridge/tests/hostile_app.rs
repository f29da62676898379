//! An application that does not follow the protocol.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::os::fd::AsRawFd;
use std::sync::Arc;

use common::Bridge;
use common::app::{App, Ask};
use common::given::{about, receive};
use common::host::{self, Events, Host, Seen, beside, stop};
use common::server::Server;
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_BEGIN, FLAG_END, FLAG_ERROR, FLAG_INLINE, FLAG_NO_FD, FLAG_PROGRESSIVE};

#[test]
fn malformed_packets_end_the_connection_and_their_fds_are_closed() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mine = tempfile::NamedTempFile::new().unwrap();
        let held = || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", bridge.pid())).unwrap().flatten();
            fds.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == mine.path())).count()
        };
        let mut first = App::connect(&bridge.app_socket(&id));
        assert_eq!(first.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
        let mut hello = vec![0; 64];
        (hello[0], hello[2]) = (1, 1);
        for count in [1, 4, 9, 253] {
            first.send_raw(&hello, &vec![mine.as_file().as_raw_fd(); count]);
            assert_eq!(first.receive().unwrap().error, ErrorCode::Ok);
        }
        assert_eq!(held(), 0, "no fd stays");

        let mut long = vec![0; 5000];
        (long[0], long[2]) = (1, 1);
        for packet in [vec![1], vec![0; 64], vec![9; 64], vec![9; 4096], long] {
            let mut app = App::connect(&bridge.app_socket(&id));
            app.send_raw(&packet, &[]);
            assert_eq!(app.receive().unwrap().error, ErrorCode::Protocol);
            assert!(app.receive().is_none(), "the connection is closed");
        }
        assert_eq!(first.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok, "others are not touched");
        for op in [AppOp::Await, AppOp::Free] {
            assert_eq!(
                first.ask(op, &Ask { a: u64::MAX, b: u64::MAX, c: u64::MAX, ..Ask::default() }).error,
                ErrorCode::NotFound
            );
        }
        assert_eq!(first.ask(AppOp::Outbox, &Ask { a: u64::MAX, ..Ask::default() }).error, ErrorCode::InvalidArgument);
        assert_eq!(first.ask(AppOp::Respond, &Ask { id: 3, ..Ask::default() }).error, ErrorCode::InvalidArgument);
    });
}

/// Packets with a whole header and random fields, from many connections: the bridge answers or closes, and lives.
#[test]
fn random_requests_harm_nobody() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let path = bridge.app_socket(&id);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        beside(move || {
            let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let file = tempfile::tempfile().unwrap();
            let files = [pair.as_raw_fd(), tcp.as_raw_fd(), file.as_raw_fd()];
            let edges = [0, 1, 2, 63, 4096, 65_536, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
            for _ in 0..60 {
                let mut app = App::connect(&path);
                for _ in 0..20 {
                    let op = AppOp::try_from((next() % 14 + 1) as u16).unwrap();
                    let mut number = || edges[(next() % 9) as usize];
                    let (id, a, b, c) = (number(), number(), number(), number());
                    let length = (next() % 200) as usize;
                    let payload = (0..length).map(|_| next() as u8).collect();
                    let flags = next() as u32
                        & (FLAG_PROGRESSIVE | FLAG_INLINE | FLAG_BEGIN | FLAG_END | FLAG_ERROR | FLAG_NO_FD);
                    let files = vec![files[(next() % 3) as usize]; [0, 0, 1, 1, 3, 253][(next() % 6) as usize]];
                    let told = app.ask_with(op, &Ask { flags, id, a, b, c, deadline: 1, payload }, &files);
                    if told.error == ErrorCode::Protocol {
                        break;
                    }
                }
            }
        })
        .await;
        assert_eq!(App::connect(&bridge.app_socket(&id)).ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
        stop(&instance).await;
        Events::of(&instance).ended().await;
        assert!(bridge.get("/healthz").unwrap().contains("ok"));
    });
}

#[test]
fn connections_are_bounded() {
    let bridge = Bridge::start_with(&serde_json::json!({ "limits": { "app_connections": 2 } }));
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut apps: Vec<App> = (0..2).map(|_| App::connect(&bridge.app_socket(&id))).collect();
        for app in &mut apps {
            assert_eq!(app.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
        }
        let mut third = App::connect(&bridge.app_socket(&id));
        assert!(third.receive().is_none());
        drop(apps);
        host::pause(100).await;
        let mut fourth = App::connect(&bridge.app_socket(&id));
        assert_eq!(fourth.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
    });
}

/// Each that waits costs the host a look with each that comes, and the host is everybody's.
#[test]
fn claims_that_wait_are_bounded_also_of_connections_that_were_left() {
    // Those that were left are there for a moment.
    let bridge = Bridge::start_with(&serde_json::json!({ "limits": { "app_connections": 2048 } }));
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut events = Events::of(&instance);
        for (op, ask, refused) in [
            (AppOp::RecvMsg, receive(5, ""), receive(6, "")),
            (AppOp::GetConn, about(5, "tcp://h:1"), about(6, "tcp://h:1")),
        ] {
            for _ in 0..512 {
                let mut app = App::connect(&bridge.app_socket(&id));
                app.send(op, &ask);
                events.find(|seen| matches!(seen, Seen::Claimed { .. } | Seen::ClaimedConn { .. }).then_some(())).await;
            }
            let path = bridge.app_socket(&id);
            let told = beside(move || App::connect(&path).ask(op, &refused)).await;
            assert_eq!(told.error, ErrorCode::TooMany);
        }
        stop(&instance).await;
        events.ended().await;
        // The last ones of the others may still have waited.
        let told = |seen: &&Seen| matches!(seen, Seen::Served { id: 6, .. } | Seen::ConnTaken { id: 6, .. });
        assert_eq!(events.all.iter().find(told), None, "the host has heard nothing of what it was not asked about");
    });
}

#[test]
fn what_calls_send_counts_as_long_as_they_are_under_way() {
    const BODY: u64 = 8 << 20;
    // What is answered takes some, too.
    let node_bytes = 8 * BODY + (1 << 20);
    let bridge = Bridge::start_with(&serde_json::json!({ "memory": { "node_bytes": node_bytes, "pool": [] } }));
    let server = Arc::new(Server::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut events = Events::of(&instance);
        let call =
            Ask { b: BODY, payload: format!("PUT {}/slow/10\n\n", server.address).into_bytes(), ..Ask::default() };
        let mut under_way = 0;
        loop {
            let (path, call, server) = (bridge.app_socket(&id), call.clone(), Arc::clone(&server));
            let refused = beside(move || {
                let mut app = App::connect(&path);
                // Those of the connections before go with them, in a moment.
                while app.ask(AppOp::Outbox, &Ask { a: BODY, ..Ask::default() }).error != ErrorCode::Ok {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                app.send(AppOp::Call, &call);
                while server.seen("PUT /slow/10") == under_way {
                    if app.is_answered() {
                        return app.receive().map(|told| told.error);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                None
            });
            if let Some(error) = refused.await {
                assert_eq!(error, ErrorCode::NodeMemoryFull);
                break;
            }
            under_way += 1;
            assert!(under_way < 8, "more than the node may hold");
        }
        assert_eq!(under_way, 7, "with the outbox there is room for no more");
        server.open();
        for _ in 0..under_way {
            events.find(|seen| matches!(seen, Seen::Called { error: ErrorCode::Ok, .. }).then_some(())).await;
        }
        let path = bridge.app_socket(&id);
        let told = beside(move || {
            let mut app = App::connect(&path);
            assert_eq!(app.ask(AppOp::Outbox, &Ask { a: BODY, ..Ask::default() }).error, ErrorCode::Ok);
            app.ask(AppOp::Call, &call)
        });
        assert_eq!(told.await.error, ErrorCode::Ok, "all was given back");
    });
}

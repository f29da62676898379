//! An application that does not follow the protocol.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::os::fd::AsRawFd;

use common::Bridge;
use common::app::{App, Ask};
use common::host::{self, Events, Host, beside, stop};
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

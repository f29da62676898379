//! Connections that go from the script to the application and back, in a real bridge.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use common::Bridge;
use common::app::App;
use common::given::{SOCKET, SPLICED, TLS, about, ask, line, started, status, stream};
use common::host::{self, Events, Host, Seen, beside, connect, decide, pause, send, stop, submit, transfer};
use common::lines::{Lines, numbered};
use common::secure::Secure;
use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;
use headstart_base::bridge_capnp::conn_taken;

#[test]
fn no_byte_is_lost_or_repeated_at_the_hand_over() {
    const BYTES: usize = 5_000_000;
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        for (isolation, kind, taken) in
            [("bubblewrap", SOCKET, conn_taken::Kind::Socket), ("gvisor", SPLICED, conn_taken::Kind::Spliced)]
        {
            let (instance, id) = started(&host, &bridge, isolation, &[lines.address()]).await;
            // The server sends the bytes right behind its answer: some of them are there before the connection changes hands.
            let code = submit(
                &instance,
                &[
                    &connect(1, &lines.framed()),
                    &send(1, 1, "echo one"),
                    &send(1, 2, &format!("stream {BYTES}")),
                    &transfer(7, &lines.framed(), 1),
                ],
            )
            .await;
            assert_eq!(code, ErrorCode::Ok);
            let mut events = Events::of(&instance);
            let Seen::Done { inlined, .. } = events.done(1).await else { panic!() };
            assert_eq!(inlined, b"one");
            let Seen::Done { inlined, .. } = events.done(2).await else { panic!() };
            assert_eq!(inlined, b"ok");
            let app = App::connect(&bridge.app_socket(&id));
            let (app, mut told) = ask(app, AppOp::GetConn, about(7, &lines.address())).await;
            assert_eq!((told.error, told.status, told.segment), (ErrorCode::Ok, kind, 1), "{}", told.text());
            assert_eq!(told.text(), lines.at);
            if kind == SOCKET {
                assert!(is_pinned(told.file.as_ref().unwrap()), "it cannot be taken to another server");
            }
            let mut stream = stream(&mut told);
            let mut stream = beside(move || {
                let mut bytes = vec![0; BYTES];
                stream.read_exact(&mut bytes).unwrap();
                assert!(bytes == numbered(BYTES));
                assert_eq!(line(&mut *stream, "echo here"), "here\n");
                stream
            })
            .await;
            let (app, told) = ask(app, AppOp::GetConn, about(7, &lines.address())).await;
            assert_eq!(told.error, ErrorCode::AlreadyClaimed);
            let (app, told) = status(app, 1).await;
            match kind {
                SOCKET => assert_eq!(told.error, ErrorCode::Unsupported),
                _ => assert_eq!((told.status, told.length, told.total), (0, BYTES as u64 + 5, 10)),
            }
            beside(move || {
                stream.half_close();
                assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
            })
            .await;
            if kind == SPLICED {
                let (_, told) = status(app, 1).await;
                assert_eq!((told.status, told.id), (1, 0));
                let closed = Seen::ConnClosed { id: 7, received: BYTES as u64 + 5, sent: 10, error: ErrorCode::Ok };
                events.find(|event| (*event == closed).then_some(())).await;
            }
            stop(&instance).await;
            events.ended().await;
            let address = lines.framed();
            assert!(events.all.contains(&Seen::ConnReady { id: 7, address: address.clone(), error: ErrorCode::Ok }));
            assert!(events.all.contains(&Seen::ConnTaken { id: 7, address, kind: taken, error: ErrorCode::Ok }));
        }
        assert_eq!(lines.accepted(), 2);
    });
}

/// Whether a socket has a filter that nobody can take off (SO_LOCK_FILTER). What it does, its own test says.
fn is_pinned(socket: &OwnedFd) -> bool {
    let mut locked: nix::libc::c_int = 0;
    let mut size = size_of::<nix::libc::c_int>() as nix::libc::socklen_t;
    // SAFETY: the descriptor is open, and both pointers are valid for what is written.
    let done = unsafe {
        let (level, option) = (nix::libc::SOL_SOCKET, nix::libc::SO_LOCK_FILTER);
        nix::libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut locked).cast(), &raw mut size)
    };
    done == 0 && locked == 1
}

#[test]
fn a_claim_waits_for_the_rpcs_on_the_connection_or_for_the_hosts_word() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
        let mut events = Events::of(&instance);
        let claimed = |event: &Seen| match event {
            Seen::ClaimedConn { claim, id, address } => Some((*claim, *id, address.clone())),
            _ => None,
        };
        let app = App::connect(&bridge.app_socket(&id));
        let waiting = tokio::task::spawn_local(ask(app, AppOp::GetConn, about(1, &lines.address())));
        let (claim, of, address) = events.find(claimed).await;
        assert_eq!((of, address), (1, lines.address()));
        assert_eq!(submit(&instance, &[&decide(claim, ErrorCode::Miss)]).await, ErrorCode::Ok);
        let (app, told) = waiting.await.unwrap();
        assert_eq!(told.error, ErrorCode::Miss);

        // Messages have ids of their own.
        let waiting = tokio::task::spawn_local(ask(app, AppOp::GetConn, about(2, &lines.address())));
        events.find(claimed).await;
        let batch: [&host::Fill; 4] = [
            &host::data(2, b"two", ""),
            &connect(1, &lines.framed()),
            &send(1, 1, "wait"),
            &transfer(2, &lines.framed(), 1),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        pause(100).await;
        assert!(!waiting.is_finished(), "an RPC is under way");
        lines.open_gate();
        let (app, mut told) = waiting.await.unwrap();
        let mut stream = stream(&mut told);
        assert!(matches!(events.done(1).await, Seen::Done { error: ErrorCode::Ok, .. }));
        beside(move || assert_eq!(line(&mut *stream, "echo mine"), "mine\n")).await;

        // Who handed it over has it no more.
        assert_eq!(submit(&instance, &[&send(1, 2, "echo no")]).await, ErrorCode::Ok);
        assert!(matches!(events.done(2).await, Seen::Done { error: ErrorCode::InvalidArgument, .. }));
        for (wrong, code) in [
            (transfer(2, &lines.address(), 1), ErrorCode::AlreadyExists),
            (transfer(3, &lines.address(), 9), ErrorCode::InvalidArgument),
        ] {
            assert_eq!(submit(&instance, &[&wrong]).await, code);
        }
        let (_, told) = ask(app, AppOp::GetConn, common::app::Ask { deadline: 50, ..about(3, &lines.address()) }).await;
        assert_eq!(told.error, ErrorCode::Deadline);
    });
}

#[test]
fn what_cannot_be_had_is_said_at_get_conn() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let allowed = [lines.address(), "tcp://127.0.0.1:1".to_owned(), "GET http://127.0.0.1:2/*".to_owned()];
        let (instance, id) = started(&host, &bridge, "bubblewrap", &allowed).await;
        let batch: [&host::Fill; 12] = [
            &connect(1, &lines.framed()),
            &send(1, 1, "quit"),
            &transfer(1, &lines.address(), 1),
            &connect(2, &lines.framed()),
            &transfer(2, &lines.address(), 2),
            &connect(3, "tcp://127.0.0.1:1"),
            &transfer(3, "tcp://127.0.0.1:1", 3),
            &connect(4, "tcp://127.0.0.9:5"),
            &transfer(4, "tcp://127.0.0.9:5", 4),
            // To say what one likes on it is more than GET.
            &connect(5, "http://127.0.0.1:2"),
            &transfer(5, "http://127.0.0.1:2", 5),
            &connect(6, "nonsense"),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        assert!(matches!(events.done(1).await, Seen::Done { error: ErrorCode::ConnectionReset, .. }));
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        assert_eq!(told.error, ErrorCode::ConnectionReset);
        let (app, mut told) = ask(app, AppOp::GetConn, about(2, &lines.address())).await;
        // Idle, and closed by the server before it is got.
        beside(move || stream(&mut told).write_all(b"quit\n").unwrap()).await;
        let batch: [&host::Fill; 2] = [&connect(7, &lines.framed()), &transfer(7, &lines.address(), 7)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut app = app;
        for (number, address, code) in [
            (3, "tcp://127.0.0.1:1", ErrorCode::ConnectFailed),
            (4, "tcp://127.0.0.9:5", ErrorCode::EgressDenied),
            (5, "http://127.0.0.1:2", ErrorCode::EgressDenied),
        ] {
            let told;
            (app, told) = ask(app, AppOp::GetConn, about(number, address)).await;
            assert_eq!(told.error, code, "{address}: {}", told.text());
        }
        let denied = |event: &Seen| matches!(event, Seen::ConnTaken { id: 5, error: ErrorCode::EgressDenied, .. });
        events.find(|event| denied(event).then_some(())).await;
    });
}

#[test]
fn a_connection_that_the_server_has_closed_is_reported_dead() {
    let bridge = Bridge::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    host::test(async {
        let host = Host::connect(&bridge).await;
        for isolation in ["bubblewrap", "gvisor"] {
            let (instance, id) = started(&host, &bridge, isolation, std::slice::from_ref(&address)).await;
            let batch: [&host::Fill; 2] = [&connect(1, &address), &transfer(1, &address, 1)];
            assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
            let mut events = Events::of(&instance);
            events.find(|event| matches!(event, Seen::ConnReady { error: ErrorCode::Ok, .. }).then_some(())).await;
            drop(listener.accept().unwrap());
            pause(50).await;
            let app = App::connect(&bridge.app_socket(&id));
            let (_, told) = ask(app, AppOp::GetConn, about(1, &address)).await;
            assert_eq!(told.error, ErrorCode::ConnectionReset);
            events
                .find(|event| matches!(event, Seen::ConnTaken { error: ErrorCode::ConnectionReset, .. }).then_some(()))
                .await;
        }
    });
}

#[test]
fn a_reset_is_no_end() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "gvisor", &[lines.address()]).await;
        let batch: [&host::Fill; 2] = [&connect(1, &lines.framed()), &transfer(1, &lines.address(), 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let (app, mut told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        let mut stream = stream(&mut told);
        beside(move || {
            stream.write_all(b"reset\n").unwrap();
            assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
        })
        .await;
        let (_, told) = status(app, 1).await;
        assert_eq!((told.status, told.id), (2, ErrorCode::ConnectionReset as u64));
        assert!(told.text().contains("broke"), "{}", told.text());
        let mut events = Events::of(&instance);
        events
            .find(|event| matches!(event, Seen::ConnClosed { error: ErrorCode::ConnectionReset, .. }).then_some(()))
            .await;
    });
}

#[test]
fn tls_stays_in_the_bridge() {
    let folder = tempfile::tempdir().unwrap();
    let secure = Secure::start(folder.path());
    let bridge = Bridge::start_with(
        &serde_json::json!({ "net": { "pool": 1, "allow_private": true, "authorities": [&secure.authority] } }),
    );
    let address = format!("tcps://{}", secure.at);
    host::test(async {
        let host = Host::connect(&bridge).await;
        for isolation in ["bubblewrap", "gvisor"] {
            let (instance, id) = started(&host, &bridge, isolation, std::slice::from_ref(&address)).await;
            let framed = format!("{address}?frame=line");
            let batch: [&host::Fill; 5] = [
                &connect(1, &framed),
                &send(1, 1, "echo one"),
                &transfer(1, &framed, 1),
                &connect(2, &framed),
                &transfer(2, &framed, 2),
            ];
            assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
            let mut app = App::connect(&bridge.app_socket(&id));
            for (number, last, after, code) in
                [(1, "quit\n", 1, ErrorCode::Ok), (2, "cut\n", 2, ErrorCode::ConnectionReset)]
            {
                let mut told;
                (app, told) = ask(app, AppOp::GetConn, about(number, &address)).await;
                assert_eq!(told.status, TLS);
                let mut stream = stream(&mut told);
                beside(move || {
                    assert_eq!(line(&mut *stream, "echo over tls"), "over tls\n");
                    stream.write_all(last.as_bytes()).unwrap();
                    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
                })
                .await;
                (app, told) = status(app, told.segment).await;
                assert_eq!((told.status, told.id), (after, code as u64), "{}", told.text());
            }
        }
    });
}

#[test]
fn carried_connections_end_with_their_instance() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "gvisor", &[lines.address()]).await;
        let batch: [&host::Fill; 4] = [
            &connect(1, &lines.framed()),
            &transfer(1, &lines.address(), 1),
            &connect(2, &lines.framed()),
            &transfer(2, &lines.address(), 2),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let (_app, mut told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        let mut stream = stream(&mut told);
        let mut stream = beside(move || {
            assert_eq!(line(&mut *stream, "echo x"), "x\n");
            stream
        })
        .await;
        let mut events = Events::of(&instance);
        events.find(|event| matches!(event, Seen::ConnReady { id: 2, .. }).then_some(())).await;
        assert_eq!(lines.open(), 2);
        stop(&instance).await;
        events.ended().await;
        assert!(
            events.all.iter().any(|event| matches!(event, Seen::ConnClosed { error: ErrorCode::InstanceClosed, .. }))
        );
        assert_eq!(beside(move || stream.read(&mut [0; 4]).unwrap()).await, 0);
        let began = std::time::Instant::now();
        while lines.open() > 0 {
            assert!(began.elapsed() < Duration::from_secs(5), "a connection stays open");
            pause(5).await;
        }
    });
}

#[test]
fn silence_is_told_as_such() {
    let bridge = Bridge::start_with(&serde_json::json!({ "limits": { "connection_idle_ms": 200 } }));
    let lines = Lines::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "gvisor", &[lines.address()]).await;
        let batch: [&host::Fill; 2] = [&connect(1, &lines.framed()), &transfer(1, &lines.address(), 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let (app, mut told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        let mut stream = stream(&mut told);
        beside(move || assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0)).await;
        let (app, told) = status(app, 1).await;
        assert_eq!((told.status, told.id), (2, ErrorCode::Deadline as u64));
        let (_, told) = status(app, 9).await;
        assert_eq!(told.error, ErrorCode::NotFound);
    });
}

//! The application's socket, spoken to by a client of the test's own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, Told, map};
use common::host::{self, Events, Fill, Host, Seen, beside, connect, data, decide, reply, send, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{
    AppOp, FLAG_BEGIN, FLAG_DONE, FLAG_END, FLAG_ERROR, FLAG_FD, FLAG_INLINE, FLAG_LENGTH_KNOWN, FLAG_PROGRESSIVE,
};

fn receive(id: u64, content: &str) -> Ask {
    Ask { id, payload: content.as_bytes().to_vec(), ..Ask::default() }
}

/// Asks from a thread beside the control stream.
async fn ask(mut app: App, op: AppOp, ask: Ask) -> (App, Told) {
    beside(move || {
        let told = app.ask(op, &ask);
        (app, told)
    })
    .await
}

#[test]
fn greets_and_takes_marks() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut app = App::connect(&bridge.app_socket(&id));
        let told = app.ask(AppOp::Hello, &Ask { payload: b"test 1.0".to_vec(), ..Ask::default() });
        assert_eq!((told.error, told.text()), (ErrorCode::Ok, id.clone()));
        assert!(told.total > 0);
        app.ask(AppOp::Hello, &Ask::default());
        app.ask(AppOp::Mark, &Ask { payload: b"imported".to_vec(), ..Ask::default() });
        let mut events = Events::of(&instance);
        events.find(|event| (*event == Seen::Mark("imported".into())).then_some(())).await;
        let greetings = events.all.iter().filter(|event| matches!(event, Seen::AppConnected(_))).count();
        assert_eq!(greetings, 1);
    });
}

#[test]
fn a_reply_is_mapped_and_served_once() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 5] = [
            &connect(1, &server.address),
            &send(1, 1, "GET /bytes/300000\n\n"),
            &reply(1, 1),
            &send(1, 2, "GET /bytes/10000\n\n"),
            &reply(2, 2),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let content = format!("GET {}/bytes/300000", server.address);
        let (app, told) = ask(app, AppOp::RecvMsg, receive(1, &content)).await;
        assert_eq!((told.error, told.status, told.length, told.total), (ErrorCode::Ok, 200, 300_000, 300_000));
        assert!(told.has(FLAG_FD) && told.has(FLAG_DONE) && told.has(FLAG_LENGTH_KNOWN));
        let file = told.file.unwrap();
        let mapped = map(&file);
        assert_eq!(&mapped[told.offset as usize..][..300_000], pattern(300_000));
        let (app, again) = ask(app, AppOp::RecvMsg, receive(1, &content)).await;
        assert_eq!(again.error, ErrorCode::AlreadyClaimed);
        let (app, small) = ask(app, AppOp::RecvMsg, receive(2, "")).await;
        assert!(small.has(FLAG_FD) && small.segment != told.segment);
        let (app, freed) = ask(app, AppOp::Free, Ask { a: told.segment, ..Ask::default() }).await;
        assert_eq!(freed.error, ErrorCode::Ok);
        let (_, freed) = ask(app, AppOp::Free, Ask { a: told.segment, ..Ask::default() }).await;
        assert_eq!(freed.error, ErrorCode::NotFound);
        stop(&instance).await;
        let mut events = Events::of(&instance);
        let ended = events.ended().await;
        assert!(events.all.contains(&Seen::Served { id: 1, bytes: 300_000, error: ErrorCode::Ok }));
        assert!(matches!(ended, Seen::Ended { unclaimed: 0, .. }), "{ended:?}");
    });
}

#[test]
fn an_early_claim_waits_for_its_message_or_the_hosts_word() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut events = Events::of(&instance);
        let claimed = |event: &Seen| match event {
            Seen::Claimed { claim, id, content, diverges } => Some((*claim, *id, content.clone(), diverges.clone())),
            _ => None,
        };

        let waiting =
            tokio::task::spawn_local(ask(App::connect(&bridge.app_socket(&id)), AppOp::RecvMsg, receive(5, "")));
        assert_eq!(events.find(claimed).await.1, 5);
        assert_eq!(submit(&instance, &[&data(5, b"five", "greeting")]).await, ErrorCode::Ok);
        let (app, told) = waiting.await.unwrap();
        assert!(told.has(FLAG_INLINE) && told.has(FLAG_DONE));
        assert_eq!(told.payload, b"five");

        let waiting = tokio::task::spawn_local(ask(app, AppOp::RecvMsg, receive(6, "GET s3://b/k")));
        let (claim, _, content, diverges) = events.find(claimed).await;
        assert_eq!((content.as_str(), diverges.as_str()), ("GET s3://b/k", ""));
        assert_eq!(submit(&instance, &[&decide(claim, ErrorCode::Miss)]).await, ErrorCode::Ok);
        let (app, told) = waiting.await.unwrap();
        assert_eq!(told.error, ErrorCode::Miss);

        assert_eq!(submit(&instance, &[&data(7, b"seven", "GET s3://b/other")]).await, ErrorCode::Ok);
        let waiting = tokio::task::spawn_local(ask(app, AppOp::RecvMsg, receive(7, "GET s3://b/k")));
        let (claim, _, _, diverges) = events.find(claimed).await;
        assert_eq!(diverges, "GET s3://b/other");
        assert_eq!(submit(&instance, &[&decide(claim, ErrorCode::Diverged)]).await, ErrorCode::Ok);
        let (app, told) = waiting.await.unwrap();
        assert_eq!(told.error, ErrorCode::Diverged);

        let late = Ask { deadline: 50, ..receive(8, "") };
        let (_, told) = ask(app, AppOp::RecvMsg, late).await;
        assert_eq!(told.error, ErrorCode::Deadline);
        events
            .find(|event| (*event == Seen::Served { id: 8, bytes: 0, error: ErrorCode::Deadline }).then_some(()))
            .await;
    });
}

#[test]
fn a_claim_of_something_named_meets_messages_without_a_name() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 6] = [
            &connect(1, &server.address),
            &send(1, 1, "POST /a\n\n"),
            &reply(1, 1),
            &send(1, 2, "GET /a\nhost: elsewhere\n\n"),
            &reply(2, 2),
            &data(3, b"three", ""),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let content = format!("POST {}/a", server.address);
        // Of a request that is not allowed, and of one that cannot be read, there is the error.
        let (app, told) = ask(app, AppOp::RecvMsg, receive(1, &content)).await;
        assert_eq!(told.error, ErrorCode::EgressDenied);
        let (app, told) = ask(app, AppOp::RecvMsg, receive(2, &content)).await;
        assert_eq!(told.error, ErrorCode::InvalidArgument);
        // Bytes of the script's own are not what has a name.
        let waiting = tokio::task::spawn_local(ask(app, AppOp::RecvMsg, receive(3, &content)));
        let mut events = Events::of(&instance);
        let claimed = |event: &Seen| match event {
            Seen::Claimed { claim, diverges, .. } => Some((*claim, diverges.clone())),
            _ => None,
        };
        let (claim, diverges) = events.find(claimed).await;
        assert_eq!(diverges, "bytes of the initscript's own");
        assert_eq!(submit(&instance, &[&decide(claim, ErrorCode::Diverged)]).await, ErrorCode::Ok);
        let (app, told) = waiting.await.unwrap();
        assert_eq!(told.error, ErrorCode::Diverged);
        let (_, told) = ask(app, AppOp::RecvMsg, receive(3, "")).await;
        assert_eq!(told.payload, b"three");
    });
}

#[test]
fn a_stream_is_read_behind_the_write_mark() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 3] = [&connect(1, &server.address), &send(1, 1, "GET /slow/2000000\n\n"), &reply(1, 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = ask(app, AppOp::RecvMsg, Ask { flags: FLAG_PROGRESSIVE, ..receive(1, "") }).await;
        assert_eq!((told.error, told.total, told.status), (ErrorCode::Ok, 2_000_000, 200));
        assert!(told.has(FLAG_LENGTH_KNOWN) && !told.has(FLAG_DONE));
        let mapped = map(told.file.as_ref().unwrap());
        let more = |length| Ask { a: told.segment, b: told.offset, c: length, ..Ask::default() };
        let (app, half) = ask(app, AppOp::Await, more(1_000_000)).await;
        assert!(half.length >= 1_000_000 && !half.has(FLAG_DONE) && !half.has(FLAG_FD), "{half:?}");
        assert_eq!(&mapped[told.offset as usize..][..1_000_000], &pattern(2_000_000)[..1_000_000]);
        let (app, late) = ask(app, AppOp::Await, Ask { deadline: 50, ..more(1_500_000) }).await;
        assert_eq!(late.error, ErrorCode::Deadline);
        server.open();
        let (_, all) = ask(app, AppOp::Await, more(2_000_000)).await;
        assert_eq!((all.length, all.has(FLAG_DONE)), (2_000_000, true));
        assert_eq!(&mapped[told.offset as usize..][..2_000_000], pattern(2_000_000));
    });
}

#[test]
fn calls_go_out_under_the_same_policy_and_writes_void() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 5] = [
            &connect(1, &server.address),
            &send(1, 1, "GET /put/a\n\n"),
            &reply(1, 1),
            &send(1, 2, "GET /put/b\n\n"),
            &reply(2, 2),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        events.done(2).await;
        let app = App::connect(&bridge.app_socket(&id));
        let (app, got) = ask(
            app,
            AppOp::Call,
            Ask { payload: format!("GET {}/bytes/100\n\n", server.address).into_bytes(), ..Ask::default() },
        )
        .await;
        assert_eq!((got.error, got.status, got.payload), (ErrorCode::Ok, 200, pattern(100)));

        let (app, outbox) = ask(app, AppOp::Outbox, Ask { a: 100_000, ..Ask::default() }).await;
        assert!(outbox.has(FLAG_FD));
        let file = std::fs::File::from(outbox.file.unwrap());
        std::os::unix::fs::FileExt::write_all_at(&file, b"new bytes", 50).unwrap();
        assert!(file.set_len(1).is_err(), "it cannot be resized");
        let put =
            Ask { a: 50, b: 9, payload: format!("PUT {}/put/a\n\n", server.address).into_bytes(), ..Ask::default() };
        let (app, put) = ask(app, AppOp::Call, put).await;
        assert_eq!((put.error, put.payload.as_slice()), (ErrorCode::Ok, &b"ok"[..]));
        let (app, told) = ask(app, AppOp::RecvMsg, receive(1, "")).await;
        assert_eq!(told.error, ErrorCode::Voided);
        let (app, told) = ask(app, AppOp::RecvMsg, receive(2, "")).await;
        assert_eq!(told.error, ErrorCode::Ok);

        for (call, code) in [
            ("GET http://127.0.0.9:1/x\n\n", ErrorCode::EgressDenied),
            ("POST SERVER/put/a\n\n", ErrorCode::EgressDenied),
            ("GET s3://b/k\n\n", ErrorCode::EgressDenied),
            ("GET\n\n", ErrorCode::InvalidArgument),
            ("PUT SERVER/put/a\n\nbody", ErrorCode::InvalidArgument),
            ("GET SERVER/x\nAuthorization: x\n\n", ErrorCode::InvalidArgument),
        ] {
            let payload = call.replace("SERVER", &server.address).into_bytes();
            let mut app = App::connect(&bridge.app_socket(&id));
            let told = beside(move || app.ask(AppOp::Call, &Ask { payload, ..Ask::default() })).await;
            assert_eq!(told.error, code, "{call:?}: {}", told.text());
        }
        let outside = Ask {
            a: 99_999_999,
            b: 10,
            payload: format!("PUT {}/put/a\n\n", server.address).into_bytes(),
            ..Ask::default()
        };
        let (_, told) = ask(app, AppOp::Call, outside).await;
        assert_eq!(told.error, ErrorCode::InvalidArgument);
        events
            .find(|event| {
                matches!(event, Seen::Called { content, status: 200, bytes: 2, .. } if content.starts_with("PUT "))
                    .then_some(())
            })
            .await;
    });
}

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
            first.send_raw(&hello, &vec![std::os::fd::AsRawFd::as_raw_fd(mine.as_file()); count]);
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
            let edges = [0, 1, 2, 63, 4096, 65_536, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
            for _ in 0..60 {
                let mut app = App::connect(&path);
                for _ in 0..20 {
                    let op = AppOp::try_from((next() % 9 + 1) as u16).unwrap();
                    let mut number = || edges[(next() % 9) as usize];
                    let (id, a, b, c) = (number(), number(), number(), number());
                    let length = (next() % 200) as usize;
                    let payload = (0..length).map(|_| next() as u8).collect();
                    let flags = next() as u32 & (FLAG_PROGRESSIVE | FLAG_INLINE | FLAG_BEGIN | FLAG_END | FLAG_ERROR);
                    let told = app.ask(op, &Ask { flags, id, a, b, c, deadline: 1, payload });
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

#[test]
fn invocations_flow_through_next_and_respond() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) =
            host.started(&bridge, &server.address, |mut limits| limits.set_answer_bytes(1 << 20)).await;
        let socket = bridge.socket();
        let invoke = |event: Vec<u8>| {
            let (socket, id) = (socket.clone(), id.clone());
            tokio::task::spawn_local(beside(move || host::invoke(&socket, &id, &event)))
        };
        let head = br#"{"status":201,"headers":[["x-mine","1"]]}"#.to_vec();

        // A small event inlined, an answer in pieces.
        let caller = invoke(b"event".to_vec());
        let (app, event) = ask(App::connect(&bridge.app_socket(&id)), AppOp::Next, Ask::default()).await;
        assert_eq!((event.id, event.payload.as_slice(), event.has(FLAG_INLINE)), (1, &b"event"[..], true));
        let begin = Ask { id: 1, flags: FLAG_BEGIN, payload: head.clone(), ..Ask::default() };
        let (app, told) = ask(app, AppOp::Respond, begin).await;
        assert_eq!(told.error, ErrorCode::Ok);
        let (app, _) =
            ask(app, AppOp::Respond, Ask { id: 1, flags: FLAG_INLINE, payload: b"hello ".to_vec(), ..Ask::default() })
                .await;
        let end = Ask { id: 1, flags: FLAG_INLINE | FLAG_END, payload: b"world".to_vec(), ..Ask::default() };
        let (app, _) = ask(app, AppOp::Respond, end).await;
        let answer = caller.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
        assert!(answer.contains("x-headstart-invocation: 1\r\n") && answer.contains("x-mine: 1\r\n"), "{answer}");
        assert!(answer.contains("hello ") && answer.contains("world"));

        // A large event in a segment, an answer from the outbox.
        let caller = invoke(pattern(100_000));
        let (app, event) = ask(app, AppOp::Next, Ask::default()).await;
        assert_eq!((event.id, event.length), (2, 100_000));
        assert_eq!(&map(event.file.as_ref().unwrap())[event.offset as usize..][..100_000], pattern(100_000));
        let (app, outbox) = ask(app, AppOp::Outbox, Ask { a: 600_000, ..Ask::default() }).await;
        let file = std::fs::File::from(outbox.file.unwrap());
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'x'; 600_000], 0).unwrap();
        let (app, _) = ask(
            app,
            AppOp::Respond,
            Ask { id: 2, flags: FLAG_BEGIN, payload: head.clone(), b: 600_000, ..Ask::default() },
        )
        .await;
        let (app, told) = ask(app, AppOp::Respond, Ask { id: 2, flags: FLAG_END, ..Ask::default() }).await;
        assert_eq!(told.error, ErrorCode::Ok);
        assert_eq!(caller.await.unwrap().matches('x').count() - 2, 600_000);

        // A handler's failure.
        let caller = invoke(b"e".to_vec());
        let (app, event) = ask(app, AppOp::Next, Ask::default()).await;
        let (app, _) = ask(
            app,
            AppOp::Respond,
            Ask { id: event.id, flags: FLAG_ERROR, payload: b"no such label".to_vec(), ..Ask::default() },
        )
        .await;
        let answer = caller.await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 502") && answer.contains("functionFailed") && answer.contains("no such label"),
            "{answer}"
        );

        // An answer that is too long.
        let caller = invoke(b"e".to_vec());
        let (app, event) = ask(app, AppOp::Next, Ask::default()).await;
        let (app, _) = ask(
            app,
            AppOp::Respond,
            Ask { id: event.id, flags: FLAG_BEGIN, payload: head, b: 600_000, ..Ask::default() },
        )
        .await;
        let (app, told) = ask(app, AppOp::Respond, Ask { id: event.id, b: 600_000, ..Ask::default() }).await;
        assert_eq!(told.error, ErrorCode::PayloadTooLarge);
        drop(caller);
        let (_, told) = ask(app, AppOp::Respond, Ask { id: event.id, flags: FLAG_END, ..Ask::default() }).await;
        assert_eq!(told.error, ErrorCode::Cancelled);

        let mut events = Events::of(&instance);
        events
            .find(|event| {
                matches!(event, Seen::Answered { invocation: 4, error: ErrorCode::PayloadTooLarge, .. }).then_some(())
            })
            .await;
        let kinds: Vec<&Seen> = events
            .all
            .iter()
            .filter(|event| matches!(event, Seen::Taken(1) | Seen::Begun(1) | Seen::Answered { invocation: 1, .. }))
            .collect();
        assert_eq!(
            kinds,
            [&Seen::Taken(1), &Seen::Begun(1), &Seen::Answered { invocation: 1, bytes: 11, error: ErrorCode::Ok }]
        );
    });
}

#[test]
fn results_belong_to_the_first_invocation() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        assert_eq!(submit(&instance, &[&data(1, b"one", "a"), &data(2, b"two", "b")]).await, ErrorCode::Ok);
        let (socket, instance_id) = (bridge.socket(), id.clone());
        let caller = tokio::task::spawn_local(beside(move || host::invoke(&socket, &instance_id, b"")));
        let (app, _) = ask(App::connect(&bridge.app_socket(&id)), AppOp::Next, Ask::default()).await;
        let (app, told) = ask(app, AppOp::RecvMsg, receive(1, "a")).await;
        assert_eq!(told.payload, b"one");
        let head =
            Ask { id: 1, flags: FLAG_BEGIN | FLAG_END, payload: br#"{"status":200}"#.to_vec(), ..Ask::default() };
        let (app, _) = ask(app, AppOp::Respond, head).await;
        caller.await.unwrap();
        let (app, told) = ask(app, AppOp::RecvMsg, receive(1, "a")).await;
        assert_eq!(told.error, ErrorCode::Voided);
        let (_, told) = ask(app, AppOp::RecvMsg, receive(2, "b")).await;
        assert_eq!(told.error, ErrorCode::Voided);
    });
}

#[test]
fn a_caller_that_goes_away_cancels() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut caller = std::os::unix::net::UnixStream::connect(bridge.socket()).unwrap();
        let request = format!("POST /instances/{id}/invocations HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n");
        std::io::Write::write_all(&mut caller, request.as_bytes()).unwrap();
        let (app, event) = ask(App::connect(&bridge.app_socket(&id)), AppOp::Next, Ask::default()).await;
        drop(caller);
        let mut events = Events::of(&instance);
        events
            .find(|event| {
                matches!(event, Seen::Answered { invocation: 1, error: ErrorCode::Cancelled, .. }).then_some(())
            })
            .await;
        let begin = Ask { id: event.id, flags: FLAG_BEGIN, payload: br#"{"status":200}"#.to_vec(), ..Ask::default() };
        let (_, told) = ask(app, AppOp::Respond, begin).await;
        assert_eq!(told.error, ErrorCode::Cancelled);
    });
}

#[test]
fn a_slow_function_times_out_and_ends() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |mut limits| limits.set_timeout_millis(200)).await;
        let socket = bridge.socket();
        let answer = beside(move || host::invoke(&socket, &id, b"")).await;
        assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("functionTimeout"), "{answer}");
        Events::of(&instance).ended().await;
    });
}

#[test]
fn waiting_ends_with_the_instance() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let (socket, caller_id) = (bridge.socket(), id.clone());
        let mut app = App::connect(&bridge.app_socket(&id));
        assert_eq!(app.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
        let waiting = tokio::task::spawn_local(beside(move || {
            app.send(AppOp::RecvMsg, &receive(1, ""));
            app.receive().map(|told| told.error)
        }));
        let mut events = Events::of(&instance);
        events.find(|event| matches!(event, Seen::Claimed { .. }).then_some(())).await;
        let caller = tokio::task::spawn_local(beside(move || host::invoke(&socket, &caller_id, b"")));
        host::pause(100).await;
        stop(&instance).await;
        assert!(matches!(waiting.await.unwrap(), Some(ErrorCode::InstanceClosed) | None));
        assert!(caller.await.unwrap().contains("instanceClosed"));
        events.ended().await;
        assert!(!bridge.app_socket(&id).exists());
    });
}

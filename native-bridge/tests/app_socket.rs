//! The application's socket, spoken to by a client of the test's own: messages and calls.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, map};
use common::given::{ask, receive};
use common::host::{self, Events, Fill, Host, Seen, beside, connect, data, decide, reply, send, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_DONE, FLAG_FD, FLAG_INLINE, FLAG_LENGTH_KNOWN, FLAG_PROGRESSIVE};

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
        // More than there will be: the answer comes with the end, not with the last byte just before it.
        let (_, all) = ask(app, AppOp::Await, more(2_000_001)).await;
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

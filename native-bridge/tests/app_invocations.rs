//! Invocations through the application's socket.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, map};
use common::given::{ask, receive};
use common::host::{self, Events, Host, Seen, beside, data, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_BEGIN, FLAG_END, FLAG_ERROR, FLAG_INLINE};

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

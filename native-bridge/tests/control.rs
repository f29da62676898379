//! The control stream: instances, leases, events, operations, disposal.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::host::{self, Events, Fill, Host, Seen, connect, decide, pause, reply, send, start, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::bridge_capnp::instance;

#[test]
fn says_hello_and_what_it_can() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let mut request = host.bridge.hello_request();
        request.get().set_protocol(1);
        let answer = request.send().promise.await.unwrap();
        let answer = answer.get().unwrap();
        host::assert_ok(answer.get_error().unwrap());
        let info = answer.get_info().unwrap();
        assert_eq!(info.get_grace_millis(), 300);
        assert!(info.get_now() > info.get_started_at());
        let at_zero = info.get_unix_millis_at_zero() + info.get_now() as f64 / 1e6;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as f64;
        assert!((at_zero - now).abs() < 1000.0);

        let mut request = host.bridge.hello_request();
        request.get().set_protocol(2);
        let answer = request.send().promise.await.unwrap();
        assert_eq!(answer.get().unwrap().get_error().unwrap().get_code().unwrap(), ErrorCode::Protocol);
    });
}

#[test]
fn a_fetch_shows_as_events_in_order() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 3] = [&connect(1, &server.address), &send(1, 7, "GET /bytes/5000\n\n"), &reply(9, 7)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        let done = events.done(7).await;
        let Seen::Done { status, length, inlined, error, attempts, segment, .. } = done else { panic!() };
        assert_eq!((status, length, error, attempts), (200, 5000, ErrorCode::Ok, 1));
        assert_eq!(inlined, pattern(5000));
        assert_ne!(segment, 0);
        let place = |wanted: &dyn Fn(&Seen) -> bool| events.all.iter().position(wanted).unwrap();
        let order = [
            place(&|event| matches!(event, Seen::Received(_))),
            place(&|event| *event == Seen::Started),
            place(
                &|event| matches!(event, Seen::Accepted { content, .. } if *content == format!("GET {}/bytes/5000", server.address)),
            ),
            place(&|event| matches!(event, Seen::Sent { rpc: 7, .. })),
            place(&|event| *event == Seen::FirstByte(7)),
        ];
        assert!(order.is_sorted(), "{:?}", events.all);
        // Before or after the RPC's end: the two run side by side.
        Events::of(&instance).find(|event| (*event == Seen::Published(9)).then_some(())).await;

        // Reading a part of it.
        let mut request = instance.read_request();
        request.get().set_rpc(7);
        request.get().set_offset(4990);
        request.get().set_length(100);
        let answer = request.send().promise.await.unwrap();
        assert_eq!(answer.get().unwrap().get_data().unwrap(), &pattern(5000)[4990..]);
    });
}

#[test]
fn what_fails_has_its_code() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |mut limits| limits.set_results(1 << 20)).await;
        let batch: [&Fill; 9] = [
            &connect(1, &server.address),
            &connect(2, "redis://h"),
            &connect(3, "http://127.0.0.2:9"),
            &send(1, 1, "GET /missing\n\n"),
            &send(2, 2, "GET /x\n\n"),
            &send(3, 3, "GET /x\n\n"),
            &send(1, 4, "GET /bytes/2000000\n\n"),
            &send(1, 5, "GET /short/100000\n\n"),
            &send(1, 6, "GET /x\nhost: other\n\n"),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut outcomes = std::collections::HashMap::new();
        let mut events = Events::of(&instance);
        while outcomes.len() < 6 {
            let (rpc, outcome) = events
                .find(|event| match event {
                    Seen::Done { rpc, status, error, .. } => Some((*rpc, (*status, *error))),
                    _ => None,
                })
                .await;
            outcomes.insert(rpc, outcome);
        }
        assert_eq!(outcomes[&1], (404, ErrorCode::Ok));
        assert_eq!(outcomes[&2].1, ErrorCode::EgressDenied);
        assert_eq!(outcomes[&3].1, ErrorCode::EgressDenied);
        assert_eq!(outcomes[&4].1, ErrorCode::InstanceMemoryFull);
        assert_eq!(outcomes[&5].1, ErrorCode::BodyTruncated);
        assert_eq!(outcomes[&6].1, ErrorCode::InvalidArgument);
        // A message of a failed RPC fails.
        assert_eq!(submit(&instance, &[&reply(50, 5)]).await, ErrorCode::Ok);
        events
            .find(|event| (*event == Seen::MessageFailed { id: 50, error: ErrorCode::BodyTruncated }).then_some(()))
            .await;
    });
}

#[test]
fn a_malformed_batch_changes_nothing() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |mut limits| limits.set_messages(2)).await;
        assert_eq!(submit(&instance, &[&reply(1, 99)]).await, ErrorCode::RpcUnknown);
        let batch: [&Fill; 3] =
            [&connect(1, &server.address), &send(1, 7, "GET /bytes/1\n\n"), &send(1, 7, "GET /bytes/2\n\n")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::RpcDuplicate);
        assert_eq!(submit(&instance, &batch[..2]).await, ErrorCode::Ok);
        assert_eq!(submit(&instance, &[&reply(1, 7), &reply(1, 7)]).await, ErrorCode::MessageDuplicate);
        assert_eq!(submit(&instance, &[&reply(1, 7), &reply(2, 7), &reply(3, 7)]).await, ErrorCode::InitscriptMessages);
        assert_eq!(submit(&instance, &[&reply(1, 7), &|mut op| op.set_script_ended(())]).await, ErrorCode::Ok);
        assert_eq!(submit(&instance, &[&send(1, 8, "GET /bytes/1\n\n")]).await, ErrorCode::InvalidArgument);
        let mut events = Events::of(&instance);
        events.done(7).await;
        assert_eq!(server.seen("GET /bytes/1"), 1);
        assert_eq!(server.seen("GET /bytes/2"), 0);
    });
}

#[test]
fn cancel_ends_an_rpc_while_others_proceed() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 3] =
            [&connect(1, &server.address), &send(1, 1, "GET /slow/100000\n\n"), &send(1, 2, "GET /bytes/10\n\n")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        events.done(2).await;
        assert_eq!(submit(&instance, &[&|mut op| op.set_cancel(1)]).await, ErrorCode::Ok);
        assert!(matches!(events.done(1).await, Seen::Done { error: ErrorCode::Cancelled, .. }));
    });
}

#[test]
fn a_download_that_breaks_begins_anew() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 2] = [&connect(1, &server.address), &send(1, 1, "GET /reset/200000\n\n")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let done = Events::of(&instance).done(1).await;
        assert!(matches!(done, Seen::Done { length: 200_000, attempts: 2, error: ErrorCode::Ok, .. }), "{done:?}");
    });
}

#[test]
fn an_unknown_length_is_received_whole() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 3] =
            [&connect(1, &server.address), &send(1, 1, "GET /chunked/3000000\n\n"), &send(1, 2, "GET /chunked/7\n\n")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        assert!(matches!(events.done(2).await, Seen::Done { length: 7, .. }));
        assert!(matches!(Events::of(&instance).done(1).await, Seen::Done { length: 3_000_000, .. }));
        let mut request = instance.read_request();
        request.get().set_rpc(1);
        request.get().set_offset(2_900_000);
        request.get().set_length(1 << 20);
        let answer = request.send().promise.await.unwrap();
        assert_eq!(answer.get().unwrap().get_data().unwrap(), &pattern(3_000_000)[2_900_000..]);
    });
}

#[test]
fn a_lease_is_kept_for_the_grace_period() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let first = Host::connect(&bridge).await;
        let (_, kept) = first.started(&bridge, &server.address, |_| {}).await;
        let (_, lost) = first.create().await;
        first.cut().await;
        let second = Host::connect(&bridge).await;
        let instance = second.attach(&kept).await.unwrap();
        let mut events = Events::of(&instance);
        assert!(matches!(events.next().await, Seen::Received(_)), "all events are replayed");
        pause(600).await;
        assert_eq!(submit(&instance, &[&|mut op| op.set_note("still here")]).await, ErrorCode::Ok);
        let instance = second.attach(&lost).await.unwrap();
        let ended = Events::of(&instance).ended().await;
        assert!(matches!(ended, Seen::Ended { reason, .. } if reason.contains("nobody attached")));
        assert_eq!(second.attach("i-none").await.err(), Some(ErrorCode::UnknownInstance));
        assert!(!bridge.app_socket(&lost).exists());
    });
}

#[test]
fn capabilities_are_counted() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (one, _) = host.create().await;
        let (two, _) = host.create().await;
        assert_eq!(host.live_objects().await, 2);
        drop(one);
        assert_eq!(host.live_objects().await, 1);
        drop(two);
        assert_eq!(host.live_objects().await, 0);
        let other = Host::connect(&bridge).await;
        let _held = other.create().await;
        assert_eq!(host.live_objects().await, 0, "each stream has its own");

        // A stream that breaks during a call takes its objects with it.
        let broken = Host::connect(&bridge).await;
        let (instance, _) = broken.create().await;
        let mut waiting = instance.events_request();
        waiting.get().set_wait_millis(60_000);
        let waiting = tokio::task::spawn_local(waiting.send().promise);
        pause(50).await;
        let live = || bridge.get("/metrics").unwrap().contains("headstart_bridge_live_objects 2\n");
        assert!(live());
        broken.cut().await;
        waiting.abort();
        pause(500).await;
        let metrics = bridge.get("/metrics").unwrap();
        assert!(metrics.contains("headstart_bridge_live_objects 1\n"), "{metrics}");
    });
}

#[test]
fn a_second_waiter_ends_the_first_and_waiting_blocks_nobody() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.create().await;
        let wait = || {
            let mut request = instance.events_request();
            request.get().set_after(100);
            request.get().set_wait_millis(5000);
            request.send().promise
        };
        let first = tokio::task::spawn_local(wait());
        pause(50).await;
        assert_eq!(host.live_objects().await, 1, "others proceed");
        let second = tokio::task::spawn_local(wait());
        let ended = first.await.unwrap().unwrap();
        assert_eq!(ended.get().unwrap().get_error().unwrap().get_code().unwrap(), ErrorCode::Cancelled);
        stop(&instance).await;
        second.abort();
    });
}

#[test]
fn start_says_what_is_wrong() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.create().await;
        assert_eq!(start(&instance, "none", instance::Mode::Normal).await, ErrorCode::UnknownFunction);
        let (archive, bundle) = host::archive("app.py", b"");
        assert_eq!(host.put("f", &bundle, |_| {}).await, ErrorCode::UnknownBundle);
        assert!(host::put_bundle(&bridge.socket(), &bundle, &archive).starts_with("HTTP/1.1 201"));
        assert!(host::put_bundle(&bridge.socket(), &bundle, &archive).starts_with("HTTP/1.1 200"));
        assert!(host::put_bundle(&bridge.socket(), &"0".repeat(64), &archive).starts_with("HTTP/1.1 400"));
        assert_eq!(host.put("f", &bundle, |mut f| f.set_isolation("docker")).await, ErrorCode::InvalidArgument);
        assert_eq!(
            host.put("f", &bundle, |mut f| f.set_egress(&["GET"][..]).unwrap()).await,
            ErrorCode::InvalidArgument
        );
        let code = host
            .put("f", &bundle, |f| {
                let mut secret = f.init_secrets(1).get(0);
                secret.set_name("s3");
                secret.set_value("nowhere");
            })
            .await;
        assert_eq!(code, ErrorCode::UnknownSecret);
        assert_eq!(host.put("f", &bundle, |_| {}).await, ErrorCode::Ok);
        assert_eq!(start(&instance, "f", instance::Mode::InitscriptOnly).await, ErrorCode::Ok);
        assert_eq!(start(&instance, "f", instance::Mode::InitscriptOnly).await, ErrorCode::AlreadyExists);
        stop(&instance).await;
        stop(&instance).await;
        assert!(matches!(Events::of(&instance).ended().await, Seen::Ended { reason, .. } if reason == "test"));
        assert_eq!(start(&instance, "f", instance::Mode::InitscriptOnly).await, ErrorCode::InstanceClosed);
        assert_eq!(submit(&instance, &[&decide(1, ErrorCode::Miss)]).await, ErrorCode::InstanceClosed);
    });
}

#[test]
fn receipt_is_believed_within_a_second() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_, _) = host.started(&bridge, &server.address, |_| {}).await;
        for (ago, believed) in [(500_000_000, true), (5_000_000_000, false)] {
            let (instance, _) = host.create().await;
            let at = headstart_base::now() - ago;
            let mut request = instance.start_request();
            request.get().set_function_digest("f");
            request.get().set_mode(instance::Mode::InitscriptOnly);
            request.get().set_received_at(at);
            request.send().promise.await.unwrap();
            let Seen::Received(received) = Events::of(&instance).next().await else { panic!() };
            assert_eq!(received == at, believed);
        }
    });
}

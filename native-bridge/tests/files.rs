//! Files of an application's that replies are received into.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::PathBuf;

use common::Bridge;
use common::app::{App, Ask, Told};
use common::host::{self, Events, Fill, Host, Seen, beside, connect, pause, reply, start, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_DONE, FLAG_FD, FLAG_FILE, FLAG_PROGRESSIVE};
use headstart_base::bridge_capnp::{instance, op};

const BYTES: u64 = 1 << 20;
const PLACE: &str = "file:/tmp/data";

/// A send whose reply goes to a place of a file.
fn send_to(rpc: u64, path: &str, place: &str, offset: u64, room: u64) -> impl Fn(op::Builder<'_>) + use<> {
    let (request, place) = (format!("GET {path}\n\n"), place.to_owned());
    move |op| {
        let mut send = op.init_send();
        send.set_conn(1);
        send.set_rpc(rpc);
        send.set_request(request.as_bytes());
        send.set_place(place.as_str());
        send.set_place_offset(offset);
        send.set_place_room(room);
    }
}

/// An instance of a function with one file, and whether it started.
async fn created(bridge: &Bridge, host: &Host, server: &Server, bytes: u64) -> (instance::Client, String, ErrorCode) {
    let (archive, bundle) = host::archive("app.py", b"");
    host::put_bundle(&bridge.socket(), &bundle, &archive);
    let rules = [format!("GET {}/*", server.address)];
    let name = format!("f{bytes}");
    let put = host.put(&name, &bundle, |mut function| {
        function.set_egress(&rules[..]).unwrap();
        let mut file = function.reborrow().init_files(1).get(0);
        file.set_path("/tmp/data");
        file.set_bytes(bytes);
        function.init_limits().set_results(2 * BYTES);
    });
    assert_eq!(put.await, ErrorCode::Ok);
    let (instance, id) = host.create().await;
    let code = start(&instance, &name, instance::Mode::InitscriptOnly).await;
    (instance, id, code)
}

async fn started(bridge: &Bridge, host: &Host, server: &Server) -> (instance::Client, String) {
    let (instance, id, code) = created(bridge, host, server, BYTES).await;
    assert_eq!(code, ErrorCode::Ok);
    assert_eq!(submit(&instance, &[&connect(1, &server.address)]).await, ErrorCode::Ok);
    (instance, id)
}

/// The files of a node's instance on the host.
fn files(bridge: &Bridge, owner: &str) -> Vec<PathBuf> {
    let folder = format!("/dev/shm/headstart-{}", headstart_sandbox::tag(&bridge.run()));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(owner))
        .collect()
}

async fn receive(bridge: &Bridge, id: &str, message: u64, flags: u32) -> Told {
    let mut app = App::connect(&bridge.app_socket(id));
    let ask = Ask { id: message, flags, deadline: 5000, ..Ask::default() };
    beside(move || app.ask(AppOp::RecvMsg, &ask)).await
}

async fn failed(instance: &instance::Client, rpc: u64) -> ErrorCode {
    match Events::of(instance).done(rpc).await {
        Seen::Done { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_lies_in_the_applications_own_file() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&bridge, &host, &server).await;
        let batch: [&Fill; 6] = [
            &send_to(1, "/bytes/200000", PLACE, 4096, 0x40000),
            &reply(1, 1),
            &send_to(2, "/bytes/10", PLACE, 0, 4096),
            &reply(2, 2),
            &send_to(3, "/chunked/300000", PLACE, 0x41000, 0),
            &reply(3, 3),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let path = files(&bridge, &id).remove(0);
        for (message, offset, length) in [(1, 4096, 200_000), (2, 0, 10), (3, 0x41000, 300_000)] {
            let told = receive(&bridge, &id, message, 0).await;
            assert_eq!((told.error, told.text().as_str()), (ErrorCode::Ok, "/tmp/data"), "{told:?}");
            assert!(told.has(FLAG_FILE) && told.has(FLAG_DONE) && !told.has(FLAG_FD));
            assert_eq!((told.offset, told.length, told.status), (offset, length, 200));
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes[offset as usize..][..length as usize] == pattern(length as usize), "message {message}");
            assert_eq!(bytes.len() as u64, BYTES);
        }
        // Its number is no segment's.
        let mut app = App::connect(&bridge.app_socket(&id));
        let refused =
            beside(move || [AppOp::Segment, AppOp::Free].map(|op| app.ask(op, &Ask { a: 1, ..Ask::default() })));
        assert!(refused.await.iter().all(|told| told.error == ErrorCode::NotFound));
        // What is small can be read by the script at once; it lies in the file nevertheless.
        assert!(matches!(Events::of(&instance).done(2).await, Seen::Done { inlined, .. } if inlined == pattern(10)));
        stop(&instance).await;
        Events::of(&instance).ended().await;
        assert_eq!(files(&bridge, &id), Vec::<PathBuf>::new());
    });
}

#[test]
fn a_place_is_one_replys_and_lies_in_a_file_that_was_declared() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&bridge, &host, &server).await;
        for (rpc, place, offset, room, expected) in [
            (1, "file:/tmp/other", 0, 0, ErrorCode::NotFound),
            (2, "/tmp/data", 0, 0, ErrorCode::InvalidArgument),
            (3, PLACE, BYTES, 0, ErrorCode::InvalidArgument),
            (4, PLACE, 1, BYTES, ErrorCode::InvalidArgument),
            (5, PLACE, u64::MAX, u64::MAX, ErrorCode::InvalidArgument),
            (6, PLACE, 0, 9999, ErrorCode::PayloadTooLarge),
        ] {
            let batch: [&Fill; 2] = [&send_to(rpc, "/bytes/10000", place, offset, room), &reply(rpc, rpc)];
            assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
            assert_eq!(failed(&instance, rpc).await, expected, "{rpc}");
            assert_eq!(receive(&bridge, &id, rpc, 0).await.error, expected, "the application hears it, too");
        }
        let batch: [&Fill; 3] = [
            &send_to(10, "/slow/1000", PLACE, 0, 1000),
            &send_to(11, "/bytes/500", PLACE, 999, 500),
            &send_to(12, "/chunked/501", PLACE, 1000, 500),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        assert_eq!(failed(&instance, 11).await, ErrorCode::AlreadyExists, "while the other is in flight");
        assert_eq!(failed(&instance, 12).await, ErrorCode::PayloadTooLarge, "its length was not announced");
        server.open();
        assert_eq!(failed(&instance, 10).await, ErrorCode::Ok);
        let batch: [&Fill; 2] = [
            &send_to(13, "/bytes/500", PLACE, 500, 500),
            // A reply that failed leaves its place to others.
            &send_to(14, "/bytes/500", PLACE, 1000, 500),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        assert_eq!(failed(&instance, 13).await, ErrorCode::AlreadyExists, "and when it is there");
        assert_eq!(failed(&instance, 14).await, ErrorCode::Ok);
        stop(&instance).await;
    });
}

#[test]
fn a_retry_begins_again_at_the_place_unless_the_application_was_told_of_it() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&bridge, &host, &server).await;
        assert_eq!(submit(&instance, &[&send_to(1, "/reset/300000", PLACE, 100, 300_000)]).await, ErrorCode::Ok);
        let Seen::Done { attempts, error, length, .. } = Events::of(&instance).done(1).await else { panic!() };
        assert_eq!((attempts, error, length), (2, ErrorCode::Ok, 300_000));
        let path = files(&bridge, &id).remove(0);
        assert!(std::fs::read(&path).unwrap()[100..][..300_000] == pattern(300_000));

        let waiting = {
            let mut app = App::connect(&bridge.app_socket(&id));
            let ask = Ask { id: 2, flags: FLAG_PROGRESSIVE, deadline: 5000, ..Ask::default() };
            tokio::task::spawn_local(beside(move || {
                let told = app.ask(AppOp::RecvMsg, &ask);
                let (a, b) = (told.segment, told.offset);
                let rest = app.ask(AppOp::Await, &Ask { a, b, c: told.total, deadline: 5000, ..Ask::default() });
                (told, rest)
            }))
        };
        pause(50).await;
        let batch: [&Fill; 2] = [&send_to(2, "/reset/300001", PLACE, 400_000, 0), &reply(2, 2)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let (told, rest) = waiting.await.unwrap();
        assert_eq!((told.error, told.has(FLAG_FILE), told.offset), (ErrorCode::Ok, true, 400_000));
        // Unless the claim came when all was there.
        if !told.has(FLAG_DONE) {
            assert_eq!(
                (rest.error, failed(&instance, 2).await),
                (ErrorCode::ConnectionReset, ErrorCode::ConnectionReset)
            );
        }
        stop(&instance).await;
    });
}

#[test]
fn what_an_application_does_to_its_file_harms_nobody() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&bridge, &host, &server).await;
        let (other, other_id) = started(&bridge, &host, &server).await;
        let path = files(&bridge, &id).remove(0);
        let theirs = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        theirs.set_len(0).unwrap();
        assert_eq!(submit(&instance, &[&send_to(1, "/bytes/300000", PLACE, 0, 500_000)]).await, ErrorCode::Ok);
        assert_eq!(failed(&instance, 1).await, ErrorCode::Protocol);
        theirs.set_len(BYTES * 4).unwrap();
        let batch: [&Fill; 2] =
            [&send_to(2, "/bytes/1000", PLACE, 0, 1000), &send_to(3, "/slow/10000", PLACE, 4096, 0)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        assert_eq!(failed(&instance, 2).await, ErrorCode::Ok);
        Events::of(&instance).find(|seen| matches!(seen, Seen::FirstByte(3)).then_some(())).await;
        theirs.set_len(0).unwrap();
        server.open();
        assert_eq!(failed(&instance, 3).await, ErrorCode::Protocol);
        assert_eq!(submit(&other, &[&send_to(1, "/bytes/300000", PLACE, 0, 0)]).await, ErrorCode::Ok);
        assert_eq!(failed(&other, 1).await, ErrorCode::Ok);
        assert_eq!(files(&bridge, &other_id).len(), 1);
        stop(&instance).await;
        stop(&other).await;
    });
}

#[test]
fn files_count_for_the_instance_and_are_gone_with_a_killed_bridge() {
    let mut bridge = Bridge::start();
    let server = Server::start();
    let mut left = PathBuf::new();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_, id, code) = created(&bridge, &host, &server, 3 * BYTES).await;
        assert_eq!((code, files(&bridge, &id).len()), (ErrorCode::InstanceMemoryFull, 0));
        let (_instance, id) = started(&bridge, &host, &server).await;
        left = files(&bridge, &id).remove(0);
    });
    bridge.restart_hard();
    assert!(!left.exists());
}

#[test]
fn a_function_whose_files_cannot_be_is_refused() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (archive, bundle) = host::archive("app.py", b"");
        host::put_bundle(&bridge.socket(), &bundle, &archive);
        for files in [
            vec![("/etc/passwd", 1)],
            vec![("/tmp/a", 0)],
            vec![("/tmp/a", 1), ("/tmp/a", 2)],
            vec![("/tmp/a", 1), ("/tmp/a/b", 1)],
            vec![("/tmp/../a", 1)],
            vec![("/tmp/a", u64::MAX)],
            (0..17).map(|_| ("/tmp/a", 1)).collect(),
        ] {
            let put = host.put("f", &bundle, |function| {
                let mut list = function.init_files(files.len() as u32);
                for (index, (path, bytes)) in files.iter().enumerate() {
                    let mut file = list.reborrow().get(index as u32);
                    file.set_path(*path);
                    file.set_bytes(*bytes);
                }
            });
            assert_eq!(put.await, ErrorCode::InvalidArgument, "{files:?}");
        }
    });
}

//! Segments that an application maps before it claims what lies in them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, Told, map};
use common::host::{self, Events, Fill, Host, beside, connect, pause, reply, send, stop, submit};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_DONE, FLAG_FD, FLAG_NO_FD};

/// Asks from a thread beside the control stream.
async fn ask(mut app: App, op: AppOp, ask: Ask) -> (App, Told) {
    beside(move || {
        let told = app.ask(op, &ask);
        (app, told)
    })
    .await
}

fn after(news: u64) -> Ask {
    Ask { b: news, deadline: 5000, ..Ask::default() }
}

#[test]
fn a_segment_is_told_when_its_bytes_begin_to_come_and_are_for_the_application() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let ahead = App::connect(&bridge.app_socket(&id));
        let unpublished: [&Fill; 2] = [&connect(1, &server.address), &send(1, 1, "GET /bytes/200000\n\n")];
        assert_eq!(submit(&instance, &unpublished).await, ErrorCode::Ok);
        Events::of(&instance).done(1).await;
        let (ahead, none) = ask(ahead, AppOp::Segment, Ask { deadline: 50, ..after(0) }).await;
        assert_eq!(none.error, ErrorCode::Deadline, "a reply is the script's until it is sent on");
        let (ahead, none) = ask(ahead, AppOp::Segment, Ask { a: 1, ..Ask::default() }).await;
        assert_eq!(none.error, ErrorCode::NotFound, "its number is worth nothing");

        let waiting = tokio::task::spawn_local(ask(ahead, AppOp::Segment, after(0)));
        pause(50).await;
        let slow: [&Fill; 2] = [&send(1, 2, "GET /slow/300000\n\n"), &reply(2, 2)];
        assert_eq!(submit(&instance, &slow).await, ErrorCode::Ok);
        let (ahead, news) = waiting.await.unwrap();
        assert_eq!((news.error, news.flags), (ErrorCode::Ok, FLAG_FD));
        assert!(news.id > 0 && news.total >= 300_000, "{news:?}");
        let content = |path: &str| format!("GET {}{path}", server.address);
        assert_eq!((news.offset, news.text()), (2, content("/slow/300000")), "and which message it is of");
        let mapped = map(&news.file.unwrap());

        let claim = Ask { id: 2, flags: FLAG_NO_FD, ..Ask::default() };
        let claiming = tokio::task::spawn_local(ask(App::connect(&bridge.app_socket(&id)), AppOp::RecvMsg, claim));
        server.open();
        let (app, told) = claiming.await.unwrap();
        assert!(told.has(FLAG_DONE) && !told.has(FLAG_FD));
        assert_eq!(told.segment, news.segment);
        assert_eq!(&mapped[told.offset as usize..][..300_000], pattern(300_000));
        let (_, again) = ask(app, AppOp::Segment, Ask { a: told.segment, ..Ask::default() }).await;
        assert_eq!((again.segment, again.flags), (told.segment, FLAG_FD), "whoever lacks it asks for it");

        // What was finished before it is sent on is told, too; what was told is not told again.
        assert_eq!(submit(&instance, &[&reply(1, 1)]).await, ErrorCode::Ok);
        let (ahead, finished) = ask(ahead, AppOp::Segment, after(news.id)).await;
        assert!(finished.id > news.id && finished.segment != news.segment && finished.has(FLAG_FD));
        assert_eq!((finished.offset, finished.text()), (1, content("/bytes/200000")));
        let at_once = |news| Ask { c: 1, deadline: 60_000, ..after(news) };
        let (ahead, same) = ask(ahead, AppOp::Segment, at_once(news.id)).await;
        assert_eq!((same.id, same.segment, same.flags), (finished.id, finished.segment, FLAG_FD));
        let (ahead, none) = ask(ahead, AppOp::Segment, at_once(finished.id)).await;
        assert_eq!(none.error, ErrorCode::Deadline);
        let (_, taken) = ask(ahead, AppOp::Segment, at_once(0)).await;
        assert_eq!(
            (taken.segment, taken.offset, taken.text()),
            (news.segment, 0, String::new()),
            "nobody can claim it"
        );
        stop(&instance).await;
    });
}

#[test]
fn a_segment_whose_bytes_broke_off_is_to_be_dropped() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 3] = [&connect(1, &server.address), &send(1, 1, "GET /reset/300000\n\n"), &reply(1, 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let (ahead, first) = ask(App::connect(&bridge.app_socket(&id)), AppOp::Segment, after(0)).await;
        assert!(first.has(FLAG_FD));
        let (ahead, gone) = ask(ahead, AppOp::Segment, after(first.id)).await;
        assert_eq!((gone.error, gone.segment, gone.flags), (ErrorCode::Ok, first.segment, 0));
        let (ahead, second) = ask(ahead, AppOp::Segment, after(gone.id)).await;
        assert!(second.has(FLAG_FD) && second.segment != first.segment);
        let (app, told) =
            ask(App::connect(&bridge.app_socket(&id)), AppOp::RecvMsg, Ask { id: 1, ..Ask::default() }).await;
        assert_eq!((told.segment, told.length, told.has(FLAG_FD)), (second.segment, 300_000, true));

        // What the application frees itself is no news.
        let (_, freed) = ask(app, AppOp::Free, Ask { a: told.segment, ..Ask::default() }).await;
        assert_eq!(freed.error, ErrorCode::Ok);
        let (_, none) = ask(ahead, AppOp::Segment, Ask { deadline: 50, ..after(second.id) }).await;
        assert_eq!(none.error, ErrorCode::Deadline);
        stop(&instance).await;
    });
}

#[test]
fn claims_that_are_sent_together_are_answered_in_their_order() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 5] = [
            &connect(1, &server.address),
            &send(1, 1, "GET /bytes/200000\n\n"),
            &reply(1, 1),
            &send(1, 2, "GET /slow/300000\n\n"),
            &reply(2, 2),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let mut app = App::connect(&bridge.app_socket(&id));
        let claiming = tokio::task::spawn_local(beside(move || {
            for id in [2, 1, 2] {
                app.send(AppOp::RecvMsg, &Ask { id, ..Ask::default() });
            }
            [(); 3].map(|()| app.receive().unwrap())
        }));
        pause(50).await;
        server.open();
        let [slow, other, again] = claiming.await.unwrap();
        assert_eq!([slow.length, other.length], [300_000, 200_000]);
        assert!(slow.has(FLAG_FD) && other.has(FLAG_FD) && slow.segment != other.segment);
        assert_eq!(again.error, ErrorCode::AlreadyClaimed);
        stop(&instance).await;
    });
}

#[test]
fn whoever_waits_for_news_leaves_with_the_instance() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = host.started(&bridge, &server.address, |_| {}).await;
        let mut ahead = App::connect(&bridge.app_socket(&id));
        let waiting = tokio::task::spawn_local(beside(move || {
            ahead.send(AppOp::Segment, &after(u64::MAX));
            ahead.receive()
        }));
        pause(50).await;
        stop(&instance).await;
        let told = waiting.await.unwrap();
        assert!(told.is_none_or(|told| told.error == ErrorCode::InstanceClosed));
    });
}

//! What was handed over and not taken when its invocation ended, in a real bridge.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use common::Bridge;
use common::app::App;
use common::given::{about, ask, line, started, stream};
use common::host::{self, Events, Host, Seen, adopt, beside, connect, pause, send, stop, submit, transfer, withdraw};
use common::lines::Lines;
use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;

/// Waits until so many connections are open at the server.
async fn open(lines: &Lines, count: usize) {
    let began = Instant::now();
    while lines.open() != count {
        assert!(began.elapsed() < Duration::from_secs(10), "{} connections are open, not {count}", lines.open());
        pause(5).await;
    }
}

#[test]
fn an_offer_that_is_withdrawn_is_closed_and_can_be_had_no_more() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
        let mut events = Events::of(&instance);
        let batch: [&host::Fill; 2] = [&connect(1, &lines.framed()), &transfer(1, &lines.framed(), 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        events.find(|event| matches!(event, Seen::ConnReady { .. }).then_some(())).await;
        open(&lines, 1).await;
        // The framing makes no difference.
        assert_eq!(submit(&instance, &[&withdraw(1, &lines.address(), false)]).await, ErrorCode::Ok);
        let released = Seen::ConnReleased { id: 1, address: lines.framed() };
        events.find(|event| (*event == released).then_some(())).await;
        open(&lines, 0).await;
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        assert_eq!(told.error, ErrorCode::Voided, "{}", told.text());

        // One that is still to come (an RPC is under way on it) closes when it comes; who waits for it hears of it at once.
        let batch: [&host::Fill; 3] =
            [&connect(2, &lines.framed()), &send(2, 1, "wait"), &transfer(2, &lines.framed(), 2)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let waiting = tokio::task::spawn_local(ask(app, AppOp::GetConn, about(2, &lines.address())));
        pause(100).await;
        assert!(!waiting.is_finished(), "an RPC is under way");
        assert_eq!(submit(&instance, &[&withdraw(2, &lines.address(), false)]).await, ErrorCode::Ok);
        let (_, told) = waiting.await.unwrap();
        assert_eq!(told.error, ErrorCode::Voided);
        lines.open_gate();
        assert!(matches!(events.done(1).await, Seen::Done { error: ErrorCode::Ok, .. }));
        open(&lines, 0).await;

        // Of what was never handed over, or is withdrawn already, nothing is told.
        let batch: [&host::Fill; 2] = [&withdraw(1, &lines.address(), false), &withdraw(9, "tcp://h:1", false)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        stop(&instance).await;
        events.ended().await;
        let told = events.all.iter().filter(|event| matches!(event, Seen::ConnReleased { .. })).count();
        assert_eq!(told, 2);
    });
}

#[test]
fn a_gift_that_is_withdrawn_is_closed_and_one_that_the_script_has_stays_its_own() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
        let mut events = Events::of(&instance);
        let mut app = App::connect(&bridge.app_socket(&id));
        for number in [1, 2] {
            let tcp = TcpStream::connect(&lines.at).unwrap();
            let ask = about(number, &lines.address());
            app = beside(move || {
                assert_eq!(app.ask_with(AppOp::TransferConn, &ask, &[tcp.as_raw_fd()]).error, ErrorCode::Ok);
                app
            })
            .await;
        }
        open(&lines, 2).await;
        assert_eq!(submit(&instance, &[&adopt(1, 1, &lines.framed())]).await, ErrorCode::Ok);
        let batch: [&host::Fill; 2] = [&withdraw(1, &lines.address(), true), &withdraw(2, &lines.address(), true)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let released = Seen::ConnReleased { id: 2, address: lines.address() };
        events.find(|event| (*event == released).then_some(())).await;
        open(&lines, 1).await;
        let batch: [&host::Fill; 3] =
            [&send(1, 1, "echo mine"), &adopt(2, 2, &lines.framed()), &send(2, 2, "echo nobody's")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let both = async |events: &mut Events| {
            let first = events.find(|event| matches!(event, Seen::Done { .. }).then(|| event.clone())).await;
            let second = events.find(|event| matches!(event, Seen::Done { .. }).then(|| event.clone())).await;
            [first, second]
        };
        for done in both(&mut events).await {
            let Seen::Done { rpc, inlined, error, .. } = done else { panic!() };
            match rpc {
                1 => assert_eq!(inlined, b"mine"),
                _ => assert_eq!(error, ErrorCode::NotFound),
            }
        }
        stop(&instance).await;
        events.ended().await;
    });
}

/// Whoever is first: the application has the connection, whole, or it is closed and the application hears why.
#[test]
fn of_taking_and_withdrawing_at_one_time_exactly_one_happens() {
    const ROUNDS: u64 = 60;
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (mut taken, mut withdrawn) = (0, 0);
        for round in 0..ROUNDS {
            let (instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
            let mut events = Events::of(&instance);
            let batch: [&host::Fill; 2] = [&connect(1, &lines.framed()), &transfer(1, &lines.framed(), 1)];
            assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
            events.find(|event| matches!(event, Seen::ConnReady { .. }).then_some(())).await;
            let app = App::connect(&bridge.app_socket(&id));
            let asking = tokio::task::spawn_local(ask(app, AppOp::GetConn, about(1, &lines.address())));
            tokio::time::sleep(Duration::from_micros(round * 20)).await;
            assert_eq!(submit(&instance, &[&withdraw(1, &lines.address(), false)]).await, ErrorCode::Ok);
            let (_app, mut told) = asking.await.unwrap();
            if told.error == ErrorCode::Ok {
                taken += 1;
                let mut stream = stream(&mut told);
                beside(move || assert_eq!(line(&mut *stream, "echo mine"), "mine\n")).await;
            } else {
                assert_eq!(told.error, ErrorCode::Voided, "{}", told.text());
                withdrawn += 1;
                open(&lines, 0).await;
            }
            let had = told.error == ErrorCode::Ok;
            stop(&instance).await;
            events.ended().await;
            let released = events.all.iter().any(|event| matches!(event, Seen::ConnReleased { .. }));
            assert_eq!(released, !had, "exactly one has it");
            open(&lines, 0).await;
        }
        assert_eq!(taken + withdrawn, ROUNDS);
    });
}

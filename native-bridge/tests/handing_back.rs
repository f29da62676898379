//! What an application gives its initscript: messages and connections; and what it sends that it should not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::Bridge;
use common::app::{App, Ask, Told};
use common::given::{about, ask, line, started, stream};
use common::host::{
    self, Events, Host, Seen, adopt, beside, connect, pause, read_message, send, stop, submit, transfer,
};
use common::lines::Lines;
use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_INLINE};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

fn message(id: u64, bytes: &[u8]) -> Ask {
    Ask { id, flags: FLAG_INLINE, payload: bytes.to_vec(), ..Ask::default() }
}

/// Hands over what these descriptors are of.
async fn give(mut app: App, about: Ask, files: Vec<OwnedFd>) -> (App, Told) {
    beside(move || {
        let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let told = app.ask_with(AppOp::TransferConn, &about, &numbers);
        (app, told)
    })
    .await
}

#[test]
fn messages_are_kept_once_and_within_bounds() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[]).await;
        let mut events = Events::of(&instance);
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = ask(app, AppOp::SendMsg, message(1, b"one")).await;
        assert_eq!(told.error, ErrorCode::Ok);
        let one = Seen::AppMessage { id: 1, length: 3, inlined: b"one".to_vec() };
        events.find(|event| (*event == one).then_some(())).await;
        let (app, told) = ask(app, AppOp::SendMsg, message(1, b"again")).await;
        assert_eq!(told.error, ErrorCode::MessageDuplicate);

        let (app, outbox) = ask(app, AppOp::Outbox, Ask { a: 3 << 20, ..Ask::default() }).await;
        let file = std::fs::File::from(outbox.file.unwrap());
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 2 << 20], 0).unwrap();
        let long = |id, length| Ask { id, a: 5, b: length, ..Ask::default() };
        let (app, told) = ask(app, AppOp::SendMsg, long(2, 1 << 20)).await;
        assert_eq!(told.error, ErrorCode::Ok);
        let two = Seen::AppMessage { id: 2, length: 1 << 20, inlined: Vec::new() };
        events.find(|event| (*event == two).then_some(())).await;
        assert_eq!(read_message(&instance, 2, 0, 1 << 20).await.unwrap(), vec![7; 1 << 20]);
        assert_eq!(read_message(&instance, 1, 1, 100).await.unwrap(), b"ne");
        assert_eq!(read_message(&instance, 1, u64::MAX, 100).await.unwrap(), b"");
        assert_eq!(read_message(&instance, 9, 0, 1).await.unwrap_err(), ErrorCode::NotFound);

        let (app, told) = ask(app, AppOp::SendMsg, long(3, (1 << 20) + 1)).await;
        assert_eq!(told.error, ErrorCode::PayloadTooLarge);
        let (app, told) = ask(app, AppOp::SendMsg, long(3, u64::MAX)).await;
        assert_eq!(told.error, ErrorCode::InvalidArgument);
        let (app, told) = ask(app, AppOp::SendMsg, message(4, b"")).await;
        assert_eq!(told.error, ErrorCode::Ok);
        let (app, told) = ask(app, AppOp::SendMsg, message(5, b"")).await;
        assert_eq!(told.error, ErrorCode::Ok);
        let (_, told) = ask(app, AppOp::SendMsg, message(6, b"")).await;
        assert_eq!(told.error, ErrorCode::TooMany);
        stop(&instance).await;
        events.ended().await;
    });
}

/// What an application sends is its tenant's memory, until its instance ends.
#[test]
fn messages_count_on_the_tenants_memory() {
    let bridge = Bridge::start();
    let used = || {
        let tenants: serde_json::Value =
            serde_json::from_str(bridge.get("/tenants").unwrap().split("\r\n\r\n").last().unwrap()).unwrap();
        let all = tenants["tenants"].as_array().unwrap();
        all.iter().find(|tenant| tenant["name"] == "default").unwrap()["used"]["memory"].as_u64().unwrap()
    };
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[]).await;
        let before = used();
        assert!(bridge.put("/tenants/default", &format!(r#"{{"memory":{}}}"#, before + 3000)).contains("204"));
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = ask(app, AppOp::SendMsg, message(1, &[1; 2000])).await;
        assert_eq!(told.error, ErrorCode::Ok, "{}", told.text());
        assert_eq!(used(), before + 2000);
        let (app, told) = ask(app, AppOp::SendMsg, message(2, &[1; 2000])).await;
        assert_eq!(told.error, ErrorCode::QuotaExceeded, "{}", told.text());
        let (_, told) = ask(app, AppOp::SendMsg, message(2, &[1; 1000])).await;
        assert_eq!(told.error, ErrorCode::Ok);
        stop(&instance).await;
        Events::of(&instance).ended().await;
        assert_eq!(used(), before);
    });
}

#[test]
fn a_socket_of_the_application_becomes_the_scripts_and_goes_back() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
        let mut events = Events::of(&instance);
        let mut tcp = TcpStream::connect(&lines.at).unwrap();
        assert_eq!(line(&mut tcp, "echo mine"), "mine\n");
        let app = App::connect(&bridge.app_socket(&id));
        let (app, told) = give(app, about(1, &lines.address()), vec![tcp.into()]).await;
        assert_eq!(told.error, ErrorCode::Ok, "{}", told.text());
        let offered = Seen::ConnOffered { id: 1, address: lines.address() };
        events.find(|event| (*event == offered).then_some(())).await;
        let batch: [&host::Fill; 4] = [
            &adopt(5, 1, &lines.framed()),
            &send(5, 1, "echo theirs"),
            &send(5, 2, "echo too"),
            &transfer(2, &lines.address(), 5),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        assert!(matches!(events.done(1).await, Seen::Done { inlined, .. } if inlined == b"theirs"));
        assert!(matches!(events.done(2).await, Seen::Done { inlined, .. } if inlined == b"too"));
        let (app, mut told) = ask(app, AppOp::GetConn, about(2, &lines.address())).await;
        let mut back = stream(&mut told);
        beside(move || assert_eq!(line(&mut *back, "echo back"), "back\n")).await;

        // Once only, and only what there is.
        let batch: [&host::Fill; 4] = [
            &adopt(6, 1, &lines.framed()),
            &send(6, 3, "echo x"),
            &adopt(7, 9, &lines.framed()),
            &send(7, 4, "echo x"),
        ];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        for rpc in [3, 4] {
            assert!(matches!(events.done(rpc).await, Seen::Done { error: ErrorCode::NotFound, .. }));
        }
        let tcp = TcpStream::connect(&lines.at).unwrap();
        let (_, told) = give(app, about(1, &lines.address()), vec![tcp.into()]).await;
        assert_eq!(told.error, ErrorCode::AlreadyExists);
        stop(&instance).await;
        events.ended().await;
        let began = Instant::now();
        while lines.open() > 0 {
            assert!(began.elapsed() < Duration::from_secs(5), "a connection stays open");
            pause(5).await;
        }
    });
}

#[test]
fn a_carried_connection_is_handed_over_by_its_number() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "gvisor", &[lines.address()]).await;
        let mut events = Events::of(&instance);
        let batch: [&host::Fill; 2] = [&connect(1, &lines.framed()), &transfer(1, &lines.address(), 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let app = App::connect(&bridge.app_socket(&id));
        let (app, mut told) = ask(app, AppOp::GetConn, about(1, &lines.address())).await;
        let mut carried = stream(&mut told);
        carried.write_all(b"echo unread\n").unwrap();
        let by_number = |id| Ask { a: 1, ..about(id, &lines.address()) };
        pause(100).await;
        let (app, told) = ask(app, AppOp::TransferConn, by_number(2)).await;
        assert_eq!(told.error, ErrorCode::ConnectionBusy);
        let carried = beside(move || {
            let mut bytes = [0; 7];
            carried.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"unread\n");
            assert_eq!(line(&mut *carried, "echo whole"), "whole\n");
            carried
        })
        .await;
        // The application stops using it first.
        let (app, told) = ask(app, AppOp::TransferConn, by_number(2)).await;
        assert_eq!(told.error, ErrorCode::Ok, "{}", told.text());
        drop(carried);
        let batch: [&host::Fill; 2] = [&adopt(2, 2, &lines.framed()), &send(2, 1, "echo script")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        assert!(matches!(events.done(1).await, Seen::Done { inlined, .. } if inlined == b"script"));
        assert_eq!(lines.accepted(), 1);
        for (number, code) in
            [(1, ErrorCode::InvalidArgument), (7, ErrorCode::NotFound), (u64::MAX, ErrorCode::NotFound)]
        {
            let mut app = App::connect(&bridge.app_socket(&id));
            let ask = Ask { a: number, ..about(3, &lines.address()) };
            let told = beside(move || app.ask(AppOp::TransferConn, &ask)).await;
            assert_eq!(told.error, code, "{number}: {}", told.text());
        }
        drop(app);
    });
}

#[test]
fn what_is_no_connection_is_refused_and_closed() {
    let (bridge, lines) = (Bridge::start(), Lines::start());
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_instance, id) = started(&host, &bridge, "bubblewrap", &[lines.address()]).await;
        let fds = || std::fs::read_dir(format!("/proc/{}/fd", bridge.pid())).unwrap().count();
        let mut app = App::connect(&bridge.app_socket(&id));
        assert_eq!(app.ask(AppOp::Hello, &Ask::default()).error, ErrorCode::Ok);
        let before = fds();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(&lines.at).unwrap();
        let (pair, _other) = UnixStream::pair().unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let closed = {
            let tcp = TcpStream::connect(&lines.at).unwrap();
            (&tcp).write_all(b"quit\n").unwrap();
            pause(50).await;
            tcp
        };
        let unread = {
            let tcp = TcpStream::connect(&lines.at).unwrap();
            (&tcp).write_all(b"echo unread\n").unwrap();
            pause(50).await;
            tcp
        };
        let tcp = || OwnedFd::from(TcpStream::connect(&lines.at).unwrap());
        let place = lines.address();
        for (files, ask, code) in [
            (vec![tempfile::tempfile().unwrap().into()], about(1, &place), ErrorCode::InvalidArgument),
            (vec![listener.into()], about(1, &place), ErrorCode::ConnectionReset),
            (vec![udp.into()], about(1, &place), ErrorCode::InvalidArgument),
            (vec![pair.into()], about(1, &place), ErrorCode::InvalidArgument),
            (vec![reader.into()], about(1, &place), ErrorCode::InvalidArgument),
            (vec![closed.into()], about(1, &place), ErrorCode::ConnectionReset),
            (vec![unread.into()], about(1, &place), ErrorCode::ConnectionBusy),
            (vec![tcp(), tcp()], about(1, &place), ErrorCode::InvalidArgument),
            (vec![tcp()], Ask { a: 1, ..about(1, &place) }, ErrorCode::InvalidArgument),
            (vec![tcp()], about(1, "tcps://h:1"), ErrorCode::Unsupported),
            (vec![tcp()], about(1, "s3://bucket"), ErrorCode::Unsupported),
            (vec![tcp()], about(1, "nonsense"), ErrorCode::InvalidArgument),
            (vec![tcp()], about(1, "\u{0}"), ErrorCode::InvalidArgument),
            (vec![], about(1, &place), ErrorCode::InvalidArgument),
        ] {
            let what = format!("{files:?} {ask:?}");
            let told;
            (app, told) = give(app, ask, files).await;
            assert_eq!(told.error, code, "{what}: {}", told.text());
        }
        for index in 0..8 {
            let told;
            (app, told) = give(app, about(10 + index, &place), vec![tcp()]).await;
            assert_eq!(told.error, ErrorCode::Ok);
        }
        let (_, told) = give(app, about(20, &place), vec![tcp()]).await;
        assert_eq!(told.error, ErrorCode::TooMany);
        // Of each gift the bridge keeps its socket and a descriptor to close last.
        let began = Instant::now();
        while fds() > before + 16 {
            assert!(began.elapsed() < Duration::from_secs(5), "{} descriptors more", fds() - before);
            pause(5).await;
        }
    });
}

/// Writes until the peer's buffer is full, too: what only waits to be sent on a busy machine would arrive later, and nothing linger.
fn fill(tcp: &TcpStream) {
    tcp.set_nonblocking(true).unwrap();
    let mut refused = 0;
    while refused < 5 {
        if (&mut &*tcp).write(&[0; 65536]).is_ok() {
            refused = 0;
        } else {
            refused += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One end of a socketpair in which a socket lies whose close(2) takes as long as nobody reads what was written to it; and who
/// does not.
fn lingering(listener: &TcpListener) -> (OwnedFd, TcpStream) {
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    fill(&tcp);
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 30 };
    nix::sys::socket::setsockopt(&tcp, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let files = [tcp.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&files)];
    let bytes = [std::io::IoSlice::new(b"x")];
    sendmsg::<()>(near.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
    (far.into(), accepted)
}

#[test]
fn sockets_that_linger_hold_nobody_up() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (_mine, mine) = started(&host, &bridge, "bubblewrap", &[]).await;
        let (_other, other) = started(&host, &bridge, "bubblewrap", &[]).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut held = Vec::new();
        for index in 0..6 {
            let (file, unread) = lingering(&listener);
            let mut app = App::connect(&bridge.app_socket(&mine));
            if index % 2 == 0 {
                // While the first waits the second comes, which ends the connection: nobody receives the third.
                app.send(AppOp::RecvMsg, &Ask { id: 1, deadline: 100, ..Ask::default() });
                app.send_raw(&[1], &[]);
            }
            app.send_with(AppOp::Hello, &Ask::default(), &[file.as_raw_fd()]);
            held.push((app, unread));
        }
        pause(300).await;
        let mut app = App::connect(&bridge.app_socket(&other));
        let began = Instant::now();
        let told = beside(move || app.ask(AppOp::Hello, &Ask::default())).await;
        assert_eq!(told.error, ErrorCode::Ok);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        drop(held);
    });
}

#[test]
fn an_application_that_has_too_much_closed_ends() {
    let bridge = Bridge::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, id) = started(&host, &bridge, "bubblewrap", &[]).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut held = Vec::new();
        // Whoever closes the last of them waits. That is to be the bridge: it begins when ours are closed.
        bridge.stop();
        for _ in 0..3 {
            let (file, unread) = lingering(&listener);
            let mut app = App::connect(&bridge.app_socket(&id));
            app.send_with(AppOp::Hello, &Ask::default(), &[file.as_raw_fd(); 253]);
            held.push((app, unread));
        }
        bridge.signal(Signal::SIGCONT);
        let Seen::Ended { reason, .. } = Events::of(&instance).ended().await else { panic!() };
        assert!(reason.contains("wait to be closed"), "{reason}");
        drop(held);
    });
}

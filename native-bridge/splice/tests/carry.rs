//! A spliced connection beside what a TCP socket itself would do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use headstart_base::ErrorCode;
use headstart_splice::{End, Handle, State, carry};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

/// The server's socket, the application's end, and the bridge's part between them.
fn carried(idle: Duration) -> (TcpStream, UnixStream, Handle, JoinHandle<End>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bridge = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let carried = carry(OwnedFd::from(bridge), idle).unwrap();
    let app = UnixStream::from(carried.theirs);
    for limit in [app.set_read_timeout(Some(LONG)), server.set_read_timeout(Some(LONG))] {
        limit.unwrap();
    }
    (server, app, carried.handle, tokio::spawn(carried.work))
}

async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn end(work: JoinHandle<End>) -> End {
    tokio::time::timeout(LONG, work).await.unwrap().unwrap()
}

/// Bytes that tell their place.
fn numbered(from: u64, count: usize) -> Vec<u8> {
    (from..).take(count).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_at_once_lose_and_repeat_nothing() {
    const BYTES: usize = 30_000_000;
    let (server, app, handle, work) = carried(LONG);
    let mut workers = Vec::new();
    for (mut reader, mut writer, salt) in [
        (
            Box::new(server.try_clone().unwrap()) as Box<dyn Read + Send>,
            Box::new(app.try_clone().unwrap()) as Box<dyn Write + Send>,
            0_u64,
        ),
        (Box::new(app.try_clone().unwrap()), Box::new(server.try_clone().unwrap()), 1 << 40),
    ] {
        workers.push(std::thread::spawn(move || writer.write_all(&numbered(salt, BYTES)).unwrap()));
        workers.push(std::thread::spawn(move || {
            let mut bytes = vec![0; BYTES];
            reader.read_exact(&mut bytes).unwrap();
            assert!(bytes == numbered(salt, BYTES));
        }));
    }
    beside(move || workers.into_iter().for_each(|worker| worker.join().unwrap())).await;
    assert_eq!((handle.status.received(), handle.status.sent()), (BYTES as u64, BYTES as u64));
    assert_eq!(handle.status.state(), State::Open);
    drop((server, app));
    assert!(matches!(end(work).await, End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closes_go_through_each_way() {
    let (mut server, mut app, handle, work) = carried(LONG);
    beside(move || {
        app.write_all(b"question").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        let mut asked = String::new();
        server.read_to_string(&mut asked).unwrap();
        assert_eq!(asked, "question");
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut answered = String::new();
        app.read_to_string(&mut answered).unwrap();
        assert_eq!(answered, "answer");
        assert_eq!(handle.status.state(), State::Ended);
    })
    .await;
    assert!(matches!(end(work).await, End::Done));

    let (mut server, mut app, handle, work) = carried(LONG);
    beside(move || {
        server.write_all(b"banner").unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        app.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), handle.status.state()), ("banner", State::Ended));
        app.write_all(b"still here").unwrap();
        drop(app);
        let mut heard = String::new();
        server.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "still here");
    })
    .await;
    assert!(matches!(end(work).await, End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_told_apart_from_an_end() {
    let (mut server, mut app, handle, work) = carried(LONG);
    server.write_all(b"half").unwrap();
    let half = beside(move || {
        let mut half = [0; 4];
        app.read_exact(&mut half).unwrap();
        nix::sys::socket::setsockopt(
            &server,
            nix::sys::socket::sockopt::Linger,
            &libc::linger { l_onoff: 1, l_linger: 0 },
        )
        .unwrap();
        drop(server);
        let ended = app.read(&mut [0; 10]);
        assert!(matches!(ended, Ok(0)), "{ended:?}");
        half
    })
    .await;
    assert_eq!(&half, b"half");
    let State::Broken(error) = handle.status.state() else { panic!("{:?}", handle.status) };
    assert_eq!(error.code, ErrorCode::ConnectionReset);
    assert!(matches!(end(work).await, End::Broken(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_killed_closes_or_resets_as_tcp_does() {
    // Nothing unread: an ordinary end, which a server that says nothing still hears.
    let (mut server, mut app, _handle, work) = carried(LONG);
    app.write_all(b"last words").unwrap();
    drop(app);
    assert!(matches!(end(work).await, End::Done));
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last words");

    // Bytes unread: a reset.
    let (mut server, app, handle, work) = carried(LONG);
    server.write_all(&[1; 100_000]).unwrap();
    let began = Instant::now();
    while handle.status.received() < 100_000 && began.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(app);
    assert!(matches!(end(work).await, End::Done));
    let error = beside(move || server.read(&mut [0; 10])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_reading_stops_the_other() {
    let (mut server, mut app, handle, work) = carried(LONG);
    server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let (mut server, sent) = beside(move || {
        let mut sent = 0;
        // What the sockets' buffers and the pipe take, and no more.
        while let Ok(count) = server.write(&numbered(sent as u64, 100_000)) {
            sent += count;
            assert!(sent < 50_000_000);
        }
        (server, sent)
    })
    .await;
    let mut bytes = vec![0; sent];
    let bytes = beside(move || {
        app.read_exact(&mut bytes).unwrap();
        server.write_all(b"!").unwrap();
        app.read_exact(&mut [0]).unwrap();
        bytes
    })
    .await;
    assert!(bytes == numbered(0, sent));
    assert_eq!(handle.status.received(), sent as u64 + 1);
    assert!(matches!(end(work).await, End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_it() {
    let (_server, mut app, handle, work) = carried(Duration::from_millis(100));
    let End::Broken(error) = end(work).await else { panic!("{handle:?}") };
    assert_eq!(error.code, ErrorCode::Deadline);
    assert_eq!(beside(move || app.read(&mut [0; 4]).unwrap()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_taken_back_when_nothing_is_on_its_way() {
    let (mut server, mut app, handle, work) = carried(LONG);
    let soon = || Instant::now() + Duration::from_secs(5);
    server.write_all(b"unread").unwrap();
    while handle.status.received() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handle.take_back(soon()).await.unwrap_err().code, ErrorCode::ConnectionBusy);
    let mut six = [0; 6];
    app.read_exact(&mut six).unwrap();
    assert_eq!(&six, b"unread");
    app.write_all(b"the last request").unwrap();
    handle.take_back(soon()).await.unwrap();
    let End::TakenBack(tcp) = end(work).await else { panic!("not taken back") };
    let mut asked = [0; 16];
    server.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"the last request");
    assert_eq!(app.read(&mut six).unwrap(), 0);
    let mut tcp = TcpStream::from(tcp);
    tcp.set_nonblocking(false).unwrap();
    server.write_all(b"for the bridge").unwrap();
    let mut told = [0; 14];
    tcp.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"for the bridge");
    assert_eq!(handle.take_back(soon()).await.unwrap_err().code, ErrorCode::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_do_not_come_with_the_bytes() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;

    let (_server, app, _handle, _work) = carried(LONG);
    let files = [app.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&files)];
    let sent = sendmsg::<()>(app.as_raw_fd(), &[std::io::IoSlice::new(b"x")], &rights, MsgFlags::empty(), None);
    // A kernel that has SO_PASSRIGHTS.
    let kernel = nix::sys::utsname::uname().unwrap();
    let release = kernel.release().to_string_lossy().into_owned();
    let mut version = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (version.next(), version.next()) >= (Some(6), Some(16)) {
        assert_eq!(sent.unwrap_err(), nix::Error::EPERM);
    }
}

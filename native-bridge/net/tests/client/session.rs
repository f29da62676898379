//! Connections of one's own: order, turns, and never a byte too many.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{ErrorCode, Result};
use headstart_net::{Address, Done, Progress, Request, Session, SessionParts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Sink, client};

/// A server whose one connection is what `serve` makes of it.
pub(crate) async fn serving<F: Future<Output = ()> + Send + 'static>(
    scheme: &str,
    suffix: &str,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{scheme}://{}{suffix}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        serve(tcp).await;
    });
    Address::parse(&address).unwrap()
}

/// A server that sends `answer` once it has read `request` bytes, then holds the connection.
pub(crate) async fn answering(scheme: &str, suffix: &str, request: usize, answer: impl Into<Vec<u8>>) -> Address {
    let answer = answer.into();
    serving(scheme, suffix, move |mut tcp| async move {
        tcp.read_exact(&mut vec![0; request]).await.unwrap();
        // The peer may have hung up on what it got so far.
        drop(tcp.write_all(&answer).await);
        while tcp.read_u8().await.is_ok() {}
    })
    .await
}

pub(crate) async fn open(address: &Address) -> Session {
    client().open("t", address, None, within(2000)).await.unwrap()
}

pub(crate) fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

pub(crate) async fn say(session: &Session, raw: &[u8]) -> (Result<Done>, Sink) {
    say_within(session, raw, 2000).await
}

pub(crate) async fn say_within(session: &Session, raw: &[u8], ms: u64) -> (Result<Done>, Sink) {
    let request = Request::parse(session.address(), raw).unwrap();
    let mut sink = Sink::default();
    let done = session.send(&request, within(ms), &mut sink, &mut |_| {}).await;
    (done, sink)
}

pub(crate) async fn code(session: &Session, raw: &[u8]) -> ErrorCode {
    say(session, raw).await.0.unwrap_err().code
}

#[tokio::test]
async fn every_framing_goes_out_and_comes_in() {
    for (suffix, sent, answer) in
        [("?frame=u32", 9, &b"\0\0\0\x05world"[..]), ("?frame=line", 6, b"world\n"), ("?frame=fixed:5", 5, b"world")]
    {
        let address = answering("tcp", suffix, sent, answer).await;
        let session = open(&address).await;
        let mut steps = Vec::new();
        let request = Request::parse(&address, b"hello").unwrap();
        let mut sink = Sink::default();
        let done = session.send(&request, within(2000), &mut sink, &mut |step| steps.push(step)).await.unwrap();
        assert_eq!((done.head.status, done.length, &sink.bytes[..]), (0, 5, &b"world"[..]), "{suffix}");
        assert_eq!(done.head.content_length, Some(5));
        let told =
            [Progress::Connected { reused: true }, Progress::Sent { attempt: 1, reused: true }, Progress::FirstByte];
        assert_eq!(steps, told);
        session.alive().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_read_that_does_not_belong_to_the_answer() {
    for (suffix, sent, answer) in
        [("?frame=u32", 5, &b"\0\0\0\x01a\0\0\0\x01b"[..]), ("?frame=line", 2, b"a\nb\n"), ("?frame=fixed:1", 1, b"ab")]
    {
        let address = answering("tcp", suffix, sent, answer).await;
        let session = open(&address).await;
        let (done, sink) = say(&session, b"x").await;
        done.unwrap();
        assert_eq!(sink.bytes, b"a");
        assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionBusy);
        let (SessionParts::Tcp(mut tcp), _) = session.into_parts() else { panic!("not TCP") };
        let mut rest = vec![0; answer.len() / 2];
        tcp.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, &answer[answer.len() / 2..], "{suffix}");
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_answers() {
    let address = serving("tcp", "?frame=line", |mut tcp| async move {
        // No answer before the third request is there.
        let mut asked = [0; 6];
        tcp.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"a\nb\nc\n");
        tcp.write_all(b"A\nB\nC\n").await.unwrap();
        drop(tcp.read_u8().await);
    })
    .await;
    let session = Arc::new(open(&address).await);
    let mut asking = Vec::new();
    for letter in ["a", "b", "c"] {
        let session = Arc::clone(&session);
        asking.push(tokio::spawn(async move { say(&session, letter.as_bytes()).await.1.bytes }));
        tokio::task::yield_now().await;
    }
    assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionBusy);
    for (asking, expected) in asking.into_iter().zip(["A", "B", "C"]) {
        assert_eq!(asking.await.unwrap(), expected.as_bytes());
    }
    session.alive().unwrap();
}

#[tokio::test]
async fn what_is_cut_off_breaks_the_connection() {
    let address = answering("tcp", "?frame=line", 1000, "").await;
    let session = open(&address).await;
    assert_eq!(say_within(&session, b"x", 50).await.0.unwrap_err().code, ErrorCode::RpcTimeout);
    assert_eq!(code(&session, b"y").await, ErrorCode::ConnectionReset);
    assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionReset);
    let session = open(&answering("tcp", "?frame=line", 2, "x\n").await).await;
    let request = Request::parse(session.address(), b"a\nb").unwrap();
    let refused = session.send(&request, within(100), &mut Sink::default(), &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert_eq!(say(&session, b"x").await.1.bytes, b"x", "what was not sent breaks nothing");
}

#[tokio::test]
async fn a_closed_connection_is_known_to_be_closed() {
    let address = serving("tcp", "?frame=line", |tcp| async move { drop(tcp) }).await;
    let session = open(&address).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionReset);
    let address = serving("tcp", "?frame=line", |tcp| async move { tcp.set_zero_linger().unwrap() }).await;
    let session = open(&address).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionReset);
}

#[tokio::test]
async fn hostile_framing_is_a_typed_error() {
    for (suffix, sent, answer, expected) in [
        ("?frame=u32", 5, b"\xff\xff\xff\xffx".to_vec(), ErrorCode::InstanceMemoryFull),
        ("?frame=line", 2, vec![b'x'; 200_000], ErrorCode::BadReply),
    ] {
        let session = open(&answering("tcp", suffix, sent, answer).await).await;
        assert_eq!(code(&session, b"x").await, expected, "{suffix}");
        assert_eq!(code(&session, b"x").await, ErrorCode::ConnectionReset);
    }
    for (answer, expected) in [
        (&b"\0\0"[..], ErrorCode::BodyTruncated),
        (b"\0\0\0\x05ab", ErrorCode::BodyTruncated),
        (b"", ErrorCode::ConnectionReset),
    ] {
        let answer = answer.to_vec();
        let address = serving("tcp", "?frame=u32", move |mut tcp| async move {
            tcp.read_exact(&mut [0; 5]).await.unwrap();
            tcp.write_all(&answer).await.unwrap();
        })
        .await;
        assert_eq!(code(&open(&address).await, b"x").await, expected);
    }
    let silent = answering("tcp", "?frame=u32", 5, b"\0\0\0\x05a".to_vec()).await;
    assert_eq!(code(&open(&silent).await, b"x").await, ErrorCode::RpcTimeout, "silence in a body");
}

#[tokio::test]
async fn a_connection_from_an_application_is_checked_and_never_blocks() {
    let address = answering("tcp", "?frame=line", 2, "y\n").await;
    let tcp = std::net::TcpStream::connect((address.host.as_str(), address.port)).unwrap();
    let kept = tcp.try_clone().unwrap();
    let session = Session::adopt(address.clone(), OwnedFd::from(tcp)).unwrap();
    // The application still holds the socket, and makes it blocking.
    kept.set_nonblocking(false).unwrap();
    assert!(session.peer().is_some());
    session.alive().unwrap();
    assert_eq!(say(&session, b"x").await.1.bytes, b"y");
    let begin = Instant::now();
    assert_eq!(say_within(&session, b"x", 100).await.0.unwrap_err().code, ErrorCode::RpcTimeout);
    assert!(begin.elapsed() < Duration::from_millis(400), "a blocking read would have held the thread");

    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let unconnected = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (fd, expected) in [
        (OwnedFd::from(unix), ErrorCode::InvalidArgument),
        (OwnedFd::from(file), ErrorCode::InvalidArgument),
        (OwnedFd::from(unconnected), ErrorCode::ConnectionReset),
    ] {
        assert_eq!(Session::adopt(address.clone(), fd).err().unwrap().code, expected);
    }
    let tls = Address::parse("tcps://h:1").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(Session::adopt(tls, OwnedFd::from(tcp)).err().unwrap().code, ErrorCode::Unsupported);
}

#[tokio::test]
async fn an_http_connection_can_be_ones_own() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let address = answering("http", "", 20, answer).await;
    let session = open(&address).await;
    let (done, sink) = say(&session, b"GET /x\n\n").await;
    assert_eq!((done.unwrap().head.status, &sink.bytes[..]), (200, &b"hello"[..]));
    session.alive().unwrap();
}

//! gRPC against servers that a test controls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use headstart_base::{ErrorCode, Result};
use headstart_net::{Address, Client, Done, Request};
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Sink, client};
use crate::session::within;

/// What a server answers: HTTP status, content type, pieces of body, trailers.
#[derive(Clone)]
struct Answer {
    status: u16,
    kind: &'static str,
    pieces: Vec<Vec<u8>>,
    trailers: Option<Vec<(&'static str, String)>>,
}

fn fine(message: &[u8]) -> Answer {
    let prefix = (message.len() as u32).to_be_bytes();
    let pieces = vec![[&[0][..], &prefix, message].concat()];
    Answer { status: 200, kind: "application/grpc+proto", pieces, trailers: Some(vec![("grpc-status", "0".into())]) }
}

/// A server that gives each call the same answer; and how many calls and connections it had.
async fn serve(answer: Answer) -> (Address, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = to(listener.local_addr().unwrap());
    let (calls, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asked, opened) = (Arc::clone(&calls), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            opened.fetch_add(1, Ordering::SeqCst);
            let (answer, asked) = (answer.clone(), Arc::clone(&asked));
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                while let Some(Ok((_request, respond))) = connection.accept().await {
                    asked.fetch_add(1, Ordering::SeqCst);
                    reply(respond, &answer);
                }
            });
        }
    });
    (address, calls, connections)
}

fn to(address: SocketAddr) -> Address {
    Address::parse(&format!("grpc://{address}")).unwrap()
}

fn reply(mut respond: SendResponse<Bytes>, answer: &Answer) {
    let head = Response::builder().status(answer.status).header("content-type", answer.kind).body(()).unwrap();
    let Ok(mut stream) = respond.send_response(head, answer.pieces.is_empty() && answer.trailers.is_none()) else {
        return;
    };
    for (index, piece) in answer.pieces.iter().enumerate() {
        let last = index + 1 == answer.pieces.len() && answer.trailers.is_none();
        drop(stream.send_data(Bytes::copy_from_slice(piece), last));
    }
    if let Some(trailers) = &answer.trailers {
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        drop(stream.send_trailers(map));
    }
}

async fn call(client: &Client, address: &Address, ms: u64) -> (Result<Done>, Vec<u8>) {
    let request = Request::parse(address, b"/a.B/C\nx-token: y\n\nhello").unwrap();
    let mut sink = Sink::default();
    let done = client.send("t", address, None, &request, within(ms), &mut sink, &mut |_| {}).await;
    (done, sink.bytes)
}

async fn code(answer: Answer) -> ErrorCode {
    call(&client(), &serve(answer).await.0, 2000).await.0.unwrap_err().code
}

#[tokio::test]
async fn one_connection_serves_a_tenants_calls() {
    let (address, calls, connections) = serve(fine(b"world")).await;
    let client = client();
    client.warm("t", &address, None);
    for _ in 0..20 {
        let (done, body) = call(&client, &address, 2000).await;
        assert_eq!((done.unwrap().head.status, &body[..]), (0, &b"world"[..]));
    }
    assert_eq!((calls.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (20, 1));
    let request = Request::parse(&address, b"/a.B/C\n\n").unwrap();
    client.send("other", &address, None, &request, within(2000), &mut Sink::default(), &mut |_| {}).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2, "tenants do not share");
}

#[tokio::test]
async fn an_error_takes_the_place_of_the_message() {
    let status = |status: &str| vec![("grpc-status", status.to_owned()), ("grpc-message", "n%C3%B3".to_owned())];
    for answer in [
        Answer { trailers: Some(status("5")), ..fine(b"half") },
        Answer { pieces: vec![], trailers: Some(status("5")), ..fine(b"") },
        Answer { pieces: vec![vec![0, 0, 0, 0, 9, b'x']], trailers: Some(status("5")), ..fine(b"") },
    ] {
        let (done, body) = call(&client(), &serve(answer).await.0, 2000).await;
        assert_eq!((done.unwrap().head.status, &body[..]), (5, "nó".as_bytes()));
    }
    let empty = call(&client(), &serve(fine(b"")).await.0, 2000).await;
    assert_eq!((empty.0.unwrap().length, empty.1.len()), (0, 0));
    let split = Answer { pieces: b"\0\0\0\0\x05world".iter().map(|&byte| vec![byte]).collect(), ..fine(b"") };
    assert_eq!(call(&client(), &serve(split).await.0, 2000).await.1, b"world");
}

#[tokio::test]
async fn what_is_no_answer_to_a_call() {
    let trailers = |status: &str| Some(vec![("grpc-status", status.to_owned())]);
    for (what, answer) in [
        ("HTTP status", Answer { status: 404, ..fine(b"x") }),
        ("content type", Answer { kind: "text/html", ..fine(b"x") }),
        ("two messages", Answer { pieces: [fine(b"x").pieces, fine(b"y").pieces].concat(), ..fine(b"") }),
        ("compressed", Answer { pieces: vec![vec![1, 0, 0, 0, 0]], ..fine(b"") }),
        ("no message", Answer { pieces: vec![], ..fine(b"") }),
        ("more than it says", Answer { pieces: vec![vec![0, 0, 0, 0, 1, b'x', b'y']], ..fine(b"") }),
        ("status", Answer { trailers: trailers("-1"), ..fine(b"x") }),
        ("status", Answer { trailers: trailers("99999"), ..fine(b"x") }),
        ("status", Answer { trailers: trailers(""), ..fine(b"x") }),
    ] {
        assert_eq!(code(answer).await, ErrorCode::BadReply, "{what}");
    }
    for (what, answer) in [
        ("no trailers", Answer { trailers: None, ..fine(b"x") }),
        ("half a message", Answer { pieces: vec![vec![0, 0, 0, 0, 9, b'x']], ..fine(b"") }),
    ] {
        assert_eq!(code(answer).await, ErrorCode::BodyTruncated, "{what}");
    }
    let full = Answer { pieces: vec![vec![0, 0xff, 0xff, 0xff, 0xff]], ..fine(b"") };
    assert_eq!(code(full).await, ErrorCode::InstanceMemoryFull);
    let large = Answer { trailers: Some(vec![("grpc-status", "0".into()), ("x", "y".repeat(100_000))]), ..fine(b"x") };
    assert!(matches!(code(large).await, ErrorCode::BadReply | ErrorCode::ConnectionReset), "headers are bounded");
}

#[tokio::test]
async fn servers_that_speak_something_else_or_nothing() {
    for (answer, hold) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false),
        (b"", false),
        (b"", true),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = to(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                drop(tcp.read_u8().await);
                drop(tcp.write_all(answer).await);
                if hold {
                    while tcp.read_u8().await.is_ok() {}
                }
            }
        });
        let begin = Instant::now();
        let code = call(&client(), &address, 3000).await.0.unwrap_err().code;
        let expected =
            if hold { vec![ErrorCode::RpcTimeout] } else { vec![ErrorCode::ConnectionReset, ErrorCode::BadReply] };
        assert!(expected.contains(&code), "{code:?} for {answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_call_is_repeated_only_when_the_server_did_not_look_at_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = to(listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    match asked.fetch_add(1, Ordering::SeqCst) {
                        0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
                        1 => reply(respond, &fine(b"second")),
                        _ => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    }
                }
            });
        }
    });
    let client = client();
    let (done, body) = call(&client, &address, 2000).await;
    assert_eq!((done.unwrap().attempts, &body[..]), (2, &b"second"[..]));
    assert_eq!(call(&client, &address, 2000).await.0.unwrap_err().code, ErrorCode::ConnectionReset);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_has_gone_is_replaced() {
    let (address, calls, connections) = serve(fine(b"x")).await;
    let client = client();
    call(&client, &address, 2000).await.0.unwrap();
    // The server ends connections that are too busy pinging, or at will; here the client's own idea of it is tested.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let once = to(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let Ok((tcp, _)) = listener.accept().await else { return };
            let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
            if let Some(Ok((_, respond))) = connection.accept().await {
                reply(respond, &fine(b"once"));
            }
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        }
    });
    for _ in 0..3 {
        let (done, body) = call(&client, &once, 2000).await;
        assert_eq!((done.unwrap().head.status, &body[..]), (0, &b"once"[..]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((calls.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (1, 1));
}

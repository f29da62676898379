//! Servers that break the rules, each with one connection after the other.

use std::time::{Duration, Instant};

use crate::server::{Server, Sink, Step, ask, ask_into, client};
use headstart_base::ErrorCode;
use headstart_net::{Address, Client, ClientConfig, Progress, Reach, Scheme, Store};

const OK5: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// All connections read a request, send this and close.
async fn once(text: &str) -> Server {
    Server::start(vec![vec![Step::Read(0), send(text)]]).await
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::answering(OK5).await;
    let client = client();
    for round in 0..3 {
        let got = ask(&client, &server, "GET /x\n\n").await;
        assert_eq!(got.body(), b"hello");
        let reused = round > 0;
        assert_eq!(
            got.progress,
            [Progress::Connected { reused }, Progress::Sent { attempt: 1, reused }, Progress::FirstByte]
        );
    }
    assert_eq!(server.opened(), 1);
}

#[tokio::test]
async fn warming_opens_the_connection_that_a_request_then_takes() {
    let server = Server::answering(OK5).await;
    let client = client();
    client.warm("tenant", &server.to(), None);
    client.warm("tenant", &server.to(), None);
    let got = ask(&client, &server, "GET /x\n\n").await;
    assert_eq!(got.progress[0], Progress::Connected { reused: false });
    assert_eq!((got.body(), server.opened()), (&b"hello"[..], 1));
    client.warm("other tenant", &server.to(), None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.opened(), 2);
}

#[tokio::test]
async fn a_body_that_is_too_short_is_tried_again_and_then_told() {
    let server = once("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let got = ask(&client(), &server, "GET /x\n\n").await;
    assert_eq!(got.code(), ErrorCode::BodyTruncated);
    assert_eq!((server.opened(), got.sink.begins), (3, 3));
    let got = ask(&client(), &server, "POST /x\n\n").await;
    assert_eq!((got.code(), server.opened()), (ErrorCode::BodyTruncated, 4));
}

#[tokio::test]
async fn a_reset_in_mid_body_begins_a_fresh_body() {
    let broken =
        vec![Step::Read(0), send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"), Step::Wait(20), Step::Reset];
    let server = Server::start(vec![broken, vec![Step::Read(0), send(OK5), Step::Hold]]).await;
    let got = ask(&client(), &server, "GET /x\n\n").await;
    assert_eq!((got.body(), got.sink.begins, got.result.as_ref().unwrap().attempts), (&b"hello"[..], 2, 2));
}

#[tokio::test]
async fn surplus_bytes_end_the_connection_not_the_answer() {
    let surplus = format!("{OK5}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    let server = Server::start(vec![
        vec![Step::Read(0), send(&surplus), Step::Hold],
        vec![
            Step::Read(0),
            send(OK5),
            Step::Wait(50),
            send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
            Step::Hold,
        ],
        vec![Step::Read(0), send(OK5), Step::Hold],
    ])
    .await;
    let client = client();
    for opened in 1..=3 {
        let got = ask(&client, &server, "GET /x\n\n").await;
        assert_eq!((got.body(), server.opened()), (&b"hello"[..], opened));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    let server = Server::start(vec![
        vec![Step::Read(0), send(OK5)],
        // This one dies when the second request has already been sent.
        vec![Step::Read(0), send(OK5), Step::Read(0), Step::Reset],
        vec![Step::Read(0), send(OK5), Step::Hold],
    ])
    .await;
    let client = client();
    assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"hello");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let got = ask(&client, &server, "GET /x\n\n").await;
    assert_eq!((got.result.unwrap().attempts, server.opened()), (1, 2), "seen to be dead before it was used");
    let begin = Instant::now();
    let got = ask(&client, &server, "GET /x\n\n").await;
    assert_eq!((got.result.as_ref().unwrap().attempts, server.opened()), (2, 3));
    assert!(got.progress.contains(&Progress::Sent { attempt: 2, reused: false }));
    assert!(begin.elapsed() < Duration::from_millis(100), "at once");
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again_and_the_last_one_is_the_answer() {
    let error = "HTTP/1.1 503 Slow Down\r\ncontent-length: 4\r\n\r\nslow";
    let server = Server::start(vec![
        vec![Step::Read(0), send(error), Step::Hold],
        vec![Step::Read(0), send(error), Step::Hold],
        vec![Step::Read(0), send(OK5), Step::Hold],
    ])
    .await;
    let got = ask(&client(), &server, "GET /x\n\n").await;
    assert_eq!((got.body(), got.sink.begins, got.result.as_ref().unwrap().attempts), (&b"hello"[..], 1, 3));
    let server = Server::answering(error).await;
    let got = ask(&client(), &server, "GET /x\n\n").await;
    assert_eq!((got.body(), got.result.as_ref().unwrap().head.status, server.asked()), (&b"slow"[..], 503, 3));
    let got = ask(&client(), &server, "POST /x\n\n").await;
    assert_eq!((got.result.unwrap().head.status, server.asked()), (503, 4));
}

#[tokio::test]
async fn chunks_come_together() {
    for answer in [
        "5\r\nhello\r\n0\r\n\r\n",
        "1\r\nh\r\n4;ext=1\r\nello\r\n0\r\nTrailer: x\r\n\r\n",
        "005 \r\nhello\r\n000;last\r\n\r\n",
    ] {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{answer}")).await;
        let client = client();
        for _ in 0..2 {
            assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"hello", "{answer:?}");
        }
        assert_eq!(server.opened(), 1, "exactly the trailers are consumed");
    }
}

#[tokio::test]
async fn bad_chunks_are_bad_replies() {
    for (answer, code) in [
        ("x\r\nhello\r\n0\r\n\r\n", ErrorCode::BadReply),
        ("-1\r\nhello\r\n0\r\n\r\n", ErrorCode::BadReply),
        ("5\nhello\r\n0\r\n\r\n", ErrorCode::BadReply),
        ("4\r\nhello\r\n0\r\n\r\n", ErrorCode::BadReply),
        ("ffffffffffffffff0\r\nhello", ErrorCode::BadReply),
        ("3\r\nabc\r\nffffffffffffffff\r\nhello", ErrorCode::BadReply),
        ("5\r\nhello\r\n0\r\nbad\n\r\n", ErrorCode::BadReply),
        ("5\r\nhello\r\n", ErrorCode::BodyTruncated),
        ("6\r\nhello", ErrorCode::BodyTruncated),
        ("5\r\nhello\r\n0\r\n", ErrorCode::BodyTruncated),
    ] {
        let server = once(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{answer}")).await;
        assert_eq!(ask(&client(), &server, "GET /x\n\n").await.code(), code, "{answer:?}");
    }
    let long =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(600));
    assert_eq!(ask(&client(), &once(&long).await, "GET /x\n\n").await.code(), ErrorCode::BadReply);
    let trailers = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", "a: b\r\n".repeat(2000));
    assert_eq!(ask(&client(), &once(&trailers).await, "GET /x\n\n").await.code(), ErrorCode::BadReply);
}

#[tokio::test]
async fn heads_are_bounded() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(100));
    let big = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(17_000));
    let endless = "HTTP/1.1 200 OK\r\na: ".to_owned() + &"x".repeat(100_000);
    for answer in [many, big, endless, "SMTP ready\r\n".to_owned(), "HTTP/1.1 1000 X\r\n\r\n".to_owned()] {
        assert_eq!(ask(&client(), &once(&answer).await, "GET /x\n\n").await.code(), ErrorCode::BadReply);
    }
    let large = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 5\r\n\r\nhello", "x".repeat(15_000));
    assert_eq!(ask(&client(), &once(&large).await, "GET /x\n\n").await.body(), b"hello");
}

#[tokio::test]
async fn interim_answers_are_skipped_but_not_for_ever() {
    let some = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_owned() + OK5;
    assert_eq!(ask(&client(), &once(&some).await, "GET /x\n\n").await.body(), b"hello");
    let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000) + OK5;
    assert_eq!(ask(&client(), &once(&storm).await, "GET /x\n\n").await.code(), ErrorCode::BadReply);
    let switch = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(ask(&client(), &once(switch).await, "GET /x\n\n").await.code(), ErrorCode::BadReply);
}

#[tokio::test]
async fn answers_without_a_body() {
    let head = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n").await;
    let client = client();
    for _ in 0..2 {
        let got = ask(&client, &head, "HEAD /x\n\n").await;
        let done = got.result.unwrap();
        assert_eq!(
            (done.length, done.head.content_length, done.head.header("content-length")),
            (0, Some(0), Some("99"))
        );
    }
    assert_eq!(head.opened(), 1);
    for status in ["204 No Content", "304 Not Modified"] {
        let server = Server::answering(format!("HTTP/1.1 {status}\r\ncontent-length: 9\r\n\r\n")).await;
        assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"");
        assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"");
        assert_eq!(server.opened(), 1);
    }
}

#[tokio::test]
async fn a_body_may_end_with_the_connection() {
    let server = once("HTTP/1.1 200 OK\r\n\r\nhello").await;
    let client = client();
    assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"hello");
    assert_eq!(ask(&client, &server, "GET /x\n\n").await.body(), b"hello");
    assert_eq!(server.opened(), 2);
    let reset = vec![Step::Read(0), send("HTTP/1.1 200 OK\r\n\r\nhel"), Step::Wait(20), Step::Reset];
    let server = Server::start(vec![reset]).await;
    assert_eq!(ask(&client, &server, "GET /x\n\n").await.code(), ErrorCode::ConnectionReset);
}

#[tokio::test]
async fn silence_ends_in_time() {
    for steps in [
        vec![Step::Hold],
        vec![Step::Read(0), send("HTTP/1.1 200 OK\r\n"), Step::Hold],
        vec![Step::Read(0), send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"), Step::Hold],
        vec![Step::Read(0), send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Step::Hold],
    ] {
        let server = Server::start(vec![steps.clone()]).await;
        let begin = Instant::now();
        let got = ask(&client(), &server, "GET /x\n\n").await;
        assert_eq!((got.code(), server.opened()), (ErrorCode::RpcTimeout, 1), "{steps:?}");
        assert!(begin.elapsed() < Duration::from_millis(800));
    }
}

#[tokio::test]
async fn a_trickle_ends_at_the_deadline_without_spinning() {
    let mut steps = vec![Step::Read(0), send("HTTP/1.1 200 OK\r\n")];
    for _ in 0..100 {
        steps.extend([send("a: b\r\n"), Step::Wait(20)]);
    }
    let server = Server::start(vec![steps]).await;
    let before = cpu();
    let got = ask_into(&client(), &server, "GET /x\n\n", Sink::default(), Duration::from_millis(300)).await;
    assert_eq!(got.code(), ErrorCode::RpcTimeout);
    assert!(cpu() - before < Duration::from_millis(150), "waiting for more of a head costs next to nothing");
}

/// CPU time of this thread: the test's runtime has no other.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[tokio::test]
async fn a_half_head_and_an_end_do_not_spin() {
    let server = once("HTTP/1.1 200 OK\r\na: b").await;
    let begin = Instant::now();
    assert_eq!(ask(&client(), &server, "POST /x\n\n").await.code(), ErrorCode::BodyTruncated);
    assert!(begin.elapsed() < Duration::from_millis(200));
    let server = once("").await;
    assert_eq!(ask(&client(), &server, "POST /x\n\n").await.code(), ErrorCode::ConnectionReset);
}

#[tokio::test]
async fn heads_and_chunks_come_in_single_bytes() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\na: b\r\n\r\n";
    let mut steps = vec![Step::Read(0)];
    for byte in answer.bytes() {
        steps.extend([Step::Send(vec![byte]), Step::Wait(1)]);
    }
    steps.push(Step::Hold);
    let server = Server::start(vec![steps]).await;
    assert_eq!(ask(&client(), &server, "GET /x\n\n").await.body(), b"hello");
}

#[tokio::test]
async fn full_memory_is_the_callers_error_and_ends_the_connection() {
    let server = Server::answering(OK5).await;
    let client = client();
    let got = ask_into(&client, &server, "GET /x\n\n", Sink::new(4, 4), Duration::from_secs(1)).await;
    assert_eq!((got.code(), server.opened(), got.sink.begins), (ErrorCode::InstanceMemoryFull, 1, 1));
    let chunked =
        Server::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let got = ask_into(&client, &chunked, "GET /x\n\n", Sink::new(4, 2), Duration::from_secs(1)).await;
    assert_eq!((got.code(), got.sink.bytes.as_slice()), (ErrorCode::InstanceMemoryFull, &b"hell"[..]));
    assert_eq!(ask(&client, &chunked, "GET /x\n\n").await.body(), b"hello");
    assert_eq!(chunked.opened(), 2);
}

#[tokio::test]
async fn large_requests_go_up_whole() {
    let body = "x".repeat(3_000_000);
    let server = Server::start(vec![vec![Step::Read(body.len()), send(OK5), Step::Hold]]).await;
    assert_eq!(ask(&client(), &server, &format!("PUT /x\n\n{body}")).await.body(), b"hello");
}

#[tokio::test]
async fn an_answer_in_the_middle_of_a_large_request_is_the_answer() {
    let denied = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let body = "x".repeat(30_000_000);
    let server = Server::start(vec![vec![Step::Read(10), send(denied), Step::Wait(1000)]]).await;
    let client = client();
    let got = ask(&client, &server, &format!("PUT /x\n\n{body}")).await;
    assert_eq!((got.body(), got.result.as_ref().unwrap().head.status), (&b"no"[..], 403));
    let patient = vec![Step::Read(10), send("HTTP/1.1 100 Continue\r\n\r\n"), Step::Wait(50), Step::Hold];
    let server = Server::start(vec![patient]).await;
    let got = ask(&client, &server, &format!("PUT /x\n\n{body}")).await;
    assert_eq!(got.code(), ErrorCode::RpcTimeout, "an interim answer is none");
}

#[tokio::test]
async fn the_nodes_own_network_is_not_for_functions() {
    let server = Server::answering(OK5).await;
    let reaching = |reach| Client::new(ClientConfig { reach, ..ClientConfig::default() });
    let deadline = Instant::now() + Duration::from_secs(5);
    let send = async |client: &Client, address: &str, store: Option<&Store>| {
        let address = Address::parse(address).unwrap();
        let request = headstart_net::Request::parse(&address, b"GET x\n\n").unwrap();
        let mut sink = Sink::default();
        let done = client.send("t", &address, store, &request, deadline, &mut sink, &mut |_| {}).await;
        done.map(|done| done.head.status).map_err(|error| error.code)
    };
    let (public, spelled) = (reaching(Reach::Public), reaching(Reach::Spelled));
    let port = server.address.port();
    let url = |host: &str| format!("http://{host}:{port}");
    let store = Store::new(&url("127.0.0.1"), "r", "a", "s").unwrap();
    let metadata = Store::new("http://169.254.169.254", "r", "a", "s").unwrap();
    let denied = Err(ErrorCode::EgressDenied);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "[::127.0.0.1]", "2130706433", "127.1"] {
        let code = send(&public, &url(host), None).await;
        // Whatever the resolver makes of a number.
        assert!(code == denied || code == Err(ErrorCode::NameNotResolved), "{host}: {code:?}");
    }
    assert_eq!(send(&public, "s3://models", Some(&store)).await, denied, "a secret is a tenant's own");
    assert_eq!(server.opened(), 0);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        assert_eq!(send(&spelled, &url(host), None).await, Ok(200), "{host}");
    }
    assert_eq!(send(&spelled, "s3://models", Some(&store)).await, Ok(200));
    for client in [&public, &spelled] {
        for host in ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]"] {
            assert_eq!(send(client, &format!("http://{host}"), None).await, denied, "{host}");
            assert_eq!(
                client.resolve(&Address::parse(&format!("http://{host}")).unwrap(), None).await.unwrap_err().code,
                ErrorCode::EgressDenied
            );
        }
        assert_eq!(send(client, "s3://models", Some(&metadata)).await, denied);
    }
    for address in ["redis://127.0.0.1:1", "memcached://localhost", "tcp://[::1]:1", "grpc://127.0.0.1:1"] {
        let address = Address::parse(address).unwrap();
        let opened = match address.scheme {
            Scheme::Grpc => {
                let call = headstart_net::Request::parse(&address, b"/a.B/C\n\n").unwrap();
                let mut sink = Sink::default();
                public.send("t", &address, None, &call, deadline, &mut sink, &mut |_| {}).await.map(drop)
            }
            _ => public.open("t", &address, None, deadline).await.map(drop),
        };
        assert_eq!(opened.unwrap_err().code, ErrorCode::EgressDenied, "{address}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let other = Server::answering(OK5).await;
    let to = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/x\r\ncontent-length: 0\r\n\r\n", other.address);
    let server = Server::answering(to).await;
    let got = ask(&client(), &server, "GET /x\n\n").await;
    assert_eq!((got.result.unwrap().head.status, other.opened()), (302, 0));
}

#[tokio::test]
async fn nobody_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let address = Address::parse(&format!("http://{address}")).unwrap();
    let request = headstart_net::Request::parse(&address, b"POST /x\n\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let error =
        client().send("t", &address, None, &request, deadline, &mut Sink::default(), &mut |_| {}).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ConnectFailed);
    assert!(error.message.contains(&address.to_string()), "{error}");
    let s3 = Address::parse("s3://models").unwrap();
    let request = headstart_net::Request::parse(&s3, b"GET x\n\n").unwrap();
    let error = client().send("t", &s3, None, &request, deadline, &mut Sink::default(), &mut |_| {}).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownSecret);
}

#[tokio::test]
async fn a_claim_of_a_task_is_never_repeated() {
    let url = "{\"QueueUrl\":\"http://h/1/jobs\"}";
    let found = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{url}", url.len());
    let whole = "{\"QueueName\":\"jobs\"}".len();
    let server = Server::start(vec![
        vec![Step::Read(whole), send(&found)],
        vec![Step::Read(0), Step::Reset],
        vec![Step::Read(0), send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), Step::Hold],
    ])
    .await;
    let store = Store::new(&server.to().to_string(), "r", "a", "s").unwrap();
    let queue = Address::parse("sqs://jobs").unwrap();
    let claim = headstart_net::Request::parse(&queue, b"ReceiveMessage\n\n{}").unwrap();
    let client = client();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut sink = Sink::default();
    let lost = client.send("t", &queue, Some(&store), &claim, deadline, &mut sink, &mut |_| {}).await.unwrap_err();
    assert_eq!((lost.code, server.asked()), (ErrorCode::ConnectionReset, 2), "the URL, and one claim");
    let busy = client.send("t", &queue, Some(&store), &claim, deadline, &mut sink, &mut |_| {}).await.unwrap();
    assert_eq!((busy.head.status, busy.attempts, server.asked()), (503, 1, 3), "the URL is known now");
}

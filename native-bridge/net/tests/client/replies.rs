//! Answers of Redis and memcached that no honest server would give.

use headstart_base::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::session::{answering, code, open, say, serving};

/// The answer to HELLO, which every connection to Redis begins with, and then another.
async fn redis(answer: &[u8]) -> headstart_net::Session {
    let hello = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n".len();
    let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".len();
    let answer = answer.to_vec();
    let address = serving("redis", "", move |mut tcp| async move {
        tcp.read_exact(&mut vec![0; hello]).await.unwrap();
        tcp.write_all(b"+OK\r\n").await.unwrap();
        tcp.read_exact(&mut vec![0; get]).await.unwrap();
        drop(tcp.write_all(&answer).await);
        drop(tcp.shutdown().await);
        while tcp.read_u8().await.is_ok() {}
    })
    .await;
    open(&address).await
}

#[tokio::test]
async fn malformed_redis_answers() {
    let deep = "*1\r\n".repeat(100);
    let wide = "*1000000\r\n".repeat(33);
    for answer in [
        "\r\n",
        "\n",
        "x\r\n",
        "HTTP/1.1 200 OK\r\n",
        "+OK\n",
        "$5\r\nhelloXX",
        "$5\nhello\r\n",
        "$-2\r\n",
        "$+5\r\nhello\r\n",
        "$ 5\r\nhello\r\n",
        "$\r\n",
        "$99999999999999\r\n",
        "$18446744073709551617\r\n",
        "=3\r\ntxt\r\n",
        "*?\r\n",
        "$?\r\n",
        ">2\r\n+a\r\n+b\r\n",
        "|1\r\n+a\r\n+b\r\n+c\r\n",
        "*2\r\n+a\r\n>1\r\n+b\r\n",
        "*1\r\n$3\r\nabcXX",
        "*1\r\nx\r\n",
        "*1\r\n\r\n",
        &deep,
        &wide,
    ] {
        assert_eq!(code(&redis(answer.as_bytes()).await, b"GET k").await, ErrorCode::BadReply, "{answer:.50?}");
    }
    assert_eq!(code(&redis(&[b'+'; 100_000]).await, b"GET k").await, ErrorCode::BadReply, "a line without end");
    let too_much = ErrorCode::InstanceMemoryFull;
    assert_eq!(code(&redis(b"$1000000000000\r\n").await, b"GET k").await, too_much);
    let many = [&b"*100000000\r\n"[..], b"$100000\r\n", &vec![b'x'; 70_000_000]].concat();
    assert_eq!(code(&redis(&many).await, b"GET k").await, ErrorCode::BadReply);
    for answer in ["$5\r\nhel", "$5\r\nhello", "*2\r\n+a\r\n", "*1\r\n$5\r\nhe", "+O", "%1\r\n+a\r\n", "=9\r\ntx"] {
        assert_eq!(code(&redis(answer.as_bytes()).await, b"GET k").await, ErrorCode::BodyTruncated, "{answer:?}");
    }
    assert_eq!(code(&redis(b"").await, b"GET k").await, ErrorCode::ConnectionReset);
}

#[tokio::test]
async fn odd_but_honest_redis_answers() {
    for (answer, status, body) in [
        ("$0\r\n\r\n", 0, ""),
        ("$-1\r\n", 2, ""),
        ("*-1\r\n", 2, ""),
        ("_\r\n", 2, ""),
        ("#t\r\n", 0, "t"),
        (",inf\r\n", 0, "inf"),
        ("(3492890328409238509324850943850943825024385\r\n", 0, "3492890328409238509324850943850943825024385"),
        ("!5\r\nERR x\r\n", 1, "ERR x"),
        ("-ERR y\r\n", 1, "ERR y"),
        ("=7\r\ntxt:abc\r\n", 0, "abc"),
        ("*0\r\n", 0, "*0\r\n"),
        ("~2\r\n*0\r\n%0\r\n", 0, "~2\r\n*0\r\n%0\r\n"),
        ("*3\r\n$-1\r\n$0\r\n\r\n*-1\r\n", 0, "*3\r\n$-1\r\n$0\r\n\r\n*-1\r\n"),
    ] {
        let session = redis(answer.as_bytes()).await;
        let (done, sink) = say(&session, b"GET k").await;
        assert_eq!((done.unwrap().head.status, &sink.bytes[..]), (status, body.as_bytes()), "{answer:?}");
    }
}

#[tokio::test]
async fn nested_answers_come_in_pieces_of_any_size() {
    let large = "y".repeat(200_000);
    let answer = format!("*4\r\n%1\r\n+a\r\n$200000\r\n{large}\r\n$3\r\nabc\r\n*1\r\n:1\r\n-ERR\r\n");
    for piece in [1, 7, 4096, 70_000] {
        // The large string in small pieces would take its time.
        let answer = if piece < 100 { answer.replace(&large, "").replace("200000", "0") } else { answer.clone() };
        let expected = answer.clone();
        let address = serving("redis", "", move |mut tcp| async move {
            tcp.read_exact(&mut [0; 22]).await.unwrap();
            tcp.write_all(b"+OK\r\n").await.unwrap();
            tcp.read_exact(&mut [0; 20]).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            for piece in answer.as_bytes().chunks(piece) {
                tcp.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            while tcp.read_u8().await.is_ok() {}
        })
        .await;
        let session = open(&address).await;
        let (done, sink) = say(&session, b"GET k").await;
        assert_eq!((done.unwrap().length, sink.bytes.len()), (expected.len() as u64, expected.len()));
        assert_eq!(sink.bytes, expected.as_bytes());
        session.alive().unwrap();
    }
}

#[tokio::test]
async fn malformed_memcached_answers() {
    let ask = b"mg k v".len() + 2;
    for answer in [
        "\r\n",
        "VA\r\n",
        "VA x\r\n",
        "VA -1\r\n",
        "VA 5\r\nhelloXX",
        "HD\n",
        "WHAT\r\n",
        "VA 99999999999999\r\n",
        "\u{e9}\r\n",
    ] {
        let session = open(&answering("memcached", "", ask, answer).await).await;
        assert_eq!(code(&session, b"mg k v").await, ErrorCode::BadReply, "{answer:?}");
    }
    let session = open(&answering("memcached", "", ask, vec![b'H'; 100_000]).await).await;
    assert_eq!(code(&session, b"mg k v").await, ErrorCode::BadReply);
    let session = open(&answering("memcached", "", ask, "VA 1000000000000\r\n").await).await;
    assert_eq!(code(&session, b"mg k v").await, ErrorCode::InstanceMemoryFull);
    for (answer, status, body) in [
        ("VA 0\r\n\r\n", 0, ""),
        ("VA 3 t60 f1\r\nabc\r\n", 0, "abc"),
        ("EN\r\n", 2, ""),
        ("SERVER_ERROR x\r\n", 1, "SERVER_ERROR x"),
    ] {
        let session = open(&answering("memcached", "", ask, answer).await).await;
        let (done, sink) = say(&session, b"mg k v").await;
        assert_eq!((done.unwrap().head.status, &sink.bytes[..]), (status, body.as_bytes()), "{answer:?}");
    }
}

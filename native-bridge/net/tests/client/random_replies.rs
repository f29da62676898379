//! Random answers of Redis, memcached and framed services, whole and damaged, in random pieces, with another one behind them:
//! never a panic, never a wrong body, never a byte too many.

use std::time::Duration;

use headstart_base::ErrorCode;
use headstart_net::{Session, SessionParts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::random::Random;
use crate::session::{open, say_within, serving};

/// What stands behind the answer, on the same connection.
const BEHIND: &[u8] = b"+behind\r\n";

/// A RESP value as it goes on the wire.
fn value(random: &mut Random, depth: usize) -> Vec<u8> {
    let kinds = if depth < 4 { 12 } else { 9 };
    match random.below(kinds) {
        0 => b"+OK\r\n".to_vec(),
        1 => b"-ERR no\r\n".to_vec(),
        2 => format!(":{}\r\n", random.next() as i64).into_bytes(),
        3 => b"_\r\n".to_vec(),
        4 => b"#f\r\n".to_vec(),
        5 => b",1.5\r\n".to_vec(),
        6 | 7 => string(random, '$'),
        8 => b"$-1\r\n".to_vec(),
        kind => {
            let (sign, each) = [('*', 1), ('~', 1), ('%', 2)][kind - 9];
            let count = random.below(5);
            let mut out = format!("{sign}{count}\r\n").into_bytes();
            for _ in 0..count * each {
                out.extend(value(random, depth + 1));
            }
            out
        }
    }
}

fn string(random: &mut Random, sign: char) -> Vec<u8> {
    let bound = if random.below(10) == 0 { 200_000 } else { 100 };
    let length = random.below(bound);
    let mut out = format!("{sign}{length}\r\n").into_bytes();
    out.extend(random.bytes(length));
    out.extend_from_slice(b"\r\n");
    out
}

/// What a script should get for a value.
fn body(wire: &[u8]) -> Vec<u8> {
    let end = wire.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    match wire[0] {
        b'*' | b'~' | b'%' => wire.to_vec(),
        b'$' if wire == b"$-1\r\n" => Vec::new(),
        b'$' => wire[end..wire.len() - 2].to_vec(),
        _ => wire[1..end - 2].to_vec(),
    }
}

/// A session whose server answers the first request (of `asked` bytes, after `greeted` bytes of greeting) with these bytes.
async fn session(random: &mut Random, scheme: &str, suffix: &str, asked: usize, wire: Vec<u8>) -> Session {
    let mut pieces = Vec::new();
    let mut rest = &wire[..];
    for _ in 0..random.below(6) {
        let (piece, after) = rest.split_at(random.below(rest.len() + 1));
        pieces.push((piece.to_vec(), random.below(2) == 0));
        rest = after;
    }
    pieces.push((rest.to_vec(), false));
    let greets = scheme == "redis";
    let address = serving(scheme, suffix, move |mut tcp| async move {
        if greets {
            tcp.read_exact(&mut [0; 22]).await.unwrap();
            tcp.write_all(b"%0\r\n").await.unwrap();
        }
        tcp.read_exact(&mut vec![0; asked]).await.unwrap();
        for (piece, pause) in pieces {
            if tcp.write_all(&piece).await.is_err() {
                return;
            }
            if pause {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(tcp.shutdown().await);
        while tcp.read_u8().await.is_ok() {}
    })
    .await;
    open(&address).await
}

async fn is_behind(session: Session) -> bool {
    let (SessionParts::Tcp(mut tcp), _permit) = session.into_parts() else { return false };
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).await.unwrap();
    rest == BEHIND
}

/// A protocol, a request of it and an answer, with the body that it has.
fn exchange(random: &mut Random) -> (&'static str, &'static str, &'static [u8], usize, Vec<u8>, Vec<u8>) {
    match random.below(5) {
        0 | 1 => {
            let wire = value(random, 0);
            let body = body(&wire);
            ("redis", "", b"GET k", 20, wire, body)
        }
        2 => {
            let wire = string(random, ' ');
            let body = wire[wire.iter().position(|&byte| byte == b'\n').unwrap() + 1..wire.len() - 2].to_vec();
            ("memcached", "", b"mg k v", 8, [b"VA", &wire[..]].concat(), body)
        }
        3 => {
            let length = random.below(100_000);
            let body = random.bytes(length);
            ("tcp", "?frame=u32", b"x", 5, [&(length as u32).to_be_bytes()[..], &body].concat(), body)
        }
        _ => {
            let length = random.below(5000);
            let mut body = random.bytes(length);
            body.retain(|&byte| byte != b'\n');
            ("tcp", "?frame=line", b"x", 2, [&body[..], b"\n"].concat(), body)
        }
    }
}

#[tokio::test]
async fn whole_answers_arrive_whole_and_nothing_of_the_next() {
    let mut random = Random(3);
    for round in 0..500 {
        let (scheme, suffix, request, asked, wire, body) = exchange(&mut random);
        let session = session(&mut random, scheme, suffix, asked, [&wire[..], BEHIND].concat()).await;
        let (done, sink) = say_within(&session, request, 5000).await;
        assert_eq!(done.map(|done| done.length), Ok(body.len() as u64), "round {round} {scheme}");
        assert!(sink.bytes == body, "round {round} {scheme}");
        assert!(is_behind(session).await, "round {round} {scheme}: too many bytes were read");
    }
}

#[tokio::test]
async fn damaged_answers_end_in_a_typed_error_or_a_body() {
    let mut random = Random(4);
    for round in 0..1000 {
        let (scheme, suffix, request, asked, mut wire, _) = exchange(&mut random);
        wire.truncate(4000);
        for _ in 0..1 + random.below(4) {
            if wire.is_empty() {
                break;
            }
            let at = random.below(wire.len());
            match random.below(4) {
                0 => wire[at] = random.next() as u8,
                1 => wire.truncate(at),
                2 => {
                    let count = random.below(5);
                    let junk = random.bytes(count);
                    wire.splice(at..at, junk);
                }
                _ => {
                    let end = (at + random.below(20)).min(wire.len());
                    wire.drain(at..end);
                }
            }
        }
        let session = session(&mut random, scheme, suffix, asked, wire).await;
        let (done, sink) = say_within(&session, request, 5000).await;
        match done {
            Ok(done) => assert_eq!(done.length, sink.bytes.len() as u64, "round {round}"),
            Err(error) => {
                let typed = matches!(
                    error.code,
                    ErrorCode::BadReply
                        | ErrorCode::BodyTruncated
                        | ErrorCode::ConnectionReset
                        | ErrorCode::InstanceMemoryFull
                );
                assert!(typed, "round {round}: {error:?}");
                assert!(session.alive().is_err(), "round {round}: nobody knows where the next answer begins");
            }
        }
    }
}

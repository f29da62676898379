//! Random answers, whole and damaged, in random pieces: never a panic, never a wait without end, never a wrong body.

use std::time::Duration;

use crate::server::{Server, Sink, Step, ask_into, client};
use headstart_base::ErrorCode;

/// A small generator of the same numbers each time (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// An answer as it goes on the wire, and its body.
fn answer(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let length = match random.below(4) {
        0 => 0,
        1 => random.below(10),
        2 => random.below(3000),
        _ => random.below(100_000),
    };
    let body = random.bytes(length);
    let mut wire = Vec::new();
    for _ in 0..random.below(3) {
        wire.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    }
    wire.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for number in 0..random.below(20) {
        let padding = "y".repeat(random.below(200));
        wire.extend_from_slice(format!("X-{number}: {padding}\r\n").as_bytes());
    }
    match random.below(3) {
        0 => {
            wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
                rest = after;
            }
            wire.extend_from_slice(b"0\r\n\r\n");
        }
        1 => wire.extend_from_slice(b"Connection: close\r\n\r\n"),
        _ => wire.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes()),
    }
    if !wire.ends_with(b"0\r\n\r\n") || wire.windows(8).all(|bytes| bytes != b"chunked\r") {
        wire.extend_from_slice(&body);
    }
    (wire, body)
}

fn pieces(random: &mut Random, mut wire: &[u8]) -> Vec<Step> {
    let mut steps = vec![Step::Read(0)];
    for _ in 0..random.below(6) {
        let (piece, rest) = wire.split_at(random.below(wire.len() + 1));
        steps.push(Step::Send(piece.to_vec()));
        if random.below(2) == 0 {
            steps.push(Step::Wait(1));
        }
        wire = rest;
    }
    steps.push(Step::Send(wire.to_vec()));
    steps
}

#[tokio::test]
async fn whole_answers_arrive_whole() {
    let mut random = Random(1);
    let client = client();
    for round in 0..300 {
        let (wire, body) = answer(&mut random);
        let steps = pieces(&mut random, &wire);
        let server = Server::start(vec![steps]).await;
        let sink = Sink::new(1 << 20, 1 + random.below(70_000));
        let got = ask_into(&client, &server, "POST /x\n\n", sink, Duration::from_secs(5)).await;
        assert!(got.body() == body, "round {round}: {} bytes instead of {}", got.sink.bytes.len(), body.len());
        assert_eq!(got.result.as_ref().map(|done| done.length), Ok(body.len() as u64));
    }
}

#[tokio::test]
async fn damaged_answers_end_in_a_typed_error_or_a_body_in_its_bounds() {
    let mut random = Random(2);
    let client = client();
    for round in 0..1000 {
        let (mut wire, _) = answer(&mut random);
        wire.truncate(4000);
        for _ in 0..1 + random.below(4) {
            let at = random.below(wire.len());
            match random.below(4) {
                0 => wire[at] = random.next() as u8,
                1 => wire.truncate(at),
                2 => {
                    let junk = random.below(5);
                    let junk = random.bytes(junk);
                    wire.splice(at..at, junk);
                }
                _ => {
                    let end = (at + random.below(20)).min(wire.len());
                    wire.drain(at..end);
                }
            }
            if wire.is_empty() {
                break;
            }
        }
        let server = Server::start(vec![pieces(&mut random, &wire)]).await;
        let sink = Sink::new(100_000, 1 + random.below(5000));
        let got = ask_into(&client, &server, "POST /x\n\n", sink, Duration::from_secs(5)).await;
        match &got.result {
            Ok(done) => assert_eq!(done.length, got.sink.bytes.len() as u64, "round {round}"),
            Err(error) => assert!(
                matches!(
                    error.code,
                    ErrorCode::BadReply
                        | ErrorCode::BodyTruncated
                        | ErrorCode::ConnectionReset
                        | ErrorCode::InstanceMemoryFull
                ),
                "round {round}: {error:?}"
            ),
        }
    }
}

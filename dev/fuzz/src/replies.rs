//! Answers of servers. However an answer arrives, it is the same; it ends where it ends; and what is not whole is an error.

use headstart_base::ErrorCode;
use headstart_net::{Address, Request, SessionParts};
use tokio::io::AsyncWriteExt;

use crate::wire::{Sink, block_on, deadline, lies_in, session};

/// The first byte of what is fuzzed: which request, and in what pieces its answer comes.
const VARIANTS: usize = 4;

pub(crate) fn http(data: &[u8]) {
    let head: &[u8] = b"HEAD /x\n\n";
    let requests = [b"GET /x\n\n", head, b"GET /x\nrange: bytes=0-9\n\n", b"POST /x\n\nbody"];
    check(data, |variant| ("http://h", requests[variant]), false);
}

pub(crate) fn redis(data: &[u8]) {
    check(data, |_| ("redis://h", b"GET key"), true);
}

pub(crate) fn memcached(data: &[u8]) {
    check(data, |variant| ("memcached://h", [&b"mg key v"[..], b"ms key\n\nvalue"][variant % 2]), true);
}

pub(crate) fn tcp(data: &[u8]) {
    let framings = ["tcp://h:1?frame=u32", "tcp://h:1?frame=line", "tcp://h:1?frame=fixed:5", "tcp://h:1?frame=u32"];
    check(data, |variant| (framings[variant], b"hello"), true);
}

/// What a script sees of an answer, and how much of what came is not the answer's.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: u16,
    headers: Vec<(String, String)>,
    length: u64,
    body: Vec<u8>,
    behind: usize,
}

fn check(data: &[u8], asked: impl Fn(usize) -> (&'static str, &'static [u8]), ends_itself: bool) {
    let Some((&first, answer)) = data.split_first() else { return };
    let (address, raw) = asked(usize::from(first) % VARIANTS);
    let piece = usize::from(first) / VARIANTS + 1;
    let whole = exchange(address, raw, answer, answer.len());
    assert_eq!(whole, exchange(address, raw, answer, piece), "in pieces of {piece}");
    let Ok(whole) = whole else { return };
    assert_eq!(whole.length, whole.body.len() as u64);
    let alone = &answer[..answer.len() - whole.behind];
    assert_eq!(exchange(address, raw, alone, piece), Ok(Whole { behind: 0, ..whole }), "without what is behind it");
    if ends_itself && let Some((_, torn)) = alone.split_last() {
        assert!(exchange(address, raw, torn, piece).is_err(), "without its last byte");
    }
}

/// Asks a server that answers in pieces. An error is told by its code only: its text may quote how much came.
fn exchange(address: &str, raw: &[u8], answer: &[u8], piece: usize) -> Result<Whole, ErrorCode> {
    let address = Address::parse(address).expect("an address");
    let request = Request::parse(&address, raw).expect("a request");
    block_on(async {
        let (session, mut server) = session(&address);
        let mut sink = Sink::new(piece * 7);
        let serving = async {
            server.readable().await?;
            for (number, piece) in answer.chunks(piece.max(1)).enumerate() {
                server.write_all(piece).await?;
                if number < 64 {
                    tokio::task::yield_now().await;
                }
            }
            server.shutdown().await
        };
        let mut steps = |_| {};
        let asking = session.send(&request, deadline(), &mut sink, &mut steps);
        // The client may hang up on what it got so far.
        let (done, _served) = tokio::join!(asking, serving);
        match done {
            Ok(done) => {
                let (SessionParts::Tcp(tcp), _permit) = session.into_parts() else { return Err(ErrorCode::Internal) };
                let (status, headers) = (done.head.status, done.head.headers);
                let behind = lies_in(tcp).len();
                Ok(Whole { status, headers, length: done.length, body: sink.bytes, behind })
            }
            Err(error) => {
                use ErrorCode::{BadReply, BodyTruncated, ConnectionReset, InstanceMemoryFull};
                let expected = [BadReply, BodyTruncated, ConnectionReset, InstanceMemoryFull];
                assert!(expected.contains(&error.code), "{error:?}");
                assert!(session.alive().is_err(), "nobody knows where the next answer begins");
                Err(error.code)
            }
        }
    })
}

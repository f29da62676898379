//! What a runner says to the host: cut into messages the same way however it arrives, and counted.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use headstart_base::{ErrorCode, Result};
use tokio::io::{AsyncRead, ReadBuf};

use crate::frames::{FrameLimits, Frames};
use crate::meter::{Meter, MeterLimits, Rate};

const FRAMES: FrameLimits = FrameLimits { bytes: 8 << 10, segments: 8 };
const RATE: Rate = Rate { per_second: 1e9, burst: 1e9 };
const METER: MeterLimits = MeterLimits {
    calls: 4,
    call_bytes: 4 << 10,
    questions: 8,
    exports: 8,
    other_bytes: 512,
    messages: RATE,
    bytes: RATE,
};

/// The first byte says in what pieces the rest comes.
pub(crate) fn run(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else { return };
    let early = stream.len().min(usize::from(piece) / 2);
    let whole = cut(stream, 0, usize::MAX);
    let pieces = cut(stream, early, usize::from(piece) + 1);
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1.map_err(|error| error.code), pieces.1.map_err(|error| error.code));
    let meter = Meter::new(METER);
    for (number, message) in whole.0.iter().enumerate() {
        assert!(message.len() <= FRAMES.bytes && message.len() % 8 == 0);
        let words = aligned(&stream[message.clone()]);
        let bytes = capnp::Word::words_to_bytes(&words);
        let said = match piece % 3 == 1 && number % 2 == 1 {
            true => meter.host_sent(bytes),
            false => meter.runner_sent(bytes),
        };
        if let Err(error) = said {
            assert_eq!(error.code, ErrorCode::Protocol);
            break;
        }
    }
}

/// The messages in a stream, by their places, and how it ends.
fn cut(stream: &[u8], early: usize, piece: usize) -> (Vec<Range<usize>>, Result<()>) {
    let mut source = Pieces { rest: &stream[early..], piece };
    let mut frames = Frames::new(FRAMES, &stream[..early]);
    let mut messages = Vec::new();
    let mut at = 0;
    loop {
        loop {
            match frames.next() {
                Ok(Some(message)) => {
                    let bytes = frames.bytes(message);
                    let range = at..at + bytes.len();
                    assert_eq!(bytes, &stream[range.clone()]);
                    at = range.end;
                    messages.push(range);
                }
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
        let filled = match std::pin::pin!(frames.fill(&mut source)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(filled) => filled,
            Poll::Pending => return (messages, Ok(())),
        };
        match filled {
            Ok(true) => {}
            Ok(false) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}

/// As the relay's buffer has them: each message begins at a word.
fn aligned(bytes: &[u8]) -> Vec<capnp::Word> {
    let mut words = capnp::Word::allocate_zeroed_vec(bytes.len().div_ceil(8));
    capnp::Word::words_to_bytes_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// A stream that comes in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let (now, later) = self.rest.split_at(self.piece.min(space.remaining()).min(self.rest.len()));
        space.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

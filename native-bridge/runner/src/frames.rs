//! Cap'n Proto's stream framing: a table of segment sizes, then the segments, one message after the other.

use capnp::Word;
use headstart_base::{Error, ErrorCode, Result};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

const READ_WORDS: usize = 8 * 1024;

/// How large a message may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    /// The table included.
    pub(crate) bytes: usize,
    pub(crate) segments: usize,
}

/// Bytes that were read, cut into messages. Messages are multiples of a word, so that each begins at a word.
pub(crate) struct Frames {
    limits: FrameLimits,
    buffer: Vec<Word>,
    filled: usize,
    /// Where the bytes begin that have not been passed on.
    begin: usize,
}

impl Frames {
    /// `early`: bytes that were read before.
    pub(crate) fn new(limits: FrameLimits, early: &[u8]) -> Self {
        let words = READ_WORDS + early.len().div_ceil(8);
        let mut frames = Self { limits, buffer: Word::allocate_zeroed_vec(words), filled: early.len(), begin: 0 };
        Word::words_to_bytes_mut(&mut frames.buffer)[..early.len()].copy_from_slice(early);
        frames
    }

    /// The next whole message that is in the buffer, if there is one, as its place in it.
    pub(crate) fn next(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        let bytes = &Word::words_to_bytes(&self.buffer)[self.begin..self.filled];
        match frame_length(bytes, self.limits)? {
            Some(length) if length <= bytes.len() => {
                let range = self.begin..self.begin + length;
                self.begin = range.end;
                Ok(Some(range))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        Word::words_to_bytes(&self.buffer).get(range).unwrap_or_default()
    }

    /// Reads more. All messages that [`Self::next`] gave are forgotten. False at a clean end, between two messages.
    pub(crate) async fn fill(&mut self, source: &mut (impl AsyncRead + Unpin)) -> Result<bool> {
        Word::words_to_bytes_mut(&mut self.buffer).copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        self.make_room()?;
        let lost = |error: io::Error| Error::new(ErrorCode::RunnerLost, error.to_string());
        let space = &mut Word::words_to_bytes_mut(&mut self.buffer)[self.filled..];
        match source.read(space).await.map_err(lost)? {
            0 if self.filled == 0 => Ok(false),
            0 => Err(Error::new(ErrorCode::Protocol, "the stream ended within a message")),
            count => {
                self.filled += count;
                Ok(true)
            }
        }
    }

    /// Room for the rest of the message that has begun; a large buffer is given back once it is not needed.
    fn make_room(&mut self) -> Result<()> {
        let bytes = &Word::words_to_bytes(&self.buffer)[..self.filled];
        let words = frame_length(bytes, self.limits)?.unwrap_or(0).div_ceil(8).max(READ_WORDS);
        // A message that claims to be large gets its room as its bytes come.
        let words = words.min((self.filled / 8 + 1) * 2).max(READ_WORDS);
        if words > self.buffer.len() || self.filled == self.buffer.len() * 8 {
            let more = words.max(self.buffer.len() + READ_WORDS);
            self.buffer.resize(more, Word::allocate_zeroed_vec(1)[0]);
        } else if self.buffer.len() > READ_WORDS * 16 && self.filled < READ_WORDS * 8 {
            self.buffer.truncate(READ_WORDS);
            self.buffer.shrink_to_fit();
        }
        Ok(())
    }
}

/// The length of the message that begins here, once its table is there.
fn frame_length(bytes: &[u8], limits: FrameLimits) -> Result<Option<usize>> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let Some(count) = number(0) else { return Ok(None) };
    let count = (count as usize).saturating_add(1);
    if count > limits.segments {
        return Err(breach(format!("a message of {count} segments, more than {}", limits.segments)));
    }
    let mut length = (4 + 4 * count).next_multiple_of(8);
    if bytes.len() < length {
        return Ok(None);
    }
    for index in 0..count {
        let Some(words) = number(4 + 4 * index) else { return Ok(None) };
        length = length.saturating_add((words as usize).saturating_mul(8));
    }
    if length > limits.bytes {
        return Err(breach(format!("a message of {length} bytes, more than {}", limits.bytes)));
    }
    Ok(Some(length))
}

/// A limit that the peer has broken.
pub(crate) fn breach(message: String) -> Error {
    Error::new(ErrorCode::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { bytes: 1 << 20, segments: 4 };

    fn message(sizes: &[u32]) -> Vec<u8> {
        let mut bytes = (sizes.len() as u32 - 1).to_le_bytes().to_vec();
        bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.resize(bytes.len() + sizes.iter().sum::<u32>() as usize * 8, 7);
        bytes
    }

    async fn cut(input: &[u8], early: usize, chunk: usize) -> Result<Vec<usize>> {
        let mut source = tokio_test_reader(&input[early..], chunk);
        let mut frames = Frames::new(LIMITS, &input[..early]);
        let mut lengths = Vec::new();
        loop {
            while let Some(range) = frames.next()? {
                assert_eq!(range.start % 8, 0);
                lengths.push(frames.bytes(range).len());
            }
            if !frames.fill(&mut source).await? {
                return Ok(lengths);
            }
        }
    }

    /// Gives at most `chunk` bytes a read.
    fn tokio_test_reader(input: &[u8], chunk: usize) -> impl AsyncRead + Unpin {
        struct Slow(Vec<u8>, usize, usize);
        impl AsyncRead for Slow {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let end = (self.1 + self.2.min(buffer.remaining())).min(self.0.len());
                buffer.put_slice(&self.0[self.1..end]);
                self.1 = end;
                std::task::Poll::Ready(Ok(()))
            }
        }
        Slow(input.to_vec(), 0, chunk)
    }

    #[tokio::test]
    async fn messages_are_found_however_they_arrive() {
        let input = [message(&[1]), message(&[2, 0, 70_000]), message(&[0]), message(&[5, 6])].concat();
        let expected = [16, 16 + 70_002 * 8, 8, 16 + 88];
        for (early, chunk) in [(0, 1 << 20), (0, 4093), (17, 65_536), (20, 1), (input.len(), 1)] {
            let chunk = if chunk == 1 && early < input.len() { 997 } else { chunk };
            assert_eq!(cut(&input, early, chunk).await.unwrap(), expected, "{early} {chunk}");
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_cut_off_is_an_error() {
        for bad in [message(&[200_000]), message(&[1, 1, 1, 1, 1]), vec![0xff; 16], message(&[3])[..20].to_vec()] {
            assert_eq!(cut(&bad, 0, 64).await.unwrap_err().code, ErrorCode::Protocol);
        }
        let huge = [3_u32.to_le_bytes().to_vec(), vec![0xff; 16], vec![0; 4]].concat();
        assert_eq!(cut(&huge, 0, 64).await.unwrap_err().code, ErrorCode::Protocol);
    }
}

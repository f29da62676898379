//! A process's output as lines: stamped when read, bounded in length, in number and in rate.

use crate::spec::{Line, Stream};
use headstart_base::now;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

/// Lines that a stream may have at once; of more, what is beyond is dropped. All that a node's tenants say is written by the one bridge.
const BURST: u32 = 10_000;
/// One that had them gets so many again after each such time.
const SHARE: u32 = 1_000;
const SHARE_TIME: Duration = Duration::from_millis(500);
/// A stream that has more waits so long before it is read on: it shall not keep a core busy with what nobody will see.
const PAUSE: Duration = Duration::from_millis(2);

/// Reads `source` to its end. Never waits for the receiver: what does not fit its queue, or comes too fast, is dropped and counted, and the
/// count is a line of its own once there is room.
pub async fn forward(source: impl AsyncRead + Unpin, stream: Stream, lines: mpsc::Sender<Line>) {
    forward_but(|_| false, source, stream, lines).await;
}

/// The same, without lines that tell nobody anything.
pub(crate) async fn forward_but(
    is_noise: fn(&[u8]) -> bool,
    mut source: impl AsyncRead + Unpin,
    stream: Stream,
    lines: mpsc::Sender<Line>,
) {
    let mut sender = LineSender { stream, lines, is_noise, dropped: 0, pace: Pace::new() };
    let mut buffer = vec![0_u8; Line::MAX_BYTES];
    let mut filled = 0;
    loop {
        let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) else {
            sender.send(&buffer);
            filled = 0;
            continue;
        };
        match source.read(space).await {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
        let mut begin = 0;
        while let Some(length) = buffer[begin..filled].iter().position(|byte| *byte == b'\n') {
            sender.send(&buffer[begin..begin + length]);
            begin += length + 1;
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
        if sender.pace.is_exceeded() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if filled > 0 {
        sender.send(&buffer[..filled]);
    }
    sender.tell_dropped();
}

/// How many lines may still come at once.
struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { left: BURST, since: Instant::now() }
    }

    /// Whether one more may come.
    fn take(&mut self) -> bool {
        if self.left == 0 {
            let shares = self.since.elapsed().as_millis() / SHARE_TIME.as_millis();
            if shares == 0 {
                return false;
            }
            self.left = SHARE.saturating_mul(u32::try_from(shares).unwrap_or(u32::MAX)).min(BURST);
            self.since = Instant::now();
        }
        self.left -= 1;
        true
    }

    fn is_exceeded(&self) -> bool {
        self.left == 0
    }
}

struct LineSender {
    stream: Stream,
    lines: mpsc::Sender<Line>,
    is_noise: fn(&[u8]) -> bool,
    dropped: u64,
    pace: Pace,
}

impl LineSender {
    fn send(&mut self, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let in_time = self.pace.take();
        if in_time && (self.is_noise)(bytes) {
            return;
        }
        if !in_time || !self.tell_dropped() || !self.push(String::from_utf8_lossy(bytes).into_owned()) {
            self.dropped += 1;
        }
    }

    /// Says how many lines were lost; false when there is no room to.
    fn tell_dropped(&mut self) -> bool {
        if self.dropped > 0 {
            if !self.push(format!("[{} lines dropped]", self.dropped)) {
                return false;
            }
            self.dropped = 0;
        }
        true
    }

    fn push(&self, text: String) -> bool {
        let line = Line { at: now(), stream: self.stream, text };
        // A receiver that is gone wants no lines: they count as taken.
        !matches!(self.lines.try_send(line), Err(TrySendError::Full(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn noise_is_left_out() {
        let (sender, mut receiver) = mpsc::channel(8);
        let is_noise: fn(&[u8]) -> bool = |line| line.starts_with(b"noise");
        forward_but(is_noise, &b"one\nnoise 1\ntwo\nnoise"[..], Stream::Stderr, sender).await;
        let mut texts = Vec::new();
        while let Some(Line { text, .. }) = receiver.recv().await {
            texts.push(text);
        }
        assert_eq!(texts, ["one", "two"]);
    }

    async fn lines_of(input: &[u8], room: usize) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(room);
        forward(input, Stream::Stdout, sender).await;
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line.text);
        }
        lines
    }

    #[tokio::test]
    async fn lines_are_cut_at_breaks_and_the_last_needs_none() {
        assert_eq!(lines_of(b"one\r\n\ntwo\nthree", 9).await, ["one", "", "two", "three"]);
        assert_eq!(lines_of(b"\xff\n", 9).await, ["\u{fffd}"]);
        assert!(lines_of(b"", 9).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let lengths: Vec<usize> = lines_of(&vec![b'x'; 20_000], 9).await.iter().map(String::len).collect();
        assert_eq!(lengths, [8192, 8192, 3616]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_lines_and_the_reader_never_waits() {
        let (sender, mut receiver) = mpsc::channel(2);
        forward(&b"1\n2\n3\n4\n"[..], Stream::Stderr, sender.clone()).await;
        assert_eq!(receiver.recv().await.map(|line| line.text).as_deref(), Some("1"));
        assert_eq!(receiver.recv().await.map(|line| line.text).as_deref(), Some("2"));
        assert!(receiver.try_recv().is_err());
    }

    #[tokio::test]
    async fn dropped_lines_are_counted_once_there_is_room() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut lines =
            LineSender { stream: Stream::Stdout, lines: sender, is_noise: |_| false, dropped: 0, pace: Pace::new() };
        for text in [b"a", b"b", b"c"] {
            lines.send(text);
        }
        assert_eq!(receiver.try_recv().map(|line| line.text).as_deref(), Ok("a"));
        assert!(lines.tell_dropped());
        assert_eq!(receiver.try_recv().map(|line| line.text).as_deref(), Ok("[2 lines dropped]"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_to_its_rate_and_what_is_dropped_is_counted() {
        let (sender, mut receiver) = mpsc::channel(100_000);
        let flood = "x\n".repeat(4_000_000);
        let began = Instant::now();
        forward(flood.as_bytes(), Stream::Stdout, sender).await;
        let most =
            BURST as usize + began.elapsed().as_millis() as usize / SHARE_TIME.as_millis() as usize * SHARE as usize;
        let (mut lines, mut dropped) = (0, 0);
        while let Some(Line { text, .. }) = receiver.recv().await {
            match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(" lines dropped]")) {
                Some(count) => dropped += count.parse::<usize>().unwrap(),
                None => lines += 1,
            }
        }
        assert_eq!(lines + dropped, 4_000_000);
        assert!(lines >= BURST as usize + SHARE as usize && lines <= most, "{lines} of at most {most}");
    }
}

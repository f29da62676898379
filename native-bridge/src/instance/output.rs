//! The application's output: log lines and marks.

use std::sync::Arc;

use headstart_sandbox::Line;
use tokio::sync::mpsc;

use crate::instance::Instance;
use crate::instance::event::Kind;
use crate::logs::logs;

/// Lines of an instance that become events of its timeline, and their bytes; the rest is in the logs only. The host's one thread reads
/// each of them, and writes them to its disk.
const MOST_EVENTS: usize = 1_000;
const MOST_EVENT_BYTES: usize = 128 << 10;
/// Bytes of a line that become an event.
const EVENT_BYTES: usize = 1024;

/// What of an instance's output is in its timeline.
#[derive(Default)]
struct Shown {
    lines: usize,
    bytes: usize,
}

impl Instance {
    /// Takes what the application says, to its end.
    pub(super) fn take_lines(self: &Arc<Self>, mut lines: mpsc::Receiver<Line>) {
        let instance = Arc::clone(self);
        self.spawn(async move {
            let mut shown = Shown::default();
            while let Some(line) = lines.recv().await {
                instance.line(&mut shown, line);
            }
        });
    }

    fn line(&self, shown: &mut Shown, line: Line) {
        logs().line("app", &self.tenant, &self.id, line.at, line.stream, &line.text);
        if shown.lines >= MOST_EVENTS || shown.bytes >= MOST_EVENT_BYTES {
            return;
        }
        let function = self.function();
        let is_mark =
            function.is_some_and(|function| function.marks.iter().any(|mark| line.text.starts_with(mark.as_str())));
        let text = cut(line.text, EVENT_BYTES);
        shown.lines += 1;
        shown.bytes += text.len();
        let kind = if is_mark { Kind::Mark(text) } else { Kind::Log { stream: line.stream, text } };
        self.events.push_at(line.at, kind);
    }

    /// A mark that the application sets by its socket.
    pub(crate) fn mark(&self, name: String) {
        self.events.push(Kind::Mark(cut(name, EVENT_BYTES)));
    }
}

/// The first `bytes` of a text, or fewer where a character would be cut.
fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn cuts_between_characters() {
        assert_eq!(super::cut("aé".into(), 2), "a");
        assert_eq!(super::cut("aé".into(), 3), "aé");
    }
}

//! The application's output: log lines and marks.

use headstart_sandbox::Line;

use crate::instance::Instance;
use crate::instance::event::Kind;
use crate::logs::logs;

/// Lines of an instance that become events; the rest is in the logs only.
const MOST_EVENTS: u64 = 10_000;
/// Bytes of a line that become an event.
const EVENT_BYTES: usize = 1024;
/// Lines of an instance that are kept at all.
const MOST_LINES: u64 = 1_000_000;

impl Instance {
    /// A line of the application. `number` counts them from 1.
    pub(super) fn line(&self, number: u64, line: Line) {
        if number > MOST_LINES {
            return;
        }
        logs().line("app", &self.tenant, &self.id, line.at, line.stream, &line.text);
        let function = self.function();
        let is_mark =
            function.is_some_and(|function| function.marks.iter().any(|mark| line.text.starts_with(mark.as_str())));
        if number > MOST_EVENTS {
            return;
        }
        let text = cut(line.text, EVENT_BYTES);
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

//! What a handler answers.

use std::fmt::Write;

/// Status, headers and body; made of bytes or a text, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The head as it travels: JSON.
    pub(crate) fn head(&self) -> String {
        let pairs: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("[{},{}]", quoted(name), quoted(value))).collect();
        format!(r#"{{"status":{},"headers":[{}]}}"#, self.status, pairs.join(","))
    }
}

impl From<Vec<u8>> for Answer {
    fn from(body: Vec<u8>) -> Self {
        Self::new(body).header("content-type", "application/octet-stream")
    }
}

impl From<String> for Answer {
    fn from(body: String) -> Self {
        Self::new(body).header("content-type", "text/plain; charset=utf-8")
    }
}

impl From<&str> for Answer {
    fn from(body: &str) -> Self {
        body.to_owned().into()
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            // Writing to a String cannot fail.
            control if control < ' ' => drop(write!(json, "\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_json() {
        let answer = Answer::new("").status(404).header("x-said", "a \"b\"\\\n");
        assert_eq!(answer.head(), r#"{"status":404,"headers":[["x-said","a \"b\"\\\u000a"]]}"#);
    }
}

//! The head of an answer.

/// Status and headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    /// Names in lower case, in the order they came; at most 100, 16 KiB together.
    pub headers: Vec<(String, String)>,
    /// How many bytes of body follow, when that is known: 0 for an answer without a body (HEAD, 204, 304).
    pub content_length: Option<u64>,
}

impl ResponseHead {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

//! A short answer that the platform reads itself.

use headstart_base::{Error, ErrorCode, Result};

use crate::body::BodySink;
use crate::head::ResponseHead;

/// Bytes of it.
const MOST: usize = 16 * 1024;

/// Collects a short answer; a longer one is `badReply`.
pub(crate) struct Text {
    bytes: Vec<u8>,
    filled: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: vec![0; MOST], filled: 0 }
    }
}

impl Text {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl BodySink for Text {
    fn begin(&mut self, _head: &ResponseHead) -> Result<()> {
        self.filled = 0;
        Ok(())
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        match self.bytes.get_mut(self.filled..) {
            Some(space) if !space.is_empty() => Ok(space),
            _ => Err(Error::new(ErrorCode::BadReply, "the answer is longer than 16 KiB")),
        }
    }

    fn filled(&mut self, count: usize) {
        self.filled = (self.filled + count).min(MOST);
    }
}

//! Receives a body into a file of the application's, at the place that the initscript has named.

use std::sync::Arc;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::FileWriter;
use headstart_net::{BodySink, Done, ResponseHead};

use crate::instance::body::{Body, Finished, Place};
use crate::instance::sink::{INLINE, told_headers};

/// Where a reply goes.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Its path in the sandbox.
    pub(crate) path: Arc<str>,
    /// The file's number among the instance's segments.
    pub(crate) file: u32,
    pub(crate) offset: u64,
    /// Bytes that it may have.
    pub(crate) room: u64,
}

impl Destination {
    /// Whether the two have a byte in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let ends = |one: &Self| one.offset.saturating_add(one.room);
        self.file == other.file && self.offset < ends(other) && other.offset < ends(self)
    }

    fn place(&self) -> Place {
        Place { segment: self.file, offset: self.offset }
    }
}

pub(crate) struct FileSink {
    destination: Destination,
    body: Arc<Body>,
    writer: FileWriter,
    /// Whether the body said its length.
    known: bool,
}

impl FileSink {
    pub(crate) fn new(destination: Destination, writer: FileWriter, body: &Arc<Body>) -> Self {
        Self { destination, body: Arc::clone(body), writer, known: false }
    }

    /// What came in, once all of it has.
    pub(crate) fn finish(self, done: &Done) -> Result<Finished> {
        let inlined = match usize::try_from(done.length) {
            Ok(length) if done.length <= INLINE => {
                Some(Bytes::from(self.writer.file().read(self.destination.offset, length)?))
            }
            _ => None,
        };
        Ok(Finished {
            status: done.head.status,
            place: self.destination.place(),
            length: done.length,
            inlined,
            headers: told_headers(done),
            attempts: done.attempts,
            file: Some(Arc::clone(&self.destination.path)),
        })
    }

    fn too_long(&self, length: &dyn std::fmt::Display) -> Error {
        let Destination { path, offset, room, .. } = &self.destination;
        let message = format!("a body of {length} bytes: its place at {offset} of file:{path} has room for {room}");
        Error::new(ErrorCode::PayloadTooLarge, message)
    }
}

impl BodySink for FileSink {
    fn begin(&mut self, head: &ResponseHead) -> Result<()> {
        if let Some(length) = head.content_length.filter(|length| *length > self.destination.room) {
            return Err(self.too_long(&length));
        }
        self.known = head.content_length.is_some();
        self.writer.restart();
        if !self.body.begin_in_place(head.status, self.destination.place(), head.content_length) {
            let message =
                "the download broke after the application was told of a part of it, which is not written twice";
            return Err(Error::new(ErrorCode::ConnectionReset, message));
        }
        Ok(())
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        if self.writer.written() == self.writer.room() {
            return Err(match self.known {
                true => Error::new(ErrorCode::BadReply, "the body is longer than was announced"),
                false => self.too_long(&format_args!("more than {}", self.writer.written())),
            });
        }
        Ok(self.writer.space())
    }

    fn filled(&mut self, count: usize) {
        self.writer.filled(count);
        self.body.advance(self.writer.written() as u64);
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        self.space()?;
        let count = self.writer.put(bytes)?;
        self.body.advance(self.writer.written() as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_overlap_by_a_byte() {
        let place = |file, offset, room| Destination { path: "/tmp/x".into(), file, offset, room };
        let one = place(1, 100, 100);
        for (other, expected) in [
            (place(1, 0, 100), false),
            (place(1, 0, 101), true),
            (place(1, 199, 1), true),
            (place(1, 200, 50), false),
            (place(2, 100, 100), false),
            (place(1, 120, 10), true),
            (place(1, 0, u64::MAX), true),
        ] {
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (expected, expected), "{other:?}");
        }
    }
}

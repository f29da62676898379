//! Receives a body into an instance's memory.
//!
//! When the length is known, one region is made for it and every recv(2) writes into that region. When it is not (chunked),
//! the application still maps one segment: a region is reserved, and only when the body outgrows it are the bytes moved
//! to one four times as large. A moved body is never told to anyone before it is complete, for its length is unknown.

use std::sync::Arc;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{BodySink, Done, ResponseHead};

use crate::instance::Instance;
use crate::instance::body::{Body, Finished, Place};
use crate::instance::memory::Region;

/// Bodies up to this size are told together with the fact that they are there.
const INLINE: u64 = 16 << 10;
/// What is reserved for a body of unknown length.
const UNKNOWN: usize = 256 << 10;
/// Headers that are told.
const HEADERS: [&str; 5] = ["etag", "content-type", "content-length", "last-modified", "content-range"];
/// Bytes of a header's value that are told.
const HEADER_BYTES: usize = 1024;

pub(super) struct Sink {
    instance: Arc<Instance>,
    body: Arc<Body>,
    region: Option<Region>,
    known: bool,
}

impl Sink {
    pub(super) fn new(instance: &Arc<Instance>, body: &Arc<Body>) -> Self {
        Self { instance: Arc::clone(instance), body: Arc::clone(body), region: None, known: true }
    }

    /// What came in, once all of it has.
    pub(super) fn finish(mut self, done: &Done) -> Result<Finished> {
        let mut place = self.region.as_ref().map_or(Place::default(), Region::place);
        let inlined = match &self.region {
            Some(_) if done.length <= INLINE => Some(Bytes::from(self.instance.memory.read(place, done.length)?)),
            Some(_) => None,
            None => Some(Bytes::new()),
        };
        if done.length <= crate::app::INLINE as u64 {
            // It always travels in a packet: it needs no place.
            self.release();
            place = Place::default();
        } else {
            // The body is somebody's now; dropping the sink does not release it.
            self.region = None;
        }
        let headers = HEADERS
            .iter()
            .filter_map(|name| done.head.header(name).map(|value| ((*name).to_owned(), value)))
            .filter(|(_, value)| value.len() <= HEADER_BYTES)
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        Ok(Finished { status: done.head.status, place, length: done.length, inlined, headers, attempts: done.attempts })
    }

    fn release(&mut self) {
        if let Some(Region { segment, writer }) = self.region.take() {
            drop(writer);
            self.instance.memory.release(segment);
        }
    }

    fn grow(&mut self) -> Result<()> {
        let Some(old) = &self.region else {
            return Err(Error::new(ErrorCode::Internal, "a body without a beginning"));
        };
        let mut new = self.instance.memory.own(old.writer.capacity().saturating_mul(4))?;
        if !new.writer.append_from(&old.writer) {
            return Err(Error::new(ErrorCode::Internal, "a body shrank when it moved"));
        }
        self.body.moved(new.place());
        self.release();
        self.region = Some(new);
        Ok(())
    }
}

impl BodySink for Sink {
    fn begin(&mut self, head: &ResponseHead) -> Result<()> {
        self.release();
        self.known = head.content_length.is_some();
        self.region = match head.content_length {
            Some(0) => None,
            Some(length) => Some(self.instance.memory.region(length)?),
            None => Some(self.instance.memory.own(UNKNOWN)?),
        };
        let place = self.region.as_ref().map_or(Place::default(), Region::place);
        self.body.begin(head.status, place, head.content_length);
        Ok(())
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        let full = self.region.as_ref().is_none_or(|region| region.writer.written() == region.writer.capacity());
        if full && self.known {
            return Err(Error::new(ErrorCode::BadReply, "the body is longer than was announced"));
        }
        if full {
            self.grow()?;
        }
        match &mut self.region {
            Some(region) => Ok(region.writer.space()),
            None => Err(Error::new(ErrorCode::Internal, "a body without a beginning")),
        }
    }

    fn filled(&mut self, count: usize) {
        if let Some(region) = &mut self.region {
            region.writer.filled(count);
            self.body.advance(region.writer.written() as u64);
        }
    }
}

impl Drop for Sink {
    /// A body that failed gives its memory back.
    fn drop(&mut self) {
        self.release();
    }
}

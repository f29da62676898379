//! Receives a body into an instance's memory.
//!
//! When the length is known, one region is made for it and every recv(2) writes into that region. When it is not (chunked),
//! the application still maps one segment: a region is reserved, and only when the body outgrows it are the bytes moved
//! to one four times as large. A moved body is never told to anyone before it is complete, for its length is unknown.

use std::sync::Arc;

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{BodySink, Done, ResponseHead};

use crate::instance::body::{Body, Finished, Place};
use crate::instance::memory::{Memory, Region};

/// Bodies up to this size are told together with the fact that they are there.
pub(super) const INLINE: u64 = 16 << 10;
/// What is reserved for a body of unknown length.
const UNKNOWN: usize = 256 << 10;
/// Headers that are told.
const HEADERS: [&str; 8] = [
    "etag",
    "content-type",
    "content-length",
    "last-modified",
    "content-range",
    // Of a redirect, which is not followed; of gRPC; of memcached.
    "location",
    "grpc-message",
    "flags",
];
/// Bytes of a header's value that are told.
const HEADER_BYTES: usize = 1024;

pub(crate) struct Sink {
    memory: Arc<Memory>,
    body: Arc<Body>,
    region: Option<Region>,
    known: bool,
}

impl Sink {
    pub(crate) fn new(memory: &Arc<Memory>, body: &Arc<Body>) -> Self {
        Self { memory: Arc::clone(memory), body: Arc::clone(body), region: None, known: true }
    }

    /// What came in, once all of it has.
    pub(crate) fn finish(mut self, done: &Done) -> Result<Finished> {
        let mut place = self.region.as_ref().map_or(Place::default(), Region::place);
        let inlined = match &self.region {
            Some(_) if done.length <= INLINE => Some(Bytes::from(self.memory.read(place, done.length)?)),
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
            if !self.known && self.body.is_published() {
                self.memory.announce(place.segment);
            }
        }
        Ok(Finished {
            status: done.head.status,
            place,
            length: done.length,
            inlined,
            headers: told_headers(done),
            attempts: done.attempts,
            file: None,
        })
    }

    fn release(&mut self) {
        if let Some(Region { segment, writer }) = self.region.take() {
            drop(writer);
            self.memory.retract(segment);
        }
    }

    fn grow(&mut self) -> Result<()> {
        let Some(old) = &self.region else {
            return Err(Error::new(ErrorCode::Internal, "a body without a beginning"));
        };
        let mut new = self.memory.own(old.writer.capacity().saturating_mul(4))?;
        if !new.writer.append_from(&old.writer) {
            return Err(Error::new(ErrorCode::Internal, "a body shrank when it moved"));
        }
        self.body.moved(new.place());
        self.release();
        self.region = Some(new);
        Ok(())
    }
}

/// Those of a reply's headers that are told.
pub(super) fn told_headers(done: &Done) -> Vec<(String, String)> {
    HEADERS
        .iter()
        .filter_map(|name| done.head.header(name).map(|value| ((*name).to_owned(), value)))
        .filter(|(_, value)| value.len() <= HEADER_BYTES)
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

impl BodySink for Sink {
    fn begin(&mut self, head: &ResponseHead) -> Result<()> {
        self.release();
        self.known = head.content_length.is_some();
        self.region = match head.content_length {
            Some(0) => None,
            Some(length) => Some(self.memory.region(length)?),
            None => Some(self.memory.own(UNKNOWN)?),
        };
        let place = self.region.as_ref().map_or(Place::default(), Region::place);
        self.body.begin(head.status, place, head.content_length);
        if head.content_length.is_some_and(|length| length > crate::app::INLINE as u64) && self.body.is_published() {
            self.memory.announce(place.segment);
        }
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::ops::Range;
    use std::time::{Duration, Instant};

    use headstart_memory::{Budget, Pool};
    use headstart_net::{Client, ClientConfig, Reach, Request};

    use super::*;

    /// Notes where the client is told to write.
    struct Watched {
        sink: Sink,
        writes: Vec<(Range<usize>, Vec<Range<usize>>)>,
        last: usize,
    }

    impl BodySink for Watched {
        fn begin(&mut self, head: &ResponseHead) -> Result<()> {
            self.sink.begin(head)
        }

        fn space(&mut self) -> Result<&mut [u8]> {
            self.last = self.sink.space()?.as_ptr() as usize;
            self.sink.space()
        }

        fn filled(&mut self, count: usize) {
            let segments = self.sink.memory.list().into_iter();
            let mappings =
                segments.filter_map(|(number, ..)| Some(self.sink.memory.find(number)?.addresses())).collect();
            self.writes.push((self.last..self.last + count, mappings));
            self.sink.filled(count);
        }
    }

    fn serve(head: &'static str, bytes: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(head.as_bytes()).unwrap();
            if head.contains("chunked") {
                stream.write_all(format!("{bytes:x}\r\n").as_bytes()).unwrap();
            }
            stream.write_all(&vec![7; bytes]).unwrap();
            if head.contains("chunked") {
                stream.write_all(b"\r\n0\r\n\r\n").unwrap();
            }
        });
        format!("http://{address}")
    }

    /// Every byte of a body is written by recv(2) inside a segment's mapping, whether its length is known or not.
    #[tokio::test]
    async fn bodies_land_in_the_segments_mapping() {
        const BYTES: usize = 3_000_000;
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            let pool = Pool::new(&[], Budget::node(1 << 30)).unwrap();
            let memory = Arc::new(Memory::new("test", &pool, &Budget::tenant(u64::MAX)));
            memory.limit(1 << 30, 0);
            let body = Body::waiting();
            let raw = format!("GET {}/x\n\n", serve(head, BYTES));
            let (address, request) = Request::parse_absolute(raw.as_bytes()).unwrap();
            let mut watched = Watched { sink: Sink::new(&memory, &body), writes: Vec::new(), last: 0 };
            let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
            let deadline = Instant::now() + Duration::from_secs(10);
            let sent = client.send("t", &address, None, &request, deadline, &mut watched, &mut |_| {}).await;
            let done = sent.unwrap();
            let mut received = 0;
            for (written, mappings) in &watched.writes {
                let inside = |mapping: &Range<usize>| mapping.start <= written.start && written.end <= mapping.end;
                assert!(mappings.iter().any(inside), "{written:?} is in none of {mappings:?}");
                received += written.len();
            }
            assert_eq!(received, BYTES);
            let finished = watched.sink.finish(&done).unwrap();
            assert_eq!(memory.read(finished.place, finished.length).unwrap(), vec![7; BYTES]);
            assert_eq!(memory.list().len(), 1, "what a body outgrew is given back");
        }
    }
}

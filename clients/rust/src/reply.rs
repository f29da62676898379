//! What came under an id, or as the answer of a call.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::numbers::{self, Code};
use crate::packet::{Packet, Request};
use crate::segment::Mapping;

/// Stands for a length that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Bytes that are there or still coming. They stay mapped for as long as this lives; the memory is given back at the next call
/// of the thread that received them.
pub struct Reply {
    client: Client,
    body: Body,
    status: u32,
    id: u64,
    segment: u64,
    offset: u64,
    /// Bytes that are there, and bytes there will be. Both only grow more certain.
    length: AtomicU64,
    total: AtomicU64,
    timeout: Duration,
    /// The application's own file that it lies in.
    file: Option<PathBuf>,
}

enum Body {
    Own(Vec<u8>),
    Mapped(Arc<Mapping>),
}

impl Reply {
    pub(crate) fn new(
        client: Client,
        connection: &mut Connection,
        packet: Packet,
        file: Option<OwnedFd>,
        timeout: Duration,
    ) -> Result<Self> {
        let inline = packet.has(numbers::FLAG_INLINE);
        let in_file = packet.has(numbers::FLAG_FILE).then(|| PathBuf::from(packet.text()));
        let body = if let Some(path) = &in_file {
            Body::Mapped(connection.map_file(path, &packet)?)
        } else if !inline && packet.segment != 0 {
            Body::Mapped(connection.claim(&packet, file)?)
        } else if !inline && packet.length != 0 {
            return Err(connection.refuse("bytes of no segment"));
        } else {
            Body::Own(packet.payload)
        };
        let length = if let Body::Own(bytes) = &body { bytes.len() as u64 } else { packet.length };
        let known = packet.flags & numbers::FLAG_LENGTH_KNOWN != 0;
        let done = packet.flags & numbers::FLAG_DONE != 0 || matches!(body, Body::Own(_));
        let total = if done {
            length
        } else if known {
            packet.total
        } else {
            UNKNOWN
        };
        Ok(Self {
            client,
            body,
            status: packet.status,
            id: packet.id,
            segment: packet.segment,
            offset: packet.offset,
            length: length.into(),
            total: total.into(),
            timeout,
            file: in_file,
        })
    }

    /// Where its bytes lie when the initscript has had them received in a file of the application's: the file's path, and the
    /// offset in it. They are the application's to map and to write; whoever writes or cuts that part of the file looks at them
    /// through the file only, and not through this.
    pub fn file(&self) -> Option<(&Path, u64)> {
        self.file.as_deref().map(|path| (path, self.offset))
    }

    /// The protocol's status (HTTP), 0 where it has none. A head with status ≥ 400 is an answer like any other.
    pub fn status(&self) -> u32 {
        self.status
    }

    /// How many bytes there will be, while that is known.
    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Acquire)).filter(|total| *total != UNKNOWN)
    }

    /// The bytes that are there now.
    pub fn there(&self) -> &[u8] {
        match &self.body {
            Body::Own(bytes) => bytes,
            Body::Mapped(mapping) => {
                let bytes = mapping.bytes(self.offset as usize, self.length.load(Ordering::Acquire) as usize);
                bytes.unwrap_or_default()
            }
        }
    }

    /// Waits until `length` bytes are there, or all. Those that are; an error is what ended them early.
    pub fn wait(&self, length: u64) -> Result<&[u8]> {
        let now = self.length.load(Ordering::Acquire);
        let total = self.total.load(Ordering::Acquire);
        let length = length.min(total);
        if length <= now {
            return Ok(self.there());
        }
        let (a, b, flags) = (self.segment, self.offset, numbers::FLAG_NO_FD);
        let request = Request { op: numbers::OP_AWAIT, a, b, c: length, flags, ..Request::default() };
        let (answer, _) = self.client.with_file(&request, None, self.timeout)?;
        let done = answer.has(numbers::FLAG_DONE);
        let most = match &self.body {
            Body::Own(bytes) => bytes.len() as u64,
            Body::Mapped(mapping) => (mapping.length() as u64).saturating_sub(self.offset).min(total),
        };
        if answer.length < now || answer.length > most || (!done && answer.length < length) {
            let message = format!("the bridge sent a length of {}, waiting for {length}", answer.length);
            return Err(Error::new(Code::Protocol, message));
        }
        if done {
            self.total.store(answer.length, Ordering::Release);
        }
        self.length.fetch_max(answer.length, Ordering::AcqRel);
        Ok(self.there())
    }

    /// All bytes, waiting while they are still coming.
    pub fn whole(&self) -> Result<&[u8]> {
        while self.length.load(Ordering::Acquire) < self.total.load(Ordering::Acquire) {
            self.wait(self.total.load(Ordering::Acquire))?;
        }
        Ok(self.there())
    }

    /// Reads the bytes while they come.
    pub fn stream(&self) -> Stream<'_> {
        Stream { reply: self, position: 0 }
    }

    /// Of an event: the invocation's number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length.load(Ordering::Acquire);
        formatter
            .debug_struct("Reply")
            .field("status", &self.status)
            .field("length", &length)
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}

/// Reads a [`Reply`] from its front.
#[derive(Debug)]
pub struct Stream<'a> {
    reply: &'a Reply,
    position: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let there = self.reply.wait(self.position as u64 + 1)?;
        let mut rest = there.get(self.position..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::client::Wait;
    use crate::fake_bridge::{Deed, FakeBridge, Told};

    #[test]
    fn replies_in_one_file_share_its_mapping() {
        let path = std::env::temp_dir().join(format!("hsr-file-{}", std::process::id()));
        std::fs::write(&path, "firstsecond").unwrap();
        let name: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
        let bridge = FakeBridge::start(move |asked| {
            let (offset, length) = [(0, 5), (5, 6), (5, 7)][asked.id as usize];
            let told = Told { offset, payload: name, ..Told::of(1, length, None) };
            Deed::Tell(Told { flags: told.flags | numbers::FLAG_FILE, ..told })
        });
        let replies = Client::at(&bridge.path).recv_msgs(&[(0, ""), (1, ""), (2, "")], Wait::default());
        let [Ok(first), Ok(second), Err(outside)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!((first.there(), second.there()), (&b"first"[..], &b"second"[..]));
        assert_eq!(second.file(), Some((&*path, 5)));
        assert_eq!(outside.code, Code::NotFound);
        let (Body::Mapped(one), Body::Mapped(other)) = (&first.body, &second.body) else { panic!("{replies:?}") };
        assert!(Arc::ptr_eq(one, other));
        std::fs::remove_file(&path).unwrap();
    }
}

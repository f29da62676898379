//! The bytes of a shard, wherever they lie.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headstart::Reply;

use crate::error::{Error, Result};

/// Bytes that an initscript's reply brings into memory shared with the bridge, or bytes of the program's own.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    /// Nanoseconds that were spent waiting for bytes that were not there.
    waited: AtomicU64,
}

#[derive(Debug)]
enum Kind {
    Shared(Reply),
    Own(Vec<u8>),
}

impl Body {
    pub fn own(bytes: Vec<u8>) -> Self {
        Self { kind: Kind::Own(bytes), waited: AtomicU64::new(0) }
    }

    /// A reply that was claimed; `waited`: for what was not all there.
    pub(crate) fn shared(reply: Reply, waited: Duration) -> Self {
        Self { kind: Kind::Shared(reply), waited: nanos(waited).into() }
    }

    pub fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Shared(_))
    }

    /// The bytes that are there.
    pub fn bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Shared(reply) => reply.there(),
            Kind::Own(bytes) => bytes,
        }
    }

    /// Waits until `length` bytes are there: those that are, which may be more.
    pub fn at_least(&self, length: u64) -> Result<&[u8]> {
        let there = self.bytes();
        let bytes = match &self.kind {
            Kind::Shared(reply) if (there.len() as u64) < length => self.waiting(|| reply.wait(length))?,
            _ => there,
        };
        match bytes.len() as u64 {
            there if there < length => Err(Error::Truncated { needed: length, there }),
            _ => Ok(bytes),
        }
    }

    /// How many bytes there will be; waits for the last where nobody has said.
    pub fn total(&self) -> Result<u64> {
        match &self.kind {
            Kind::Own(bytes) => Ok(bytes.len() as u64),
            Kind::Shared(reply) => match reply.total() {
                Some(total) => Ok(total),
                None => Ok(self.waiting(|| reply.whole())?.len() as u64),
            },
        }
    }

    /// All bytes, once they are there.
    pub fn whole(&self) -> Result<&[u8]> {
        self.at_least(self.total()?)
    }

    /// The same bytes in memory of the program's own.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self { kind: Kind::Own(self.whole()?.to_vec()), waited: nanos(self.waited()).into() })
    }

    /// How long was waited for bytes that were not there.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let got = wait();
        self.waited.fetch_add(nanos(began.elapsed()), Ordering::Relaxed);
        got
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_bytes_are_all_there_or_too_few() {
        let body = Body::own(vec![1, 2, 3]);
        assert_eq!((body.total().unwrap(), body.at_least(2).unwrap()), (3, &[1, 2, 3][..]));
        assert!(matches!(body.at_least(4), Err(Error::Truncated { needed: 4, there: 3 })));
        assert_eq!(body.copied().unwrap().bytes(), body.bytes());
        assert_eq!(body.waited(), Duration::ZERO);
    }
}

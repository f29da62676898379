//! Bytes on their way from the network to the thread that unpacks them, and what is known of them when they have passed.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// Reads what comes through a channel. Its end is the end of the sender.
pub(crate) struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Pieces {
    pub(crate) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, piece: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

/// Counts and digests what is read through it; more than its limit is an error.
pub(crate) struct Measured<R> {
    inner: R,
    sha: Sha256,
    left: u64,
}

/// What is more than a limit says so with this, in an [`io::Error`].
pub(crate) const TOO_LARGE: &str = "it unpacks to more bytes than an image may have";

impl<R: Read> Measured<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        Self { inner, sha: Sha256::new(), left: limit }
    }

    /// Reads the rest, and tells the digest of all.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(hex(&self.sha.finalize()))
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(TOO_LARGE))?;
        self.sha.update(&buffer[..count]);
        Ok(count)
    }
}

/// Whether "sha256:…" is the digest of these bytes.
pub(crate) fn is_digest_of(digest: &str, bytes: &[u8]) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|wanted| wanted == hex(&Sha256::digest(bytes)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_digested_and_bounded() {
        let mut reader = Measured::new(&b"abcdef"[..], 6);
        reader.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(reader.finish().unwrap(), hex(&Sha256::digest(b"abcdef")));
        let error = Measured::new(&b"abcdef"[..], 5).finish().unwrap_err();
        assert_eq!(error.to_string(), TOO_LARGE);
    }
}

//! Reads in a thread of its own: what unpacks a layer's bytes and what digests and writes them take about as long as each other, and a
//! large layer is all that an image waits for.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of a piece: those that are under way stay in the CPUs' caches.
const PIECE: usize = 128 << 10;
/// Pieces that are ahead.
const PIECES: usize = 8;

/// What another thread has read already.
pub(crate) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that were read, to be filled again.
    empty: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

impl Ahead {
    /// The thread ends with what it reads, or soon after this is dropped.
    pub(crate) fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(PIECES);
        let (empty, empties) = sync_channel(PIECES);
        thread::Builder::new().name("read-ahead".to_owned()).spawn(move || read_all(reader, &sender, &empties))?;
        Ok(Self { pieces, empty, piece: Vec::new(), read: 0 })
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            // A thread that is gone has read all.
            let Ok(piece) = self.pieces.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.piece, piece?);
            self.read = 0;
            if !used.is_empty() {
                // Where there are enough of them, it is freed.
                let _ = self.empty.try_send(used);
            }
        }
        let count = (&self.piece[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

fn read_all(mut reader: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>, empties: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = empties.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let outcome = fill(&mut reader, &mut piece);
        let (count, error) = match outcome {
            Ok(count) => (count, None),
            Err((count, error)) => (count, Some(error)),
        };
        piece.truncate(count);
        let is_over = count < PIECE;
        if count > 0 && sender.send(Ok(piece)).is_err() {
            return;
        }
        if let Some(error) = error {
            // Nobody reads it any more.
            let _ = sender.send(Err(error));
            return;
        }
        if is_over {
            return;
        }
    }
}

/// Fills a piece, or reads to the end. What was read before an error counts.
fn fill(reader: &mut impl Read, piece: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((filled, error)),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read_in_its_order() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 40 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|number| (number >> 7) as u8).collect();
            let mut found = Vec::new();
            Ahead::new(io::Cursor::new(bytes.clone())).unwrap().read_to_end(&mut found).unwrap();
            assert_eq!(found.len(), bytes.len());
            assert!(found == bytes);
        }
    }

    #[test]
    fn an_error_comes_after_what_was_read_before_it() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.min(buffer.len());
                self.0 -= count;
                if count == 0 { Err(io::Error::other("it is broken")) } else { Ok(count) }
            }
        }
        let mut found = Vec::new();
        let error = Ahead::new(Failing(3 * PIECE + 5)).unwrap().read_to_end(&mut found).unwrap_err();
        assert_eq!((found.len(), error.to_string().as_str()), (3 * PIECE + 5, "it is broken"));
    }

    #[test]
    fn the_thread_ends_when_nobody_reads() {
        struct Endless {
            _alive: SyncSender<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let (alive, ended) = sync_channel(0);
        let mut ahead = Ahead::new(Endless { _alive: alive }).unwrap();
        ahead.read_exact(&mut [0; 10]).unwrap();
        drop(ahead);
        assert!(ended.recv().is_err());
    }
}

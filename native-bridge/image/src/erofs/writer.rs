//! Writes a file from its beginning to its end, in few and large pieces, and knows in which block it is.

use std::fs::File;
use std::io::{self, Read, Write};

use headstart_base::Result;

use super::format::BLOCK;
use crate::archive::broken;
use crate::failure::disk;

/// What is written at once.
const BUFFER: usize = 256 << 10;

pub(super) struct Writer {
    file: File,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are to be written.
    filled: usize,
    written: u64,
}

impl Writer {
    pub(super) fn new(file: File) -> Self {
        Self { file, buffer: vec![0; BUFFER], filled: 0, written: 0 }
    }

    /// The block in which what comes next begins: what is left of the last one stays empty.
    pub(super) fn block(&mut self) -> io::Result<u32> {
        let end = self.filled.next_multiple_of(BLOCK);
        self.buffer[self.filled..end].fill(0);
        self.filled = end;
        if self.filled == BUFFER {
            self.flush()?;
        }
        let block = (self.written + self.filled as u64) / BLOCK as u64;
        u32::try_from(block).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.advance(now.len())?;
            bytes = later;
        }
        Ok(())
    }

    /// Writes all that there is to read. What goes wrong in reading is the layer's fault, in writing the disk's.
    pub(super) fn put_all(&mut self, content: &mut dyn Read) -> Result<u64> {
        let mut total = 0;
        loop {
            let count = match content.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            self.advance(count).map_err(|error| disk("a layer's file", &error))?;
            total += count as u64;
        }
    }

    /// The file with all of it.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file)
    }

    fn advance(&mut self, count: usize) -> io::Result<()> {
        self.filled += count;
        if self.filled == BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer[..self.filled])?;
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

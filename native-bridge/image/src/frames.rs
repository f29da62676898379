//! Zstandard as layers have it: any number of frames one behind the other, and such as hold no content.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Reads the content of all frames. What is no frame is an error.
pub(crate) struct Frames<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source: BufReader::new(source), decoder: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame with content. False: there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped != u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.within && !self.decoder.is_finished() {
                let decoded = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                decoded.map_err(io::Error::other)?;
                continue;
            }
            self.within = self.begin()?;
            if !self.within {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        Frames::new(bytes).read_to_end(&mut found).map(|_| found)
    }

    #[test]
    fn all_frames_are_read() {
        let plain: Vec<u8> = (0..600_000_u32).map(|number| (number >> 5) as u8).collect();
        let frame = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let skipped = [&0x184d_2a50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let (one, two, none) = (frame(&plain[..400_000]), frame(&plain[400_000..]), frame(b""));
        assert_eq!(read(&frame(&plain)).unwrap(), plain);
        let all = [&skipped[..], &one, &none, &skipped, &two, &skipped].concat();
        assert_eq!(read(&all).unwrap(), plain);
        assert_eq!(read(b"").unwrap(), b"");
        assert!(read(&all[..all.len() - 1]).is_err());
        assert!(read(&all[..skipped.len() + one.len() - 9]).is_err());
        assert!(read(&[&one[..], b"x"].concat()).is_err());
        assert!(read(b"no frame at all").is_err());
    }
}

//! Zstandard as layers have it: any number of frames one behind the other, and such as hold no content.

use std::io::{self, BufRead, Read};

use zstd::stream::read::Decoder;

/// How far back a frame may refer, as a power of two: what it makes us keep. Packers use at most 32 MiB unless they are told to.
const LARGEST_WINDOW: u32 = 25;

/// Reads the content of all frames. What is no frame is an error.
pub(crate) fn frames<R: BufRead>(source: R) -> io::Result<impl Read + use<R>> {
    let mut decoder = Decoder::with_buffer(source)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zstd::stream::write::Encoder;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        frames(bytes)?.read_to_end(&mut found).map(|_| found)
    }

    #[test]
    fn all_frames_are_read() {
        let plain: Vec<u8> = (0..600_000_u32).map(|number| (number >> 5) as u8).collect();
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        let skipped = [&0x184d_2a50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let (one, two, none) = (frame(&plain[..400_000]), frame(&plain[400_000..]), frame(b""));
        assert_eq!(read(&frame(&plain)).unwrap(), plain);
        let all = [&skipped[..], &one, &none, &skipped, &two, &skipped].concat();
        assert_eq!(read(&all).unwrap(), plain);
        assert!(read(b"").is_err());
        assert!(read(&all[..all.len() - 1]).is_err());
        assert!(read(&all[..skipped.len() + one.len() - 9]).is_err());
        assert!(read(&[&one[..], b"x"].concat()).is_err());
        assert!(read(b"no frame at all").is_err());
    }

    #[test]
    fn a_frame_that_would_make_us_keep_too_much_is_refused() {
        for (window, allowed) in [(LARGEST_WINDOW, true), (LARGEST_WINDOW + 1, false)] {
            let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window).unwrap();
            encoder.write_all(&[7; 100_000]).unwrap();
            let packed = encoder.finish().unwrap();
            assert_eq!(read(&packed).is_ok(), allowed, "{window}");
        }
    }
}

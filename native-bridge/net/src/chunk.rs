//! The lines of the chunked transfer coding (RFC 9112, section 7.1), strictly: what is lenient here is smuggled elsewhere.

use crate::failure::Failure;

/// Bytes of a chunk's line with its extensions, and the line break before it.
pub(crate) const MAX_LINE: usize = 512;
/// Bytes of the trailers, which nobody reads.
pub(crate) const MAX_TRAILERS: usize = 8 * 1024;

/// The length of a chunk's line; it begins with the line break that ends the chunk before, unless it is the first.
pub(crate) fn find_line(bytes: &[u8], first: bool) -> Result<Option<usize>, Failure> {
    let skip = match first {
        true => 0,
        false => 2,
    };
    if !first && bytes.iter().zip(b"\r\n").any(|(byte, expected)| byte != expected) {
        return Err(Failure::bad_reply("a chunk is longer than its size"));
    }
    let Some(end) = bytes.iter().skip(skip).position(|&byte| byte == b'\n').map(|at| at + skip) else {
        return Ok(None);
    };
    match end.checked_sub(1).and_then(|before| bytes.get(before)) {
        Some(b'\r') => Ok(Some(end + 1)),
        _ => Err(Failure::bad_reply("a chunk's line does not end with CR LF")),
    }
}

/// The size in a whole chunk's line.
pub(crate) fn size(line: &[u8]) -> Result<u64, Failure> {
    let bad = || Failure::bad_reply("a chunk's size is no hexadecimal number");
    let line = line.strip_prefix(b"\r\n").unwrap_or(line).strip_suffix(b"\r\n").ok_or_else(bad)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    if !(1..=16).contains(&digits) || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(bad());
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| bad())?;
    u64::from_str_radix(digits, 16).map_err(|_| bad())
}

/// The length of the trailers, which end with an empty line.
pub(crate) fn find_trailers(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let mut line = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if at == line || bytes[at - 1] != b'\r' {
            return Err(Failure::bad_reply("a trailer does not end with CR LF"));
        }
        if at == line + 1 {
            return Ok(Some(at + 1));
        }
        line = at + 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines() {
        assert_eq!(find_line(b"1a\r\nxx", true).unwrap(), Some(4));
        assert_eq!(find_line(b"\r\n1a;x=y\r\nxx", false).unwrap(), Some(10));
        assert_eq!(find_line(b"1a\r", true).unwrap(), None);
        assert_eq!(find_line(b"\r", false).unwrap(), None);
        for (line, first) in [("1a\n", true), ("\n", true), ("x\r\n1\r\n", false), ("\r\n\n", false)] {
            assert!(find_line(line.as_bytes(), first).is_err(), "{line:?}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (line, expected) in
            [("0\r\n", 0), ("\r\n1A \r\n", 26), ("00ff;x\r\n", 255), ("ffffffffffffffff\r\n", u64::MAX)]
        {
            assert_eq!(size(line.as_bytes()).unwrap(), expected, "{line:?}");
        }
        for line in
            ["\r\n", "\r\n\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", "1 2\r\n", "10000000000000000\r\n", "1"]
        {
            assert!(size(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn finds_the_end_of_trailers() {
        assert_eq!(find_trailers(b"\r\nHTTP").unwrap(), Some(2));
        assert_eq!(find_trailers(b"a: b\r\n\r\nHTTP").unwrap(), Some(8));
        assert_eq!(find_trailers(b"a: b\r\n").unwrap(), None);
        assert_eq!(find_trailers(b"").unwrap(), None);
        assert!(find_trailers(b"\n").is_err() && find_trailers(b"a: b\n\r\n").is_err());
    }
}

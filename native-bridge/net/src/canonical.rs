//! The one canonical form of a path, so that what a rule allows, what is signed and what a server reads are the same.
//!
//! Percent-encoding is undone once and applied once. Dot segments, empty segments and control characters are refused
//! rather than repaired: a path that needs repair reads differently at different servers.

use headstart_base::{Error, ErrorCode, Result};

use crate::address::Scheme;

/// Bytes of a canonical path with its query.
const MAX_PATH: usize = 4096;

/// How often a careless server may decode a path.
const MAX_DECODINGS: usize = 4;

/// Sub-resources of S3 that a request may name. Others (acl, policy, …) are rights of their own, and x-amz-* parameters
/// are a signature's.
const S3_PARAMETERS: [&str; 13] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "partNumber",
    "prefix",
    "start-after",
    "uploadId",
    "uploads",
    "versionId",
];

/// The canonical form of an HTTP or S3 path with or without a query. A missing leading slash is added.
///
/// `invalidArgument` for bad percent-encoding, dot or empty segments, control characters, and for S3 what is not UTF-8
/// or a parameter that may not be named.
pub(crate) fn path(scheme: Scheme, raw: &str) -> Result<String> {
    let (path, query) = match raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (raw, None),
    };
    let mut decoded = decode(path)?;
    let mut out = String::with_capacity(raw.len() + 1);
    match scheme {
        Scheme::S3 if decoded.first() != Some(&b'/') => decoded.insert(0, b'/'),
        Scheme::S3 => {}
        _ if !path.starts_with('/') => {
            decoded.insert(0, b'/');
            out.push('/');
        }
        _ => {}
    }
    check(&decoded)?;
    match scheme {
        Scheme::S3 => {
            if std::str::from_utf8(&decoded).is_err() {
                return Err(invalid("a key is UTF-8"));
            }
            encode(&decoded, b"/", &mut out);
        }
        _ => {
            check_carelessly(&decoded)?;
            normalise(path, b"/:@!$&'()*+,;=", &mut out)?;
        }
    }
    match query {
        None | Some("") => {}
        Some(query) => {
            out.push('?');
            match scheme {
                Scheme::S3 => {
                    s3_query(query, &mut out)?;
                    // "?&" says nothing.
                    if out.ends_with('?') {
                        out.pop();
                    }
                }
                _ => {
                    no_control(&decode(query)?)?;
                    normalise(query, b"/:@!$&'()*+,;=?", &mut out)?;
                }
            }
        }
    }
    if out.len() > MAX_PATH {
        return Err(invalid("it is longer than 4096 bytes"));
    }
    Ok(out)
}

fn check(decoded: &[u8]) -> Result<()> {
    no_control(decoded)?;
    let inner = decoded.strip_prefix(b"/").unwrap_or(decoded);
    let mut segments = inner.split(|&byte| byte == b'/' || byte == b'\\').peekable();
    while let Some(segment) = segments.next() {
        // Some servers cut parameters (";x") off a segment before they look at it.
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return Err(invalid("it has a segment '.' or '..'"));
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(invalid("it has an empty segment ('//')"));
        }
    }
    Ok(())
}

/// Refuses what only a careless HTTP server reads as something else: one that decodes again what it has decoded, or takes an
/// overlong sequence of UTF-8 for the character that it hides.
fn check_carelessly(decoded: &[u8]) -> Result<()> {
    let overlong = |pair: &[u8]| matches!(pair, [0xc0 | 0xc1, _] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]);
    if decoded.windows(2).any(overlong) {
        return Err(invalid("it has a malformed character"));
    }
    let mut text = decoded.to_vec();
    for _ in 0..MAX_DECODINGS {
        let again = decode_leniently(&text);
        if again == text {
            return Ok(());
        }
        check(&again)?;
        text = again;
    }
    Err(invalid("it is percent-encoded again and again"))
}

/// Undoes percent-encoding where there is any. What comes out is shorter, or the same.
fn decode_leniently(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn no_control(decoded: &[u8]) -> Result<()> {
    match decoded.iter().any(u8::is_ascii_control) {
        true => Err(invalid("it has a line break or another control character")),
        false => Ok(()),
    }
}

/// Undoes percent-encoding once.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => escape(&mut bytes)?,
            plain => plain,
        });
    }
    Ok(out)
}

/// The byte behind a '%'.
fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<u8> {
    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
    match (digit(), digit()) {
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(invalid("a '%' is not followed by two hexadecimal digits")),
    }
}

pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_escaped(byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// Percent-encodes all but unreserved characters and those in `keep`.
pub(crate) fn encode(bytes: &[u8], keep: &[u8], out: &mut String) {
    for &byte in bytes {
        match is_unreserved(byte) || keep.contains(&byte) {
            true => out.push(char::from(byte)),
            false => push_escaped(byte, out),
        }
    }
}

/// RFC 3986 normalisation: escapes of unreserved characters undone, others kept (in upper case), what may not stand
/// literally escaped. An escaped reserved character means something else than a literal one, so it stays.
fn normalise(text: &str, keep: &[u8], out: &mut String) -> Result<()> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match escape(&mut bytes)? {
                plain if is_unreserved(plain) => out.push(char::from(plain)),
                other => push_escaped(other, out),
            },
            b'#' => return Err(invalid("it has a fragment ('#')")),
            plain => encode(&[plain], keep, out),
        }
    }
    Ok(())
}

/// Parameters as SigV4 wants them: encoded, sorted, each with a '='.
fn s3_query(query: &str, out: &mut String) -> Result<()> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        no_control(&value)?;
        if !S3_PARAMETERS.iter().any(|known| known.as_bytes() == name) {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(invalid(&format!("the parameter {name:?} is not allowed here")));
        }
        let (mut encoded_name, mut encoded_value) = (String::new(), String::new());
        encode(&name, b"", &mut encoded_name);
        encode(&value, b"", &mut encoded_value);
        pairs.push((encoded_name, encoded_value));
    }
    pairs.sort();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
    Ok(())
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the path is not usable: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_keys_are_decoded_once_and_encoded_once() {
        for (raw, canonical) in [
            ("weights", "/weights"),
            ("/weights", "/weights"),
            ("%2Fweights", "/weights"),
            ("a b+c/d", "/a%20b%2Bc/d"),
            ("a%20b", "/a%20b"),
            ("a%2fb", "/a/b"),
            ("%77eights", "/weights"),
            ("%2577", "/%2577"),
            ("%252e%252e/x", "/%252e%252e/x"),
            ("x#y", "/x%23y"),
            ("é", "/%C3%A9"),
            ("dir/", "/dir/"),
            ("", "/"),
            ("a...b/..c", "/a...b/..c"),
            ("?prefix=a/b&list-type=2", "/?list-type=2&prefix=a%2Fb"),
            ("k?uploads", "/k?uploads="),
            ("k?", "/k"),
        ] {
            let first = path(Scheme::S3, raw).unwrap();
            assert_eq!(first, canonical, "{raw}");
            assert_eq!(path(Scheme::S3, &first).unwrap(), first, "canonical form is a fixed point");
        }
    }

    #[test]
    fn http_paths_keep_what_is_reserved() {
        for (raw, canonical) in [
            ("a:b@c", "/a:b@c"),
            ("/a%2fb%7Ec", "/a%2Fb~c"),
            ("/a b\"", "/a%20b%22"),
            ("/x?q=a%2Fb&q=%61+c d", "/x?q=a%2Fb&q=a+c%20d"),
            ("/x?acl", "/x?acl"),
        ] {
            let first = path(Scheme::Http, raw).unwrap();
            assert_eq!(first, canonical, "{raw}");
            assert_eq!(path(Scheme::Http, &first).unwrap(), first);
        }
        assert!(path(Scheme::Http, "/a#b").is_err());
    }

    #[test]
    fn refuses_what_reads_differently_elsewhere() {
        for raw in [
            "..",
            "/../x",
            "a/..",
            "a/./b",
            "%2e%2e/x",
            "a/%2E%2E/b",
            "a%2f..%2fb",
            "a/..%5cb",
            "..\\x",
            "a/..;v=1/b",
            "//x",
            "a//b",
            "%2F%2Fx",
            "a%2f%2fb",
            "a\r\nb",
            "a%0d%0aX: y",
            "a%00",
            "a%7f",
            "a%",
            "a%2",
            "a%zz",
            "a?x=%0a",
        ] {
            for scheme in [Scheme::S3, Scheme::Http, Scheme::Https] {
                assert!(path(scheme, raw).is_err(), "{raw:?} {scheme:?}");
            }
        }
        for raw in ["k?acl", "k?policy=", "k?X-Amz-Signature=1", "k?%61cl", "%ff", "k?versionId=%0a"] {
            assert!(path(Scheme::S3, raw).is_err(), "{raw:?}");
        }
        assert!(path(Scheme::S3, &"é".repeat(1000)).is_err());
    }

    #[test]
    fn a_query_that_says_nothing_is_none() {
        for raw in ["/a", "/a?", "/a?&", "/a?&&&"] {
            assert_eq!(path(Scheme::S3, raw).unwrap(), "/a", "{raw:?}");
        }
        assert_eq!(path(Scheme::Http, "/a??").unwrap(), "/a??");
    }

    #[test]
    fn what_a_careless_server_would_read_is_refused_for_http() {
        for raw in [
            "%252e%252e/x",
            "a/%252E./x",
            "a%252f..%252fb",
            "a/%25252e%25252e/x",
            "a/..%255cx",
            "a/%c0%ae%c0%ae/x",
            "a%c0%afb",
            "a%e0%80%afb",
            "a%f0%80%80%afb",
            "a%250d%250ab",
        ] {
            assert!(path(Scheme::Http, raw).is_err(), "{raw:?}");
        }
        for raw in ["100%25", "a%2525b", "caf%C3%A9", "%e2%82%ac", "a%25zz"] {
            assert!(path(Scheme::Http, raw).is_ok(), "{raw:?}");
        }
        assert!(path(Scheme::Http, &format!("a%{}zz", "25".repeat(20))).is_err(), "decoding again ends");
    }

    /// How servers read a path: each decodes so many times, may take '\\' for '/' and cut ';x' off, and then resolves dots.
    fn readings(canonical: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut bytes = canonical.split('?').next().unwrap_or_default().as_bytes().to_vec();
        for _ in 0..4 {
            for (backslash, parameters) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut segments: Vec<&[u8]> = Vec::new();
                for segment in bytes.split(|&byte| byte == b'/' || (backslash && byte == b'\\')).skip(1) {
                    let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
                    match if parameters { name } else { segment } {
                        b"." | b"" => {}
                        b".." => drop(segments.pop()),
                        other => segments.push(other),
                    }
                }
                found.push(format!("/{}", String::from_utf8_lossy(&segments.join(&b'/'))));
            }
            bytes = decode_leniently(&bytes);
        }
        found
    }

    #[test]
    fn whatever_a_server_makes_of_a_path_it_stays_under_its_rule() {
        let alphabet = [
            "%", "2", "25", "e", "E", "f", "5", "c", "C", ".", "..", "/", "\\", "a", "?", "%2e", "%2f", "%5c", "%252e",
            "%252f", "#", ";", " ", "%3b", "+", "\u{e9}",
        ];
        let mut state = 0x0123_4567_89ab_cdef_u64;
        let mut allowed = 0;
        for _ in 0..300_000 {
            let mut raw = "/public/".to_owned();
            for _ in 0..9 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                raw.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            let Ok(canonical) = path(Scheme::Http, &raw) else { continue };
            if canonical.starts_with("/public/") {
                allowed += 1;
                for reading in readings(&canonical) {
                    assert!(reading.starts_with("/public"), "{raw:?} {canonical:?} is read as {reading:?}");
                }
            }
        }
        assert!(allowed > 1000, "{allowed}");
    }

    #[test]
    fn random_paths_never_get_a_dot_segment_past() {
        let alphabet = ["%", "2", "e", "E", "f", "5", "c", ".", "/", "\\", "a", "?", "%2e", "%2f", "#", ";", " "];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            let mut raw = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                raw.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            for scheme in [Scheme::S3, Scheme::Http] {
                let Ok(canonical) = path(scheme, &raw) else { continue };
                assert!(canonical.starts_with('/') && !canonical.starts_with("//"), "{raw:?} {canonical:?}");
                assert_eq!(path(scheme, &canonical).as_deref(), Ok(canonical.as_str()), "{raw:?}");
                let decoded = decode(canonical.split('?').next().unwrap()).unwrap();
                for segment in decoded.split(|&byte| byte == b'/' || byte == b'\\') {
                    assert!(segment != b"." && segment != b"..", "{raw:?} {canonical:?}");
                }
            }
        }
    }
}

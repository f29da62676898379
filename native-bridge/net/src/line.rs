//! Requests that are a line, and bytes behind an empty one: as initscripts write them, and as an application's call names them.

use bytes::Bytes;
use headstart_base::Result;

use crate::canonical;
use crate::request::invalid;

/// Bytes of the line.
const MAX_LINE: usize = 16 * 1024;

/// "line", "line\n" or "line\n\nbody".
pub(crate) fn line_and_body(raw: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = raw.iter().position(|&byte| byte == b'\n').unwrap_or(raw.len());
    let (line, rest) = raw.split_at(end);
    let body = match rest {
        b"" | b"\n" => &[],
        _ => rest.strip_prefix(b"\n\n").ok_or_else(|| invalid("an empty line should follow its first line"))?,
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() > MAX_LINE || line.contains(&b'\r') {
        true => Err(invalid("its first line is too long or has a carriage return in it")),
        false => Ok((line, body)),
    }
}

/// The line's words: "SET key", an empty line, and bytes.
pub(crate) fn words_and_body(raw: &[u8]) -> Result<(Vec<Bytes>, Bytes)> {
    let (line, body) = line_and_body(raw)?;
    let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    Ok((words.map(Bytes::copy_from_slice).collect(), Bytes::copy_from_slice(body)))
}

/// The same words of "VERB scheme://host:port/word word", each but the verb percent-encoded.
pub(crate) fn call_words(verb: &str, path: &str) -> Result<Vec<Bytes>> {
    let mut words = vec![Bytes::copy_from_slice(verb.as_bytes())];
    for word in path.trim_start_matches('/').split(' ').filter(|word| !word.is_empty()) {
        words.push(canonical::decode(word)?.into());
    }
    Ok(words)
}

//! memcached's text protocol, as far as its common clients go: get, set, add, replace, delete, flush_all, stats, version, quit, and of
//! the meta commands mg, ms, md and mn.

use std::io::{self, BufRead, Read, Write};

use crate::overlay::{Item, expiry};
use crate::store::Store;

const KEY: usize = 250;
const LINE: u64 = 8 << 10;
/// The longest value, bytes.
pub(crate) const VALUE: u64 = 64 << 20;
const VERSION: &str = concat!("headstart-cached ", env!("CARGO_PKG_VERSION"));

/// What follows a command.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Command,
    Close,
}

/// Answers a connection's commands until it ends.
pub(crate) fn converse(store: &Store, reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        reader.take(LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.pop() != Some(b'\n') {
            writer.write_all(b"CLIENT_ERROR line too long\r\n")?;
            return writer.flush();
        }
        line.pop_if(|byte| *byte == b'\r');
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        if answer(store, &words, reader, writer)? == Next::Close {
            return writer.flush();
        }
        writer.flush()?;
    }
}

fn answer(store: &Store, words: &[&[u8]], reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Next> {
    match words {
        [b"get" | b"gets", keys @ ..] if !keys.is_empty() => get(store, keys, writer)?,
        [verb @ (b"set" | b"add" | b"replace"), rest @ ..] => return set(store, verb, rest, reader, writer),
        [b"delete", key, rest @ ..] => {
            let gone = if store.delete(key) { "DELETED" } else { "NOT_FOUND" };
            say(writer, gone, rest.last() == Some(&&b"noreply"[..]))?;
        }
        [b"mg", key, flags @ ..] => meta_get(store, key, flags, writer)?,
        [b"ms", key, length, flags @ ..] => return meta_set(store, key, length, flags, reader, writer),
        [b"md", key, flags @ ..] => {
            let gone = store.delete(key);
            if !(gone && flags.contains(&&b"q"[..])) {
                meta(writer, if gone { "HD" } else { "NF" }, key, flags, None)?;
            }
        }
        [b"mn"] => writer.write_all(b"MN\r\n")?,
        [b"flush_all", rest @ ..] => {
            store.flush();
            say(writer, "OK", rest.last() == Some(&&b"noreply"[..]))?;
        }
        [b"stats"] => stats(store, writer)?,
        [b"version"] => say(writer, &format!("VERSION {VERSION}"), false)?,
        [b"verbosity", ..] => say(writer, "OK", false)?,
        [b"quit"] => return Ok(Next::Close),
        _ => say(writer, "ERROR", false)?,
    }
    Ok(Next::Command)
}

fn say(writer: &mut impl Write, text: &str, quiet: bool) -> io::Result<()> {
    if quiet { Ok(()) } else { write!(writer, "{text}\r\n") }
}

fn get(store: &Store, keys: &[&[u8]], writer: &mut impl Write) -> io::Result<()> {
    for key in keys {
        if let Some(found) = store.get(key) {
            writer.write_all(b"VALUE ")?;
            writer.write_all(key)?;
            write!(writer, " {} {}\r\n", found.flags(), found.bytes().len())?;
            writer.write_all(found.bytes())?;
            writer.write_all(b"\r\n")?;
        }
    }
    say(writer, "END", false)
}

/// What a command that stores says of itself.
struct Storing<'a> {
    key: &'a [u8],
    length: u64,
    flags: u32,
    expiry: i64,
}

impl<'a> Storing<'a> {
    fn classic(words: &[&'a [u8]]) -> Option<Self> {
        let [key, flags, expiry, length, ..] = words else { return None };
        Some(Self { key, length: number(length)?, flags: number(flags)?, expiry: number(expiry)? })
    }

    fn meta(key: &'a [u8], length: &[u8], words: &[&[u8]]) -> Option<Self> {
        let mut storing = Self { key, length: number(length)?, flags: 0, expiry: 0 };
        for word in words {
            match word.split_first()? {
                (b'F', digits) => storing.flags = number(digits)?,
                (b'T', digits) => storing.expiry = number(digits)?,
                (b'q' | b'k', []) | (b'O', _) | (b'M', b"S" | b"set") => {}
                _ => return None,
            }
        }
        Some(storing)
    }

    /// Reads the value and stores it, if `wanted`. What to answer, or None where the other end cannot be followed any more.
    fn store(
        &self,
        store: &Store,
        wanted: bool,
        reader: &mut impl BufRead,
    ) -> io::Result<Option<Result<bool, &'static str>>> {
        if self.length > VALUE {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        reader.take(self.length).read_to_end(&mut bytes)?;
        let mut end = [0; 2];
        reader.read_exact(&mut end)?;
        if end != *b"\r\n" {
            return Ok(None);
        }
        if self.key.len() > KEY {
            return Ok(Some(Err("CLIENT_ERROR bad command line format")));
        }
        if !wanted {
            return Ok(Some(Ok(false)));
        }
        if store.set(self.key, Item::new(bytes, self.flags, expiry(self.expiry))) {
            return Ok(Some(Ok(true)));
        }
        Ok(Some(Err("SERVER_ERROR out of memory storing object")))
    }
}

fn set(
    store: &Store,
    verb: &[u8],
    words: &[&[u8]],
    reader: &mut impl BufRead,
    writer: &mut impl Write,
) -> io::Result<Next> {
    let Some(storing) = Storing::classic(words) else { return lost(writer, "CLIENT_ERROR bad command line format") };
    let wanted = match verb {
        b"add" => store.get(storing.key).is_none(),
        b"replace" => store.get(storing.key).is_some(),
        _ => true,
    };
    let text = match storing.store(store, wanted, reader)? {
        None => return lost(writer, "SERVER_ERROR object too large for cache, or bad data chunk"),
        Some(Ok(true)) => "STORED",
        Some(Ok(false)) => "NOT_STORED",
        Some(Err(error)) => error,
    };
    say(writer, text, words.get(4) == Some(&&b"noreply"[..]))?;
    Ok(Next::Command)
}

fn meta_set(
    store: &Store,
    key: &[u8],
    length: &[u8],
    flags: &[&[u8]],
    reader: &mut impl BufRead,
    writer: &mut impl Write,
) -> io::Result<Next> {
    let Some(storing) = Storing::meta(key, length, flags) else {
        return lost(writer, "CLIENT_ERROR invalid flag");
    };
    match storing.store(store, true, reader)? {
        None => return lost(writer, "SERVER_ERROR object too large for cache, or bad data chunk"),
        Some(Ok(_)) if flags.contains(&&b"q"[..]) => {}
        Some(Ok(_)) => meta(writer, "HD", key, flags, None)?,
        Some(Err(error)) => say(writer, error, false)?,
    }
    Ok(Next::Command)
}

/// Where the next command begins is not known any more.
fn lost(writer: &mut impl Write, text: &str) -> io::Result<Next> {
    say(writer, text, false)?;
    Ok(Next::Close)
}

fn meta_get(store: &Store, key: &[u8], flags: &[&[u8]], writer: &mut impl Write) -> io::Result<()> {
    let known = |word: &&[u8]| matches!(word, [b'v' | b'f' | b's' | b't' | b'k' | b'q'] | [b'O', ..]);
    if key.len() > KEY || !flags.iter().all(known) {
        return say(writer, "CLIENT_ERROR invalid flag", false);
    }
    let Some(found) = store.get(key) else {
        return say(writer, "EN", flags.contains(&&b"q"[..]));
    };
    let value = flags.contains(&&b"v"[..]);
    let status = if value { format!("VA {}", found.bytes().len()) } else { "HD".to_owned() };
    meta(writer, &status, key, flags, Some((found.flags(), found.bytes().len(), found.left())))?;
    if value {
        writer.write_all(found.bytes())?;
        writer.write_all(b"\r\n")?;
    }
    Ok(())
}

/// A meta command's line of answer, with what its flags ask for; `of`: the value's flags, length and seconds left.
fn meta(
    writer: &mut impl Write,
    status: &str,
    key: &[u8],
    flags: &[&[u8]],
    of: Option<(u32, usize, i64)>,
) -> io::Result<()> {
    writer.write_all(status.as_bytes())?;
    for flag in flags {
        match (flag, of) {
            ([b'k'], _) => {
                writer.write_all(b" k")?;
                writer.write_all(key)?;
            }
            ([b'O', ..], _) => {
                writer.write_all(b" ")?;
                writer.write_all(flag)?;
            }
            ([b'f'], Some((flags, ..))) => write!(writer, " f{flags}")?,
            ([b's'], Some((_, length, _))) => write!(writer, " s{length}")?,
            ([b't'], Some((.., left))) => write!(writer, " t{left}")?,
            _ => {}
        }
    }
    writer.write_all(b"\r\n")
}

fn stats(store: &Store, writer: &mut impl Write) -> io::Result<()> {
    let (entries, items, bytes) = store.size();
    let it = store.handover();
    write!(writer, "STAT pid {}\r\nSTAT version {VERSION}\r\n", std::process::id())?;
    write!(
        writer,
        "STAT curr_items {}\r\nSTAT written_items {items}\r\nSTAT written_bytes {bytes}\r\n",
        entries + items
    )?;
    write!(writer, "STAT shards {}\r\nSTAT shard_bytes {}\r\n", it.shards, it.bytes)?;
    write!(writer, "STAT from_initscript {}\r\nSTAT copied {}\r\n", it.from_initscript, u8::from(it.copied))?;
    write!(writer, "STAT handover_ms {}\r\nSTAT waited_ms {}\r\nEND\r\n", it.handover_ms, it.waited_ms)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    /// What a fresh cache of shards answers.
    fn said(commands: &[u8]) -> String {
        let mut answers = Vec::new();
        let ended = converse(&store(2, false), &mut &commands[..], &mut answers);
        let text = String::from_utf8(answers).unwrap();
        if ended.is_err() { format!("{text}(broken)") } else { text }
    }

    #[test]
    fn values_of_the_shards_and_written_ones() {
        assert!(said(b"get key-3\r\n").starts_with("VALUE key-3 0 "));
        assert!(said(b"mg key-3 v\r\n").starts_with("VA "));
        assert_eq!(said(b"get none\r\n"), "END\r\n");
        assert_eq!(said(b"set a 5 0 2\r\nhi\r\nget b a\r\n"), "STORED\r\nVALUE a 5 2\r\nhi\r\nEND\r\n");
        assert_eq!(said(b"set a 0 0 2 noreply\nhi\r\ndelete a\ndelete a\nmn\n"), "DELETED\r\nNOT_FOUND\r\nMN\r\n");
        assert_eq!(
            said(b"add key-1 0 0 1\r\nx\r\nreplace key-1 0 0 1\r\ny\r\nget key-1\r\n").lines().next_back(),
            Some("END")
        );
        assert_eq!(said(b"set a 0 -1 1\r\nx\r\nget a\r\n"), "STORED\r\nEND\r\n");
        assert_eq!(said(b"flush_all\r\nget key-1\r\n"), "OK\r\nEND\r\n");
    }

    #[test]
    fn meta_commands() {
        assert_eq!(said(b"ms a 2 F7 T0 O9\r\nhi\r\nmg a v f s t k O1\r\n"), "HD O9\r\nVA 2 f7 s2 t-1 ka O1\r\nhi\r\n");
        assert_eq!(said(b"mg none v\r\nmg none v q\r\nmg key-1\r\nmn\r\n"), "EN\r\nHD\r\nMN\r\n");
        assert_eq!(said(b"ms a 1 q\r\nx\r\nmd a\r\nmd a q\r\n"), "HD\r\nNF\r\n");
        assert_eq!(said(b"mg key-1 N30\r\n"), "CLIENT_ERROR invalid flag\r\n");
    }

    #[test]
    fn stats_tell_of_the_hand_over() {
        assert!(said(b"stats\r\n").contains("STAT handover_ms 0.25\r\n"));
        assert!(said(b"version\r\n").starts_with("VERSION "));
    }

    #[test]
    fn what_is_wrong_does_no_harm() {
        assert_eq!(said(b"\r\nnonsense\r\nget\r\nmn\r\n"), "ERROR\r\nERROR\r\nERROR\r\nMN\r\n");
        assert_eq!(said(b"quit\r\nmn\r\n"), "");
        assert_eq!(said(b"set a 0 0 x\r\nmn\r\n"), "CLIENT_ERROR bad command line format\r\n");
        assert!(said(b"set a 0 0 99999999999\r\n").starts_with("SERVER_ERROR"));
        assert!(said(b"set a 0 0 2\r\nlonger\r\n").starts_with("SERVER_ERROR"));
        assert_eq!(said(b"set a 0 0 5\r\nhi"), "(broken)");
        assert_eq!(said(&b"get ".repeat(3000)), "CLIENT_ERROR line too long\r\n");
        let long = [b"set ", &b"k".repeat(251)[..], b" 0 0 1\r\nx\r\nmn\r\n"].concat();
        assert_eq!(said(&long), "CLIENT_ERROR bad command line format\r\nMN\r\n");
    }
}

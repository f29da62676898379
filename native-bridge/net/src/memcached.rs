//! memcached's meta protocol: "mg key v", "ms key T60" and a value, and their one-line answers.

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};

use crate::address::Address;
use crate::body::Receiver;
use crate::canonical;
use crate::failure::{Attempt, Failure};
use crate::head::ResponseHead;
use crate::line::{call_words, words_and_body};
use crate::request::{Request, fingerprint, invalid};
use crate::status;

/// Bytes of a line that comes in.
const MAX_LINE: usize = 8 * 1024;
const MAX_KEY: usize = 250;
const MAX_FLAGS: usize = 64;
/// Bytes of a value: what no server has. Memory has its own bound.
const MAX_VALUE: u64 = 1 << 40;

/// A command as a script writes it: "mg key v t", or "ms key T60\n\nvalue"; the platform adds the value's length.
pub(crate) fn request(address: &Address, raw: &[u8]) -> Result<Request> {
    let (words, body) = words_and_body(raw)?;
    command(address, words, body)
}

/// A command as an application's call names it: "MG memcached://host:port/key flag …".
pub(crate) fn absolute(address: &Address, verb: &str, path: &str, body: &[u8]) -> Result<Request> {
    command(address, call_words(verb, path)?, Bytes::copy_from_slice(body))
}

/// Whether a command changes nothing.
pub(crate) fn is_read(verb: &str) -> bool {
    matches!(verb, "MG" | "MN")
}

fn command(address: &Address, words: Vec<Bytes>, body: Bytes) -> Result<Request> {
    let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let verb = match &name[..] {
        b"MG" => "MG",
        b"MS" => "MS",
        b"MD" => "MD",
        b"MA" => "MA",
        b"MN" => "MN",
        _ => {
            let message = "a memcached command here is one of mg, ms, md, ma and mn";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
    };
    let printable = |word: &Bytes| word.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if !words.iter().all(printable) || words.len() > MAX_FLAGS {
        return Err(invalid("a memcached command has words without spaces and control characters, 64 at most"));
    }
    let key = match (verb, words.get(1)) {
        ("MN", None) => Bytes::new(),
        ("MN", Some(_)) => return Err(invalid("mn stands alone")),
        (_, Some(key)) if key.len() <= MAX_KEY => key.clone(),
        _ => return Err(invalid("its key is missing or longer than 250 bytes")),
    };
    let flags = words.get(2..).unwrap_or_default();
    if flags.iter().any(|flag| flag.starts_with(b"q")) {
        return Err(invalid("the flag q would keep its answer back"));
    }
    if verb != "MS" && !body.is_empty() {
        return Err(invalid("only ms has a value"));
    }
    let mut path = "/".to_owned();
    canonical::encode(&key, b"/:", &mut path);
    let mut content = format!("{verb} {}{path}", address.place());
    if verb == "MG" && flags.iter().any(|flag| &flag[..] != b"v") {
        content.push_str(&fingerprint(flags.iter().map(|flag| &flag[..])));
    }
    Ok(Request { verb: verb.to_owned(), path, headers: Vec::new(), body, content, idempotent: is_read(verb), words })
}

/// A command as it goes on the wire.
pub(crate) fn encode(request: &Request) -> Vec<u8> {
    let mut wire = request.verb.to_ascii_lowercase().into_bytes();
    for (index, word) in request.words.iter().enumerate().skip(1) {
        wire.push(b' ');
        wire.extend_from_slice(word);
        if index == 1 && request.verb == "MS" {
            wire.extend_from_slice(format!(" {}", request.body.len()).as_bytes());
        }
    }
    if request.verb == "MG" && request.words.len() == 2 {
        wire.extend_from_slice(b" v");
    }
    wire.extend_from_slice(b"\r\n");
    if request.verb == "MS" {
        wire.extend_from_slice(&request.body);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// Receives one answer. A value is the body; else the body is empty, or the text of an error. The flags are a header.
pub(crate) async fn receive(receiver: &mut Receiver<'_>) -> Attempt<(ResponseHead, u64)> {
    let mut line = Vec::new();
    let find = |bytes: &[u8]| Ok(bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1));
    receiver.piece(MAX_LINE, &mut line, find).await?;
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| Failure::bad_reply("a line does not end with CR LF"))?;
    let text = std::str::from_utf8(text).map_err(|_| Failure::bad_reply("a line is not text"))?;
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    let flags = |flags: &str| vec![("flags".to_owned(), flags.to_owned())];
    match code {
        "VA" => {
            let (length, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let plain = (1..=13).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = plain.then(|| length.parse().ok()).flatten().filter(|&length| length <= MAX_VALUE);
            let length = length.ok_or_else(|| Failure::bad_reply("a value's length is no number"))?;
            let head = ResponseHead { headers: flags(rest), ..ResponseHead::plain(status::FINE, length) };
            let answer = receiver.announced(head).await?;
            receiver.short(2, &mut line).await?;
            match &line[..] {
                b"\r\n" => Ok(answer),
                _ => Err(Failure::bad_reply("a value is longer than it says")),
            }
        }
        "HD" | "OK" => {
            let head = ResponseHead { headers: flags(rest), ..ResponseHead::plain(status::FINE, 0) };
            receiver.copied(head, &[])
        }
        "MN" => receiver.copied(ResponseHead::plain(status::FINE, 0), &[]),
        "EN" | "NF" => receiver.copied(ResponseHead::plain(status::NOTHING, 0), &[]),
        "NS" | "EX" | "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR" => {
            receiver.copied(ResponseHead::plain(status::ERROR, text.len() as u64), text.as_bytes())
        }
        _ => Err(Failure::bad_reply("its code is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<Request> {
        request(&Address::parse("memcached://h").unwrap(), raw)
    }

    #[test]
    fn commands_go_out_whole() {
        for (raw, wire, content) in [
            (&b"mg a:b"[..], &b"mg a:b v\r\n"[..], "MG memcached://h/a:b"),
            (b"MG k v\n", b"mg k v\r\n", "MG memcached://h/k"),
            (b"ms k T60\n\nva\r\nlue", b"ms k 7 T60\r\nva\r\nlue\r\n", "MS memcached://h/k"),
            (b"ms k", b"ms k 0\r\n\r\n", "MS memcached://h/k"),
            (b"md k", b"md k\r\n", "MD memcached://h/k"),
            (b"mn", b"mn\r\n", "MN memcached://h/"),
        ] {
            let request = parse(raw).unwrap();
            assert_eq!((&encode(&request)[..], request.content.as_str()), (wire, content));
        }
        assert!(parse(b"mg k t v").unwrap().content.contains('#'));
        let (_, called) = Request::parse_absolute(b"MG memcached://h/a%2Fb v\n\n").unwrap();
        assert_eq!((&encode(&called)[..], called.idempotent), (&b"mg a/b v\r\n"[..], true));
    }

    #[test]
    fn refuses_what_would_break_the_order() {
        for raw in ["", "mg", "mg k q", "ms k q\n\nx", "mg k\0", "mg k\r\nmn", "md k\n\nx", "mn k", "mg k\x7f"] {
            assert!(parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
        assert!(parse(format!("mg {}", "x".repeat(251)).as_bytes()).is_err());
        assert_eq!(parse(b"get k").unwrap_err().code, ErrorCode::Unsupported);
    }
}

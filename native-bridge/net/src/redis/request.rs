//! Commands: what may be asked, and what it is called.

use bytes::Bytes;
use headstart_base::{Error, ErrorCode, Result};

use crate::address::Address;
use crate::canonical;
use crate::line::{call_words, words_and_body};
use crate::request::{Request, fingerprint, invalid};

/// Arguments of a command.
const MAX_WORDS: usize = 65_536;
/// Bytes of the path that a key becomes.
const MAX_PATH: usize = 16 * 1024;

/// Commands whose first argument is the key that they read, and that change nothing.
const READS: [&str; 47] = [
    "BITCOUNT",
    "BITPOS",
    "DUMP",
    "EXISTS",
    "EXPIRETIME",
    "GEODIST",
    "GEOPOS",
    "GET",
    "GETBIT",
    "GETRANGE",
    "HEXISTS",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HSCAN",
    "HSTRLEN",
    "HVALS",
    "LINDEX",
    "LLEN",
    "LPOS",
    "LRANGE",
    "MGET",
    "PFCOUNT",
    "PTTL",
    "SCARD",
    "SISMEMBER",
    "SMEMBERS",
    "SMISMEMBER",
    "SRANDMEMBER",
    "SSCAN",
    "STRLEN",
    "SUBSTR",
    "TTL",
    "TYPE",
    "XLEN",
    "XRANGE",
    "XREVRANGE",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
];

/// Commands whose first argument is the key that they change.
const WRITES: [&str; 40] = [
    "APPEND",
    "DECR",
    "DECRBY",
    "DEL",
    "EXPIRE",
    "EXPIREAT",
    "GETDEL",
    "GETEX",
    "GETSET",
    "HDEL",
    "HINCRBY",
    "HMSET",
    "HSET",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LPOP",
    "LPUSH",
    "LREM",
    "LSET",
    "LTRIM",
    "MSET",
    "PERSIST",
    "PEXPIRE",
    "PSETEX",
    "RPOP",
    "RPUSH",
    "SADD",
    "SET",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SPOP",
    "SREM",
    "UNLINK",
    "XADD",
    "ZADD",
    "ZINCRBY",
    "ZREM",
];

/// Commands after which answers no longer come one for one.
const REFUSED: [&str; 12] = [
    "MONITOR",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "REPLCONF",
    "RESET",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
];

/// Whether a command changes nothing.
pub(crate) fn is_read(verb: &str) -> bool {
    READS.contains(&verb)
}

/// A command as a script writes it: "GET key", "SET key\n\nvalue" (the bytes behind the empty line are the last argument), or
/// the protocol's own array of bulk strings.
pub(crate) fn request(address: &Address, raw: &[u8]) -> Result<Request> {
    if raw.starts_with(b"*") {
        return command(address, array(raw)?, Bytes::new());
    }
    let (words, body) = words_and_body(raw)?;
    command(address, words, body)
}

/// A command as an application's call names it: "VERB redis://host:port/key argument …", each argument percent-encoded.
pub(crate) fn absolute(address: &Address, verb: &str, path: &str, body: &[u8]) -> Result<Request> {
    command(address, call_words(verb, path)?, Bytes::copy_from_slice(body))
}

fn command(address: &Address, words: Vec<Bytes>, body: Bytes) -> Result<Request> {
    let name = words.first().ok_or_else(|| invalid("it names no command"))?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=32).contains(&name.len()) || !name.iter().all(plain) {
        return Err(invalid("its command's name is malformed"));
    }
    let verb = String::from_utf8_lossy(name).to_ascii_uppercase();
    let subcommand = words.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    if REFUSED.contains(&verb.as_str()) || verb == "CLIENT" && matches!(&subcommand[..], b"REPLY" | b"TRACKING") {
        let message = format!("{verb} is not for an initscript's connection: answers would not come one for one");
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    if words.len() >= MAX_WORDS {
        return Err(invalid("it has more than 65,535 arguments"));
    }
    let is_read = is_read(&verb);
    let key = words.get(1).filter(|_| is_read || WRITES.contains(&verb.as_str()));
    let mut path = "/".to_owned();
    canonical::encode(key.map_or(&[], |key| &key[..]), b"/:", &mut path);
    let mut rest = 2;
    if path.len() > MAX_PATH {
        path.truncate(1);
        rest = 1;
    }
    let mut content = format!("{verb} {}{path}", address.place());
    if is_read && words.len() > rest {
        content.push_str(&fingerprint(words[rest..].iter().map(|word| &word[..])));
    }
    Ok(Request { verb, path, headers: Vec::new(), body, content, idempotent: is_read, words })
}

/// A command as it goes on the wire.
pub(crate) fn encode(request: &Request) -> Vec<u8> {
    let last = Some(&request.body).filter(|body| !body.is_empty());
    let words: Vec<&[u8]> = request.words.iter().chain(last).map(|word| &word[..]).collect();
    array_of(&words)
}

/// The first command on a connection, which makes it RESP3.
pub(crate) fn hello(login: Option<(&str, &str)>) -> Vec<u8> {
    match login {
        None => array_of(&[b"HELLO", b"3"]),
        Some((user, password)) => array_of(&[b"HELLO", b"3", b"AUTH", user.as_bytes(), password.as_bytes()]),
    }
}

fn array_of(words: &[&[u8]]) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        wire.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        wire.extend_from_slice(word);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// The words of exactly one array of bulk strings.
fn array(raw: &[u8]) -> Result<Vec<Bytes>> {
    let malformed = || invalid("it is not one array of bulk strings");
    let (count, mut rest) = counted(raw, b'*').ok_or_else(malformed)?;
    if count > MAX_WORDS {
        return Err(malformed());
    }
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, bytes) = counted(rest, b'$').ok_or_else(malformed)?;
        let word = bytes.get(..length).ok_or_else(malformed)?;
        rest = bytes[length..].strip_prefix(b"\r\n").ok_or_else(malformed)?;
        words.push(Bytes::copy_from_slice(word));
    }
    match rest {
        b"" => Ok(words),
        _ => Err(malformed()),
    }
}

/// A type, a number and CR LF; and what follows.
fn counted(raw: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let raw = raw.strip_prefix(&[kind])?;
    let end = raw.iter().take(11).position(|&byte| byte == b'\r')?;
    let digits =
        std::str::from_utf8(&raw[..end]).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((digits.parse().ok()?, raw[end..].strip_prefix(b"\r\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<Request> {
        request(&Address::parse("redis://h").unwrap(), raw)
    }

    #[test]
    fn a_command_has_three_forms_and_one_content() {
        let resp = b"*2\r\n$3\r\nGeT\r\n$3\r\na b\r\n";
        let array = parse(resp).unwrap();
        assert_eq!((array.content.as_str(), array.idempotent), ("GET redis://h/a%20b", true));
        let (_, called) = Request::parse_absolute(b"GET redis://h:6379/a%20b\n\n").unwrap();
        assert_eq!(called.content, array.content);
        assert_eq!(encode(&called), b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
        let line = parse(b"get model:1/x\n").unwrap();
        assert_eq!((line.content.as_str(), line.path.as_str()), ("GET redis://h/model:1/x", "/model:1/x"));
        let set = parse(b"SETEX k 60 \n\nbinary\n\n\0").unwrap();
        assert_eq!((set.content.as_str(), set.idempotent), ("SETEX redis://h/k", false));
        assert!(encode(&set).ends_with(b"$9\r\nbinary\n\n\0\r\n"));
    }

    #[test]
    fn what_differs_beside_the_key_is_other_content() {
        let content = |raw: &[u8]| parse(raw).unwrap().content;
        assert_ne!(content(b"HGET h a"), content(b"HGET h b"));
        assert_ne!(content(b"MGET a b"), content(b"MGET a c"));
        assert_eq!(content(b"AUTH hunter2"), "AUTH redis://h/", "a password is in no content");
        assert_eq!(content(b"EVAL x 0"), "EVAL redis://h/");
        assert!(content(format!("GET {}", "x".repeat(16_000)).as_bytes()).len() > 16_000);
    }

    #[test]
    fn refuses_what_would_break_the_order_and_what_is_malformed() {
        for raw in ["SUBSCRIBE x", "monitor", "CLIENT reply OFF", "client tracking on", "QUIT"] {
            assert_eq!(parse(raw.as_bytes()).unwrap_err().code, ErrorCode::Unsupported, "{raw}");
        }
        for raw in [
            "",
            " ",
            "\n\nbody",
            "GET k\nbody",
            "GET k\rDEL k",
            "GE\0T k",
            "*1\r\n$4\r\nPING\r\nx",
            "*2\r\n$4\r\nPING\r\n",
            "*1\r\n$5\r\nPING\r\n",
            "*1\r\n$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*99999999999\r\n",
            "*1\n$4\nPING\n",
            "*1\r\n:1\r\n",
        ] {
            assert_eq!(parse(raw.as_bytes()).unwrap_err().code, ErrorCode::InvalidArgument, "{raw:?}");
        }
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(READS.is_sorted() && WRITES.is_sorted() && REFUSED.is_sorted());
    }
}

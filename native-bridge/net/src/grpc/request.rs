//! Calls as they are asked for.

use bytes::Bytes;
use headstart_base::Result;

use crate::address::Address;
use crate::request::{Headers, METADATA, Request, fingerprint, first_line, headers, invalid, split};

/// What a call is in rules and contents: "CALL grpc://host/package.Service/Method#…".
const VERB: &str = "CALL";

/// What the platform sets itself.
const OWN_METADATA: [&str; 3] = ["accept-encoding", "content-encoding", "content-type"];

/// A call as a script writes it: "/package.Service/Method\nmetadata: value\n\nmessage".
pub(crate) fn request(address: &Address, raw: &[u8]) -> Result<Request> {
    let (head, message) = split(raw)?;
    let (path, lines) = first_line(head);
    new(address, path, headers(lines, METADATA)?, message)
}

/// A call as an application names it: "CALL grpc://host:port/package.Service/Method\nmetadata: value\n\nmessage".
pub(crate) fn absolute(
    address: &Address,
    verb: &str,
    path: &str,
    metadata: Headers,
    message: &[u8],
) -> Result<Request> {
    match verb {
        VERB => new(address, path, metadata, message),
        _ => Err(invalid("the verb of a gRPC call is CALL")),
    }
}

fn new(address: &Address, path: &str, metadata: Headers, message: &[u8]) -> Result<Request> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or_default().split('/').collect();
    let named =
        |part: &&str| part.len() <= 512 && part.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    if parts.len() != 2 || !parts.iter().all(|part| named(part) && part.bytes().all(plain)) {
        return Err(invalid("a call is \"/package.Service/Method\""));
    }
    for (name, _) in &metadata {
        if OWN_METADATA.contains(&name.as_str()) || name.starts_with("grpc-") {
            return Err(invalid(&format!("the metadata {name} is set by the platform")));
        }
    }
    Ok(Request {
        verb: VERB.to_owned(),
        path: path.to_owned(),
        headers: metadata,
        body: Bytes::copy_from_slice(message),
        content: format!("{VERB} {address}{path}{}", fingerprint([message])),
        idempotent: false,
        words: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<Request> {
        request(&Address::parse("grpc://h:1").unwrap(), raw.as_bytes())
    }

    #[test]
    fn a_call_is_a_method_and_a_message() {
        let call = parse("/etcdserverpb.KV/Range\nAuthorization: Bearer x\n\nmessage").unwrap();
        assert_eq!(call.url(), "grpc://h:1/etcdserverpb.KV/Range");
        assert_eq!(call.headers, [("authorization".to_owned(), "Bearer x".to_owned())]);
        assert!(!call.idempotent);
        let (_, mut called) = Request::parse_absolute(b"CALL grpc://h:1/etcdserverpb.KV/Range\n\n").unwrap();
        called.set_body(&b"message"[..]);
        assert_eq!(called.content, call.content);
        assert_ne!(parse("/etcdserverpb.KV/Range\n\nother").unwrap().content, call.content);
    }

    #[test]
    fn refuses_what_is_no_method_and_what_is_the_platforms() {
        for raw in [
            "",
            "/",
            "/a",
            "/a/b/c",
            "a/b",
            "/../b",
            "/a/..",
            "/a/b?c",
            "/a/%2e",
            "/a//b",
            "/a/b\ngrpc-timeout: 1S",
            "/a/b\ngrpc-encoding: gzip",
            "/a/b\ncontent-type: x",
            "/a/b\nte: x",
            "/a/b\nhost: x",
            "/a/b\n:path: /c/d",
            "/a/b\nx: y\rz: w",
        ] {
            assert!(parse(raw).is_err(), "{raw:?}");
        }
    }
}

//! Requests of scripts and applications: what is accepted goes out as exactly one request, with no byte that is another's.

use headstart_net::{Address, Request};
use tokio::io::AsyncWriteExt;

use crate::wire::{Sink, block_on, deadline, lies_in, session};

const ADDRESSES: [&str; 11] = [
    "http://h",
    "redis://h",
    "memcached://h",
    "tcp://h:1?frame=u32",
    "tcp://h:1?frame=line",
    "tcp://h:1?frame=fixed:5",
    "s3://bucket",
    "sqs://queue",
    "grpc://h:1",
    "grpcs://h:1",
    "https://h",
];

/// The first byte says to which of the addresses the rest is said; 255 that the rest names an address.
pub(crate) fn run(data: &[u8]) {
    let Some((&first, raw)) = data.split_first() else { return };
    let (address, request) = if first == 255 {
        let Ok(parsed) = Request::parse_absolute(raw) else { return };
        parsed
    } else {
        let Ok(address) = Address::parse(ADDRESSES[usize::from(first) % ADDRESSES.len()]) else { return };
        let Ok(request) = Request::parse(&address, raw) else { return };
        (address, request)
    };
    assert!(!request.content.chars().any(char::is_control), "{:?}", request.content);
    assert!(request.content.starts_with(&format!("{} ", request.verb)), "{:?}", request.content);
    assert!(request.content.len() <= raw.len() * 3 + 512, "{} bytes of content", request.content.len());
    let scheme = address.scheme.name();
    if !matches!(scheme, "http" | "redis" | "memcached" | "tcp") {
        return;
    }
    let sent = sent(&address, &request);
    if sent.is_empty() {
        return;
    }
    let is_one = match scheme {
        "http" => is_one_http(&request, &sent),
        "redis" => is_one_command(&sent),
        "memcached" => is_one_line(&request, &sent),
        _ => is_one_frame(&address, &request, &sent),
    };
    assert!(is_one, "{request:?} went out as {:?}", String::from_utf8_lossy(&sent));
}

/// What a server gets; nothing where the request is refused only now.
fn sent(address: &Address, request: &Request) -> Vec<u8> {
    block_on(async {
        let (session, mut server) = session(address);
        server.shutdown().await.expect("a socket");
        let done = session.send(request, deadline(), &mut Sink::new(64), &mut |_| {}).await;
        assert!(done.is_err(), "there is no answer");
        lies_in(server)
    })
}

fn is_one_http(request: &Request, sent: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(sent) else { return false };
    let named = |name: &str| head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count();
    let announced = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let announced = announced.and_then(|header| std::str::from_utf8(header.value).ok());
    let body = announced.map_or(Ok(0), str::parse::<usize>);
    // Of a body, there may be less: the server has hung up.
    head.method == Some(request.verb.as_str())
        && head.path == Some(request.path.as_str())
        && named("host") == 1
        && named("content-length") <= 1
        && named("transfer-encoding") == 0
        && body == Ok(request.body.len())
        && request.body.starts_with(&sent[length..])
}

fn is_one_command(sent: &[u8]) -> bool {
    fn counted(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
        let end = bytes.iter().position(|&byte| byte == b'\r')?;
        let number = std::str::from_utf8(bytes.get(1..end)?).ok()?.parse().ok()?;
        let rest = bytes[end..].strip_prefix(b"\r\n")?;
        (bytes[0] == kind).then_some((number, rest))
    }
    let Some((count, mut rest)) = counted(sent, b'*') else { return false };
    for _ in 0..count {
        let Some((length, bytes)) = counted(rest, b'$') else { return false };
        let Some(after) = bytes.get(length..).and_then(|bytes| bytes.strip_prefix(b"\r\n")) else { return false };
        rest = after;
    }
    count > 0 && rest.is_empty()
}

fn is_one_line(request: &Request, sent: &[u8]) -> bool {
    let Some(end) = sent.windows(2).position(|bytes| bytes == b"\r\n") else { return false };
    let (line, rest) = (&sent[..end], &sent[end + 2..]);
    if line.iter().any(u8::is_ascii_control) {
        return false;
    }
    match line.strip_prefix(b"ms ") {
        None => rest.is_empty(),
        Some(words) => {
            let length = words.split(|&byte| byte == b' ').nth(1).and_then(|word| std::str::from_utf8(word).ok());
            length.and_then(|length| length.parse().ok()) == Some(request.body.len())
                && rest.strip_suffix(b"\r\n") == Some(&request.body[..])
        }
    }
}

fn is_one_frame(address: &Address, request: &Request, sent: &[u8]) -> bool {
    let message = &request.body[..];
    let address = address.to_string();
    if address.ends_with("frame=u32") {
        let length = (message.len() as u32).to_be_bytes();
        return sent.strip_prefix(&length) == Some(message);
    }
    match address.ends_with("frame=line") {
        true => sent.strip_suffix(b"\n") == Some(message) && !message.contains(&b'\n'),
        false => sent == message,
    }
}

//! HTTP/1.1, as much as a server of small JSON and of shards needs.

use std::io::{self, BufRead, Read, Write};

/// The longest head, bytes.
const HEAD: u64 = 16 << 10;
const HEADERS: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
    /// Whether the connection is used again.
    pub keep_alive: bool,
}

/// What a request is answered with when it is none: a status and a text. The connection ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub u16, pub &'static str);

/// Reads a request with a body of at most `most` bytes. None: the other end has closed.
pub fn read(reader: &mut impl BufRead, most: u64) -> io::Result<Option<Result<Request, Refused>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = HEAD - head.len() as u64;
        match reader.take(left).read_until(b'\n', &mut head)? {
            0 if head.is_empty() => return Ok(None),
            0 if left == 0 => return Ok(Some(Err(Refused(431, "too long a head")))),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
    let (mut request, length) = match parse(&head) {
        Ok((_, length)) if length > most => return Ok(Some(Err(Refused(413, "too long a body")))),
        Ok(parsed) => parsed,
        Err(refused) => return Ok(Some(Err(refused))),
    };
    reader.take(length).read_to_end(&mut request.body)?;
    if (request.body.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Ok(request)))
}

/// A request without its body, and that one's length.
fn parse(head: &[u8]) -> Result<(Request, u64), Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let wrong = Refused(400, "a malformed request");
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(path)) =
        (parsed.parse(head), parsed.method, parsed.path)
    else {
        return Err(wrong);
    };
    let mut keep_alive = parsed.version == Some(1);
    let mut length = None;
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refused(501, "a body without its length"));
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
            match (length, digits.and_then(|digits| digits.parse().ok())) {
                (None, Some(said)) => length = Some(said),
                _ => return Err(wrong),
            }
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case(b"close");
        }
    }
    let request = Request { method: method.to_owned(), path: path.to_owned(), body: Vec::new(), keep_alive };
    Ok((request, length.unwrap_or(0)))
}

/// Writes an answer; the body goes out from where it lies.
pub fn write(to: &mut impl Write, status: u16, kind: &str, body: &[u8], keep_alive: bool) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        _ => "Error",
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: {connection}\r\n\r\n"
    );
    to.write_all(head.as_bytes())?;
    to.write_all(body)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(mut bytes: &[u8]) -> io::Result<Option<Result<Request, Refused>>> {
        read(&mut bytes, 10)
    }

    #[test]
    fn a_request_and_the_next_one() {
        let mut bytes =
            &b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nConnection: close\r\n\r\n"[..];
        let first = read(&mut bytes, 10).unwrap().unwrap().unwrap();
        assert_eq!((&*first.method, &*first.path, &*first.body, first.keep_alive), ("POST", "/x", &b"hi"[..], true));
        let second = read(&mut bytes, 10).unwrap().unwrap().unwrap();
        assert_eq!((&*second.path, second.keep_alive), ("/", false));
        assert_eq!(read(&mut bytes, 10).unwrap(), None);
    }

    #[test]
    fn what_is_none_is_refused() {
        let status = |bytes: &[u8]| match reading(bytes) {
            Ok(Some(Err(Refused(status, _)))) => status,
            _ => 0,
        };
        assert_eq!(status(b"nonsense\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\nx"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\ncontent-length: 11\r\n\r\n"), 413);
        assert_eq!(status(b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), 501);
        assert_eq!(status(format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)).as_bytes()), 431);
        assert!(reading(b"GET / HTTP/1.1\r\n").is_err());
        assert!(reading(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nab").is_err());
    }
}

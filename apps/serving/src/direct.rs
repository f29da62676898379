//! The program's own clients, for where no initscript has fetched: GET of HTTP/1.0, which has no chunks, and memcached's `mg`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::body::Body;
use crate::error::{Error, Result};
use crate::url::{Scheme, Url};

const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(15);
/// The longest line of an answer, and the most lines of a head.
const LINE: u64 = 8 << 10;
const LINES: usize = 100;

/// Fetches what lies at an address: at most `most` bytes.
pub(crate) fn fetch(url: &Url, most: u64) -> Result<Vec<u8>> {
    let failed = |error| Error::Io { from: url.content(), error };
    let mut reader = BufReader::new(connect(&url.authority).map_err(failed)?);
    let Url { authority, path, .. } = url;
    let request = match url.scheme {
        Scheme::Http => format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\n\r\n"),
        Scheme::Memcached => format!("mg {path} v\r\n"),
    };
    reader.get_mut().write_all(request.as_bytes()).map_err(failed)?;
    let length = match url.scheme {
        Scheme::Http => http_length(&mut reader),
        Scheme::Memcached => memcached_length(&mut reader),
    };
    let length = length.map_err(failed)?.map_err(|what| refused(url, what))?;
    let mut bytes = Vec::new();
    reader.take(length.unwrap_or(u64::MAX).min(most + 1)).read_to_end(&mut bytes).map_err(failed)?;
    match (bytes.len() as u64, length) {
        (there, _) if there > most => Err(refused(url, format!("more than {most} bytes"))),
        (there, Some(needed)) if there < needed => Err(Error::Truncated { needed, there }),
        _ => Ok(bytes),
    }
}

/// What a fetching thread came to.
pub(crate) fn joined(thread: ScopedJoinHandle<'_, Result<Body>>) -> Result<Body> {
    let ended = |_| Error::Io { from: "a fetch".to_owned(), error: io::ErrorKind::Interrupted.into() };
    thread.join().map_err(ended)?
}

fn refused(url: &Url, what: String) -> Error {
    Error::Reply { from: url.content(), what }
}

fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The length of a body, where it does not end with the connection; or what the server said in its place.
type Length = io::Result<Result<Option<u64>, String>>;

fn http_length(reader: &mut impl BufRead) -> Length {
    let status = line(reader)?;
    let mut length = None;
    for _ in 0..LINES {
        let header = line(reader)?;
        match header.split_once(':') {
            None if header.is_empty() => {
                return Ok(match (status.split(' ').nth(1), length) {
                    (Some("200"), length) => Ok(length),
                    _ => Err(status),
                });
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => match value.trim().parse() {
                Ok(said) => length = Some(said),
                Err(_) => return Ok(Err(header)),
            },
            Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => return Ok(Err(header)),
            _ => {}
        }
    }
    Ok(Err("too long a head".to_owned()))
}

fn memcached_length(reader: &mut impl BufRead) -> Length {
    let answer = line(reader)?;
    let mut words = answer.split(' ');
    Ok(match (words.next(), words.next().and_then(|length| length.parse().ok())) {
        (Some("VA"), Some(length)) => Ok(Some(length)),
        _ => Err(answer),
    })
}

/// A line without its end.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(LINE).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    line.pop_if(|byte| *byte == b'\r');
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is made of a server's answer to one request.
    fn answered(scheme: &str, answer: &'static [u8], most: u64) -> Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("{scheme}://{}/x", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            while !matches!(&*line(&mut reader).unwrap(), "" | "mg x v") {}
            reader.get_mut().write_all(answer).unwrap();
        });
        let got = fetch(&url, most);
        server.join().unwrap();
        got
    }

    #[test]
    fn an_answer_is_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(answered("http", answer, 4).unwrap(), b"body");
        assert_eq!(answered("http", b"HTTP/1.0 200 OK\r\n\r\nends", 4).unwrap(), b"ends");
        assert_eq!(answered("memcached", b"VA 5\r\nvalue\r\n", 9).unwrap(), b"value");
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let http = |answer| answered("http", answer, 4);
        assert!(matches!(http(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"), Err(Error::Reply { .. })));
        assert!(matches!(http(b"HTTP/1.1 200 OK\r\n\r\nlonger"), Err(Error::Reply { .. })));
        assert!(matches!(
            http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            Err(Error::Reply { .. })
        ));
        assert!(matches!(http(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Error::Reply { .. })));
        assert!(matches!(http(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbodyy"), Err(Error::Reply { .. })));
        assert!(matches!(
            http(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo"),
            Err(Error::Truncated { needed: 4, there: 2 })
        ));
        assert!(matches!(http(b"HTTP/1.1 200"), Err(Error::Io { .. })));
        assert!(matches!(answered("memcached", b"EN\r\n", 4), Err(Error::Reply { .. })));
        assert!(matches!(answered("memcached", b"VA x\r\n", 4), Err(Error::Reply { .. })));
    }
}

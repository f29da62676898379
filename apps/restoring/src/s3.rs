//! The program's own client of an S3 store: ranges of an object, several at a time, written to where they belong.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sign::Signer;

/// Bytes of the first part.
const FIRST: u64 = 2 << 20;
/// Parts, on a connection each.
const PARALLEL: u64 = 8;
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(30);
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;

/// A store, as the environment names it.
#[derive(Debug)]
pub(crate) struct Store {
    /// "host:port"
    authority: String,
    signer: Option<Signer>,
}

/// An answer to a request of a range.
struct Answer {
    /// Bytes of its body.
    length: u64,
    /// Bytes of the whole object.
    total: u64,
}

impl Store {
    /// HEADSTART_S3_ENDPOINT ("http://host:port"), and AWS_… where it wants signatures.
    pub(crate) fn from_env() -> Option<Self> {
        let endpoint = std::env::var("HEADSTART_S3_ENDPOINT").ok()?;
        let authority = endpoint.strip_prefix("http://")?.trim_end_matches('/').to_owned();
        Some(Self { authority, signer: Signer::from_env() })
    }

    /// Writes "s3://bucket/key" to a file. Its length.
    pub(crate) fn download(&self, url: &str, path: &Path) -> Result<u64> {
        let target = url.strip_prefix("s3://").map(|rest| format!("/{rest}"));
        let target = target.ok_or_else(|| Error::Url(url.to_owned()))?;
        let file = File::options().write(true).create(true).truncate(false).open(path).map_err(Error::file(path))?;
        let total = self.parts(&target, &file).map_err(|error| Error::Network { from: url.to_owned(), error })?;
        file.set_len(total).map_err(Error::file(path))?;
        Ok(total)
    }

    /// The head of the first part says how long the object is; the rest comes beside its body.
    fn parts(&self, target: &str, file: &File) -> io::Result<u64> {
        let mut first = self.connect()?;
        let Answer { length, total } = self.ask(&mut first, target, 0, FIRST)?;
        let size = total.saturating_sub(FIRST).div_ceil(PARALLEL - 1).max(FIRST);
        let part = |offset: u64| -> io::Result<()> {
            let mut connection = self.connect()?;
            let Answer { length, .. } = self.ask(&mut connection, target, offset, size.min(total - offset))?;
            receive(&mut connection, length, file, offset)
        };
        std::thread::scope(|scope| {
            let offsets = (FIRST..total).step_by(usize::try_from(size).unwrap_or(usize::MAX));
            let others: Vec<_> = offsets.map(|offset| scope.spawn(move || part(offset))).collect();
            let mut ended = receive(&mut first, length, file, 0);
            for other in others {
                ended = ended.and(other.join().unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into())));
            }
            ended.map(|()| total)
        })
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(SILENCE))?;
                    stream.set_write_timeout(Some(SILENCE))?;
                    return Ok(BufReader::with_capacity(256 << 10, stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks for a part; its body is then to be received.
    fn ask(&self, server: &mut BufReader<TcpStream>, target: &str, offset: u64, length: u64) -> io::Result<Answer> {
        let mut headers = vec![
            ("host".to_owned(), self.authority.clone()),
            ("range".to_owned(), format!("bytes={offset}-{}", offset + length - 1)),
        ];
        if let Some(signer) = &self.signer {
            headers.extend(signer.sign("GET", target, &headers));
        }
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        server.get_mut().write_all(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes())?;
        head(server)
    }
}

/// Writes a body to its place.
fn receive(server: &mut BufReader<TcpStream>, length: u64, to: &File, offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let there = server.fill_buf()?;
        let count = there.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&there[..count], offset + done)?;
        server.consume(count);
        done += count as u64;
    }
    Ok(())
}

/// Reads an answer's head: of a part, or of the whole where it is asked for more than there is.
fn head(from: &mut impl BufRead) -> io::Result<Answer> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let left = (HEAD - bytes.len()) as u64;
        if from.take(left).read_until(b'\n', &mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let value = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length = value("content-length").and_then(|text| text.parse().ok());
    let total = match parsed.code {
        Some(200) => length,
        Some(206) => value("content-range").and_then(|text| text.rsplit_once('/')?.1.parse().ok()),
        other => return Err(wrong(format!("status {}", other.unwrap_or_default()))),
    };
    match (length, total) {
        (Some(length), Some(total)) if length <= total => Ok(Answer { length, total }),
        _ => Err(wrong("an answer without its length".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A store with one object, which answers ranges.
    fn serve(object: Vec<u8>) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let object = object.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    let mut range = 0..0;
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(text) = line.strip_prefix("range: bytes=") {
                            let (from, to) = text.trim().split_once('-').unwrap();
                            let end = to.parse::<usize>().unwrap() + 1;
                            range = from.parse().unwrap()..end.min(object.len());
                        }
                        if line == "\r\n" {
                            let head = format!(
                                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
                                range.len(),
                                range.start,
                                range.end,
                                object.len()
                            );
                            reader.get_mut().write_all(head.as_bytes()).unwrap();
                            reader.get_mut().write_all(&object[range.clone()]).unwrap();
                        }
                    }
                });
            }
        });
        Store { authority, signer: None }
    }

    #[test]
    fn parts_come_together() {
        for length in [10, FIRST as usize, 3 * FIRST as usize + 5, 20 * FIRST as usize] {
            let object: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let store = serve(object.clone());
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), vec![9; length + 100]).unwrap();
            assert_eq!(store.download("s3://bucket/key", file.path()).unwrap(), length as u64);
            assert!(std::fs::read(file.path()).unwrap() == object, "{length}");
        }
    }

    #[test]
    fn what_is_no_part_is_an_error() {
        let read = |text: &str| head(&mut text.as_bytes()).map(|answer| (answer.length, answer.total));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap(), (5, 5));
        for text in [
            "",
            "HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 206 OK\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 206 OK\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/3\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

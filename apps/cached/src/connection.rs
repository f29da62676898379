//! One port for both: memcached's commands, which are in small letters, and HTTP's, which are not.

use std::io::{self, BufRead, BufReader, BufWriter};
use std::net::TcpStream;

use headstart_serving::http;

use crate::memcached;
use crate::store::Store;

const BUFFER: usize = 64 << 10;

pub fn serve(store: &Store, stream: TcpStream) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER, stream.try_clone()?);
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    match reader.fill_buf()?.first() {
        Some(b'A'..=b'Z') => requests(store, &mut reader, &mut writer),
        _ => memcached::converse(store, &mut reader, &mut writer),
    }
}

/// `GET /shards/N` for a peer that starts, `GET /stats`, `GET /healthz`.
fn requests(store: &Store, reader: &mut impl BufRead, writer: &mut impl io::Write) -> io::Result<()> {
    while let Some(read) = http::read(reader, 0)? {
        let request = match read {
            Ok(request) => request,
            Err(http::Refused(status, what)) => {
                return http::write(writer, status, "text/plain", what.as_bytes(), false);
            }
        };
        let shard = request.path.strip_prefix("/shards/").and_then(|number| store.shard(number.parse().ok()?));
        let keep = request.keep_alive;
        match (&*request.method, &*request.path, shard) {
            ("GET", _, Some(bytes)) => http::write(writer, 200, "application/octet-stream", bytes, keep)?,
            ("GET", "/stats", _) => {
                let json = serde_json::to_vec(store.handover()).map_err(io::Error::other)?;
                http::write(writer, 200, "application/json", &json, keep)?;
            }
            ("GET", "/healthz", _) => http::write(writer, 200, "text/plain", b"ok", keep)?,
            ("GET", ..) => http::write(writer, 404, "text/plain", b"not here", keep)?,
            _ => http::write(writer, 405, "text/plain", b"only GET", keep)?,
        }
        if !keep {
            return Ok(());
        }
    }
    Ok(())
}

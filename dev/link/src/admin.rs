//! The listener for benchmarks: `GET /-/stats`, `POST /-/reset`. One request a connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::Counts;
use crate::clock;

pub(crate) fn serve(listener: &TcpListener, counts: &Counts) {
    let mut cpu_before = 0.0;
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        // Who asks and goes away is no fault of ours.
        drop(answer(stream, counts, &mut cpu_before));
    }
}

fn answer(mut stream: TcpStream, counts: &Counts, cpu_before: &mut f64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while head.len() < 8192 && !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    let (status, body) = if head.starts_with(b"GET /-/stats ") {
        let body = format!(
            "{{\"cpu_s\":{:.6},\"bytes\":{},\"accepted\":{},\"open\":{}}}",
            clock::cpu_seconds() - *cpu_before,
            counts.bytes.load(Ordering::Relaxed),
            counts.accepted.load(Ordering::Relaxed),
            counts.open.load(Ordering::Relaxed)
        );
        ("200 OK", body)
    } else if head.starts_with(b"POST /-/reset ") {
        *cpu_before = clock::cpu_seconds();
        counts.bytes.store(0, Ordering::Relaxed);
        counts.accepted.store(0, Ordering::Relaxed);
        ("200 OK", "{}".to_owned())
    } else {
        ("404 Not Found", "there are GET /-/stats and POST /-/reset\n".to_owned())
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

//! One connection through the link.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Counts;
use crate::clock;
use crate::splice::Pipe;

/// What the link is like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) first_byte: Duration,
    pub(crate) bytes_per_second: f64,
    /// Bytes that are moved at once.
    pub(crate) piece: usize,
}

/// The first piece of an answer is small, so that its first byte is not late by a whole piece's time.
const FIRST_PIECE: usize = 4096;

/// Runs until both sides have closed, or one was reset.
pub(crate) fn run(client: TcpStream, to: SocketAddr, shape: Shape, counts: &Counts) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Arc::new(client), Arc::new(server));
    let asked = Arc::new(AtomicBool::new(false));
    let up = {
        let (client, server, asked) = (Arc::clone(&client), Arc::clone(&server), Arc::clone(&asked));
        std::thread::spawn(move || requests(&client, &server, &asked))
    };
    if let Err(error) = answers(&server, &client, &asked, shape, counts) {
        // A server's reset is the client's too.
        if error.kind() == io::ErrorKind::ConnectionReset {
            reset_on_close(&client);
        }
        drop(client.shutdown(Shutdown::Read));
        drop(server.shutdown(Shutdown::Both));
    }
    if up.join().is_err() {
        eprintln!("headstart-link: a thread ended early");
    }
    Ok(())
}

/// Passes on what the client sends, and notes that an answer will begin.
fn requests(mut client: &TcpStream, mut server: &TcpStream, asked: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break drop(server.shutdown(Shutdown::Write)),
            Ok(count) => {
                asked.store(true, Ordering::Release);
                if server.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The client was reset: nobody wants the answer.
            Err(_) => break drop(server.shutdown(Shutdown::Both)),
        }
    }
}

/// Passes on what the server sends, when the link would have delivered it.
fn answers(
    server: &TcpStream,
    client: &TcpStream,
    asked: &AtomicBool,
    shape: Shape,
    counts: &Counts,
) -> io::Result<()> {
    let pipe = Pipe::new()?;
    // When the last byte so far has left the link.
    let mut free = Duration::ZERO;
    loop {
        if !is_readable(server, 0)? {
            is_readable(server, -1)?;
            free = free.max(clock::now());
        }
        let mut limit = shape.piece;
        if asked.swap(false, Ordering::AcqRel) {
            free = free.max(clock::now() + shape.first_byte);
            limit = FIRST_PIECE;
        }
        let count = pipe.fill(server, limit)?;
        if count == 0 {
            // splice(2) calls a reset an end, too; the socket knows better.
            return match server.take_error()? {
                Some(error) => Err(error),
                None => client.shutdown(Shutdown::Write),
            };
        }
        free += Duration::from_secs_f64(count as f64 / shape.bytes_per_second);
        clock::sleep_until(free);
        pipe.drain(client, count)?;
        counts.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Whether there is something to read (or an end, or an error), after at most `timeout` milliseconds (-1: for ever).
fn is_readable(stream: &TcpStream, timeout: libc::c_int) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one valid pollfd.
        match unsafe { libc::poll(&mut poll, 1, timeout) } {
            0.. => return Ok(poll.revents != 0),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Makes the coming close(2) a reset.
fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the option's value is a `linger` of the length that is given.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    };
}

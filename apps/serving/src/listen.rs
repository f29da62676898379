//! A thread for each connection, and not too many.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections at once; a further one is closed.
const MOST: usize = 256;
/// How long a connection may say nothing, or take no byte of an answer.
const SILENCE: Duration = Duration::from_secs(600);
const STALLED: Duration = Duration::from_secs(30);
/// Before the next try where a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(20);
const STACK: usize = 256 << 10;

/// Serves each connection with `handler`, for as long as the program runs.
pub fn serve(listener: &TcpListener, handler: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> ! {
    let handler = Arc::new(handler);
    let running = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        let place = Place::take(&running);
        if place.is_none() || prepare(&stream).is_err() {
            continue;
        }
        let handler = Arc::clone(&handler);
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let _place = place;
            // A connection that breaks concerns nobody but its other end.
            let _ = handler(stream);
        });
        if thread.is_err() {
            std::thread::sleep(PAUSE);
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(STALLED))
}

/// One of the connections that may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(running));
        (running.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

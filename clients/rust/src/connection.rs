//! One connection to the bridge: a request and its answer at a time, and the segments that came with the answers.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::error::{Error, Result};
use crate::numbers::{self, Code};
use crate::packet::{MOST, Packet, Request};
use crate::segment::Mapping;
use crate::socket::{self, Received};

/// The bridge answers `deadline` itself; only when it does not, this much later, the connection is given up.
const GRACE: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(5);
const NAME: &str = concat!("headstart-rust ", env!("CARGO_PKG_VERSION"));

/// Belongs to one thread of one process.
pub(crate) struct Connection {
    pid: Pid,
    /// None after the bridge was lost.
    socket: Option<OwnedFd>,
    sequence: u32,
    buffer: Vec<u8>,
    segments: HashMap<u64, Entry>,
    outbox: Option<Mapping>,
    instance: String,
}

struct Entry {
    mapping: Arc<Mapping>,
    /// Bodies that it brought: so many are given back.
    bodies: u32,
}

impl Connection {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let lost = |error: Errno| Error::new(Code::BridgeLost, format!("cannot connect to {path}: {error}"));
        let mut connection = Self {
            pid: getpid(),
            socket: Some(socket::open(path, CONNECT).map_err(lost)?),
            sequence: 0,
            // One byte more than a packet may have, so that a longer one is seen.
            buffer: vec![0; MOST + 1],
            segments: HashMap::new(),
            outbox: None,
            instance: String::new(),
        };
        let pid = connection.pid.as_raw_nonzero().get().unsigned_abs().into();
        let hello = Request { op: numbers::OP_HELLO, a: pid, payload: NAME.as_bytes(), ..Request::default() };
        connection.instance = connection.exchange(&hello, None, CONNECT)?.0.text();
        Ok(connection)
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether requests can be sent: it is not lost, and this process is the one that opened it.
    pub(crate) fn is_usable(&self) -> bool {
        self.socket.is_some() && self.pid == getpid()
    }

    /// Sends a request and receives its answer, whose error is returned, with the fd beside it. Before, gives back what is no
    /// longer used.
    pub(crate) fn request(
        &mut self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> Result<(Packet, Option<OwnedFd>)> {
        self.give_back()?;
        self.exchange(request, file, timeout)
    }

    /// Tells the bridge of each body that lies in a segment which nobody refers to any more.
    fn give_back(&mut self) -> Result<()> {
        let unused = self.segments.extract_if(|_, entry| Arc::strong_count(&entry.mapping) == 1);
        let unused: Vec<_> = unused.map(|(number, entry)| (number, entry.bodies)).collect();
        for (number, bodies) in unused {
            for _ in 0..bodies {
                let free = Request { op: numbers::OP_FREE, a: number, ..Request::default() };
                match self.exchange(&free, None, GRACE) {
                    Err(error) if self.socket.is_none() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> Result<(Packet, Option<OwnedFd>)> {
        let Some(socket) = &self.socket else {
            return Err(Error::new(Code::BridgeLost, "the connection to the bridge was lost"));
        };
        self.sequence = self.sequence.wrapping_add(1);
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let header = request.header(self.sequence, millis)?;
        match socket::send(socket, &header, request.payload, file) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::PERM) if file.is_some() => {
                let message = "this sandbox does not let a socket out: name a connection by its number";
                return Err(Error::new(Code::Unsupported, message));
            }
            Err(error) => return Err(self.lost(Code::BridgeLost, format!("the bridge is gone: {error}"))),
        }
        let until = Instant::now() + timeout + GRACE;
        let (bytes, file) = match socket::receive(socket, &mut self.buffer, until) {
            Ok(Received::Packet(bytes, file)) => (bytes, file),
            Ok(Received::Closed) => return Err(self.lost(Code::BridgeLost, "the bridge closed the connection")),
            Ok(Received::Late) => return Err(self.lost(Code::Deadline, "the bridge did not answer in time")),
            Ok(Received::Cut) => return Err(self.refuse("a packet that is too long, or fds that did not arrive")),
            Err(error) => return Err(self.lost(Code::BridgeLost, format!("the bridge is gone: {error}"))),
        };
        let Some(packet) = Packet::parse(&self.buffer[..bytes], request.op, self.sequence) else {
            return Err(self.refuse("a malformed answer"));
        };
        if file.is_some() != packet.has(numbers::FLAG_FD) {
            return Err(self.refuse("an fd that it did not announce, or none that it did"));
        }
        match Code::of(packet.error.into()) {
            Code::Ok => Ok((packet, file)),
            Code::Protocol => Err(self.lost(Code::Protocol, packet.text())),
            code => Err(Error::new(code, packet.text())),
        }
    }

    /// The segment that an answer with a body lies in, mapped.
    pub(crate) fn claim(&mut self, packet: &Packet, file: Option<OwnedFd>) -> Result<Arc<Mapping>> {
        if let Some(file) = file {
            match Mapping::new(&file, false) {
                Ok(mapping) => {
                    let entry = Entry { mapping: Arc::new(mapping), bodies: 0 };
                    self.segments.insert(packet.segment, entry);
                }
                Err(error) => return Err(self.refuse(&format!("an fd that cannot be mapped ({error})"))),
            }
        }
        let most = packet.length.max(if packet.has(numbers::FLAG_LENGTH_KNOWN) { packet.total } else { 0 });
        match self.segments.get_mut(&packet.segment) {
            None => Err(self.refuse("a segment without its fd")),
            Some(entry) if packet.offset.checked_add(most).is_none_or(|end| end > entry.mapping.length() as u64) => {
                Err(self.refuse("bytes outside of their segment"))
            }
            Some(entry) => {
                entry.bodies += 1;
                Ok(Arc::clone(&entry.mapping))
            }
        }
    }

    /// Copies bytes to the outbox, which is made longer where it is too short.
    pub(crate) fn put(&mut self, bytes: &[u8], timeout: Duration) -> Result<()> {
        if bytes.is_empty() || self.outbox.as_mut().is_some_and(|outbox| outbox.write(bytes)) {
            return Ok(());
        }
        self.outbox = None;
        let request = Request { op: numbers::OP_OUTBOX, a: bytes.len() as u64, ..Request::default() };
        let (_, file) = self.request(&request, None, timeout)?;
        self.outbox = file.and_then(|file| Mapping::new(&file, true).ok());
        if self.outbox.as_mut().is_some_and(|outbox| outbox.write(bytes)) {
            return Ok(());
        }
        Err(self.refuse("an outbox that cannot be mapped, or is too short"))
    }

    pub(crate) fn refuse(&mut self, what: &str) -> Error {
        self.lost(Code::Protocol, format!("the bridge sent {what}"))
    }

    fn lost(&mut self, code: Code, message: impl Into<String>) -> Error {
        self.socket = None;
        Error::new(code, message)
    }
}

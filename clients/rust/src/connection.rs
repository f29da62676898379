//! One connection to the bridge: requests and their answers, and the segments that came with these.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::early::{Early, Posted};
use crate::error::{Error, Result};
use crate::numbers::{self, Code};
use crate::packet::{MOST, Packet, Request};
use crate::segment::Mapping;
use crate::segments::Segments;
use crate::socket::{Received, Socket};

/// The bridge answers `deadline` itself; only when it does not, this much later, the connection is given up.
const GRACE: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(5);
/// Requests that are sent before the first answer is received: all find room in the socket.
const AT_ONCE: usize = 16;
/// News that is asked for at once, and as many claims may follow it: few programs have more segments than that when they connect.
const NEWS: u64 = 6;
const NAME: &str = concat!("headstart-rust ", env!("CARGO_PKG_VERSION"));

/// An answer without an error, and the fd beside it.
pub(crate) type Answered = (Packet, Option<OwnedFd>);

/// Belongs to one thread of one process.
pub(crate) struct Connection {
    pid: Pid,
    /// None after the bridge was lost.
    socket: Option<Socket>,
    sequence: u32,
    buffer: Vec<u8>,
    segments: Arc<Segments>,
    early: Early,
    outbox: Option<Mapping>,
    /// The file that an answer's bytes lay in last, for as long as a reply has it mapped.
    file: (PathBuf, Weak<Mapping>),
    /// The greeting that was sent and not answered yet: it goes together with the first request.
    greeting: Option<u32>,
    instance: String,
}

impl Connection {
    pub(crate) fn open(path: &Arc<str>) -> Result<Self> {
        let mut connection = Self::silent(path)?;
        let pid = connection.pid.as_raw_nonzero().get().unsigned_abs().into();
        let hello = Request { op: numbers::OP_HELLO, a: pid, payload: NAME.as_bytes(), ..Request::default() };
        connection.greeting = Some(connection.send(&hello, None, CONNECT)?);
        Ok(connection)
    }

    /// One that does not say who it is.
    pub(crate) fn silent(path: &Arc<str>) -> Result<Self> {
        let lost = |error: Errno| Error::new(Code::BridgeLost, format!("cannot connect to {path}: {error}"));
        Ok(Self {
            pid: getpid(),
            socket: Some(Socket::open(path, CONNECT).map_err(lost)?),
            sequence: 0,
            // One byte more than a packet may have, so that a longer one is seen.
            buffer: vec![0; MOST + 1],
            segments: Segments::of(path),
            early: Early::default(),
            outbox: None,
            file: Default::default(),
            greeting: None,
            instance: String::new(),
        })
    }

    /// The instance's id.
    pub(crate) fn instance(&mut self) -> Result<String> {
        self.greeted()?;
        Ok(self.instance.clone())
    }

    fn greeted(&mut self) -> Result<()> {
        let Some(sequence) = self.greeting.take() else { return Ok(()) };
        let answer = self.receive_next(numbers::OP_HELLO, sequence, CONNECT);
        self.instance = answer.map_err(|error| self.lost(error.code, error.message))?.0.text();
        Ok(())
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
    ) -> Result<Answered> {
        self.give_back()?;
        self.exchange(request, file, timeout)
    }

    /// As `request`, of several whose answers are bodies: all are sent before the first is answered. What each came to, in their
    /// order. Each waits for those before it.
    pub(crate) fn bodies(&mut self, requests: &[Request<'_>], timeout: Duration) -> Vec<Result<Answered>> {
        if let Err(error) = self.give_back() {
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        if requests.iter().any(|request| self.early.has_posted(request)) {
            self.receive_posted();
        }
        let early: Vec<Option<Result<Answered>>> = requests.iter().map(|it| self.early.take(it)).collect();
        let others = requests.iter().zip(&early).filter(|(_, early)| early.is_none()).map(|(request, _)| request);
        let ahead = self.segments.expects(requests.len());
        // Of nothing else there is news.
        let flags = |op| if ahead && op == numbers::OP_RECV_MSG { numbers::FLAG_NO_FD } else { 0 };
        let flagged: Vec<Request<'_>> =
            others.map(|request| Request { flags: request.flags | flags(request.op), ..*request }).collect();
        let mut answers = self.exchange_all(&flagged, timeout).into_iter();
        let early = requests.iter().zip(early);
        let answer = |(request, early): (&Request<'_>, Option<Result<Answered>>)| {
            early.or_else(|| answers.next().map(|answer| self.early.or(request, answer))).unwrap_or_else(|| Err(gone()))
        };
        early.map(answer).collect()
    }

    /// Receives the answers to what was claimed early.
    fn receive_posted(&mut self) {
        for posted in self.early.posted() {
            let answer = self.receive_next(numbers::OP_RECV_MSG, posted.sequence, posted.timeout);
            self.early.keep(posted, answer);
        }
    }

    fn exchange_all(&mut self, requests: &[Request<'_>], timeout: Duration) -> Vec<Result<Answered>> {
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_ONCE) {
            let sent: Vec<Result<u32>> = some.iter().map(|request| self.send(request, None, timeout)).collect();
            let received = some.iter().zip(sent).map(|(request, sent)| self.receive(request.op, sent?, timeout));
            answers.extend(received);
        }
        if answers.iter().any(is_lost) {
            self.socket = None;
        }
        answers
    }

    /// Tells the bridge of each body that lies in a segment which nobody refers to any more.
    fn give_back(&mut self) -> Result<()> {
        for (segment, bodies) in self.segments.unused() {
            for _ in 0..bodies {
                let free = Request { op: numbers::OP_FREE, a: segment, ..Request::default() };
                match self.exchange(&free, None, GRACE) {
                    Err(error) if self.socket.is_none() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn exchange(&mut self, request: &Request<'_>, file: Option<BorrowedFd<'_>>, timeout: Duration) -> Result<Answered> {
        let sent = self.send(request, file, timeout);
        if is_lost(&sent) {
            self.socket = None;
        }
        self.receive(request.op, sent?, timeout)
    }

    /// Sends a request. Its sequence number, by which its answer is known. Where the bridge is lost, there may be answers to earlier
    /// ones nevertheless.
    fn send(&mut self, request: &Request<'_>, file: Option<BorrowedFd<'_>>, timeout: Duration) -> Result<u32> {
        let Some(socket) = &self.socket else { return Err(gone()) };
        self.sequence = self.sequence.wrapping_add(1);
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let header = request.header(self.sequence, millis)?;
        match socket.send(&header, request.payload, file) {
            Ok(()) => Ok(self.sequence),
            Err(Errno::INVAL | Errno::PERM) if file.is_some() => {
                let message = "this sandbox does not let a socket out: name a connection by its number";
                Err(Error::new(Code::Unsupported, message))
            }
            Err(error) => Err(Error::new(Code::BridgeLost, format!("the bridge is gone: {error}"))),
        }
    }

    /// Receives the answer to the oldest request that has none but for early claims, and returns the error in it.
    fn receive(&mut self, op: u16, sequence: u32, timeout: Duration) -> Result<Answered> {
        self.greeted()?;
        self.receive_posted();
        self.receive_next(op, sequence, timeout)
    }

    fn receive_next(&mut self, op: u16, sequence: u32, timeout: Duration) -> Result<Answered> {
        let Some(socket) = &mut self.socket else { return Err(gone()) };
        let (bytes, file) = match socket.receive(&mut self.buffer, timeout.saturating_add(GRACE)) {
            Ok(Received::Packet(bytes, file)) => (bytes, file),
            Ok(Received::Closed) => return Err(self.lost(Code::BridgeLost, "the bridge closed the connection")),
            Ok(Received::Late) => return Err(self.lost(Code::Deadline, "the bridge did not answer in time")),
            Ok(Received::Cut) => return Err(self.refuse("a packet that is too long, or fds that did not arrive")),
            Err(error) => return Err(self.lost(Code::BridgeLost, format!("the bridge is gone: {error}"))),
        };
        let Some(packet) = Packet::parse(&self.buffer[..bytes], op, sequence) else {
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
        let mapping = match self.enter(packet.segment, file)? {
            Some(mapping) => mapping,
            None => match self.segments.claim_soon(packet.segment) {
                Some(mapping) => mapping,
                None => self.fetch(packet.segment)?,
            },
        };
        let most = packet.length.max(if packet.has(numbers::FLAG_LENGTH_KNOWN) { packet.total } else { 0 });
        if packet.offset.checked_add(most).is_none_or(|end| end > mapping.length() as u64) {
            return Err(self.refuse("bytes outside of their segment"));
        }
        Ok(mapping)
    }

    /// The file that an answer's bytes lie in, mapped: once for all replies in it.
    pub(crate) fn map_file(&mut self, path: &Path, packet: &Packet) -> Result<Arc<Mapping>> {
        let end = packet.offset.checked_add(packet.length.max(packet.total));
        let reaches = |mapping: &Mapping| end.is_some_and(|end| end <= mapping.length() as u64);
        if let Some(mapping) = self.file.1.upgrade().filter(|mapping| self.file.0 == path && reaches(mapping)) {
            return Ok(mapping);
        }
        let mapping = Arc::new(Mapping::of_file(path)?);
        if !reaches(&mapping) {
            let message = format!("{}: it is shorter than the bytes in it", path.display());
            return Err(Error::new(Code::NotFound, message));
        }
        self.file = (path.to_owned(), Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// Asks for the fd of a segment that was not mapped after all.
    fn fetch(&mut self, segment: u64) -> Result<Arc<Mapping>> {
        let request = Request { op: numbers::OP_SEGMENT, a: segment, ..Request::default() };
        let (asked, file) = self.exchange(&request, None, CONNECT)?;
        if asked.segment != segment || file.is_none() {
            return Err(self.refuse("a segment without its fd"));
        }
        match self.enter(segment, file)? {
            Some(mapping) => Ok(mapping),
            None => Err(self.refuse("a segment without its fd")),
        }
    }

    /// The mapping of a segment in which one body more is this program's; none of one that came without its fd.
    fn enter(&mut self, segment: u64, file: Option<OwnedFd>) -> Result<Option<Arc<Mapping>>> {
        self.segments.claim(segment, file).map_err(|error| self.unmappable(error))
    }

    /// Maps what the initscript has sent so far and, where there is a deadline for that, claims it: the answers are received when
    /// the next ones are.
    pub(crate) fn map_there(&mut self, claiming: Option<Duration>) -> Result<()> {
        loop {
            let first = self.segments.heard();
            // Numbers have few gaps; where there is one, the same news comes twice.
            let news = || first..first + NEWS;
            let request = |after| Request { op: numbers::OP_SEGMENT, b: after, c: 1, ..Request::default() };
            for (after, told) in news().zip(self.exchange_all(&news().map(request).collect::<Vec<_>>(), CONNECT)) {
                let (packet, file) = match told {
                    Ok(told) => told,
                    Err(error) if error.code == Code::Deadline && self.socket.is_some() => return Ok(()),
                    Err(error) => return Err(error),
                };
                let of = claiming.filter(|_| file.is_some()).map(|timeout| (packet.offset, packet.text(), timeout));
                let mapped = self.map(after, (packet, file))?;
                if let (Some((id, content, timeout)), true) = (of, mapped.is_some()) {
                    self.post(id, content, timeout)?;
                }
            }
        }
    }

    /// Claims a message of which there was news, unless that did not say which.
    fn post(&mut self, id: u64, content: String, timeout: Duration) -> Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        let flags = numbers::FLAG_PROGRESSIVE | numbers::FLAG_NO_FD;
        let claim = Request { op: numbers::OP_RECV_MSG, id, flags, payload: content.as_bytes(), ..Request::default() };
        let sequence = self.send(&claim, None, timeout)?;
        self.early.post(Posted { id, content, sequence, timeout });
        Ok(())
    }

    /// Waits for news of segments, and maps or forgets the one it is of.
    pub(crate) fn map_ahead(&mut self, timeout: Duration) -> Result<Option<Arc<Mapping>>> {
        let after = self.segments.heard();
        let request = Request { op: numbers::OP_SEGMENT, b: after, ..Request::default() };
        self.segments.listening(true);
        let told = self.exchange(&request, None, timeout);
        self.segments.listening(false);
        self.map(after, told?)
    }

    /// Does what is told by news after that of number `after`.
    fn map(&mut self, after: u64, (told, file): Answered) -> Result<Option<Arc<Mapping>>> {
        if told.id <= after || (told.segment == 0 && file.is_some()) {
            return Err(self.refuse("news that is none"));
        }
        match file {
            _ if !self.segments.hear(told.id) => Ok(None),
            Some(file) => {
                self.segments.map_ahead(told.segment, &file).map(Some).map_err(|error| self.unmappable(error))
            }
            None => {
                self.segments.forget(told.segment);
                Ok(None)
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

    fn unmappable(&mut self, error: Errno) -> Error {
        self.refuse(&format!("an fd that cannot be mapped ({error})"))
    }

    fn lost(&mut self, code: Code, message: impl Into<String>) -> Error {
        self.socket = None;
        Error::new(code, message)
    }
}

fn is_lost<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.code == Code::BridgeLost)
}

fn gone() -> Error {
    Error::new(Code::BridgeLost, "the connection to the bridge was lost")
}

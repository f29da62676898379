//! One connection of an application: a request, its answer, the next request.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use headstart_base::app_capnp::{AppOp, FLAG_FD, FLAG_FILE, FLAG_NO_FD};
use headstart_base::{Error, ErrorCode, Result};
use headstart_memory::{Outbox, Segment};

use crate::app::packet::{Answer, MOST, Request, op_and_sequence};
use crate::app::seqpacket::{Packet, Received, Socket};
use crate::instance::Instance;
use crate::instance::conns::Handed;
use crate::instance::event::Kind;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// The longest deadline that a request may have.
const LONGEST_DEADLINE: Duration = Duration::from_secs(3600);
/// An answer that the application does not take ends the connection.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Connection {
    pub(super) instance: Arc<Instance>,
    socket: Socket,
    /// Where the application puts bytes for the bridge; its segment's number.
    pub(super) outbox: Option<(u32, Outbox)>,
    /// Segments whose fd this connection has had.
    shared: HashSet<u32>,
}

/// What a request came to, and the event that follows its answer.
type Outcome = (Result<(Answer, Beside)>, Option<Kind>);

/// An fd to send beside an answer.
pub(super) enum Beside {
    Nothing,
    /// A result's segment, unless the connection has it.
    Segment(u32),
    /// A segment that was asked for, whether or not the connection has it.
    Asked(Arc<Segment>),
    Outbox,
    /// One that is handed over.
    Connection(Handed),
}

impl Connection {
    pub(super) fn new(instance: &Arc<Instance>, socket: Socket) -> Self {
        Self { instance: Arc::clone(instance), socket, outbox: None, shared: HashSet::new() }
    }

    /// What is to be closed where that may take its time.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.socket.into_fd()
    }

    /// Serves until the application or the instance ends it.
    pub(super) async fn serve(&mut self) {
        // One byte more than a packet may have, so that a longer one is seen.
        let mut buffer = vec![0; MOST + 1];
        loop {
            let received = tokio::select! {
                biased;
                received = self.socket.receive(&mut buffer) => received,
                () = self.instance.closing.cancelled() => return,
            };
            let Ok(Received { packet, files }) = received else { return };
            let Some(Packet { bytes, whole, all_files }) = packet else {
                self.instance.close_foreign(files).await;
                return;
            };
            if !whole || !all_files || bytes > MOST {
                let error = match all_files {
                    true => Error::new(ErrorCode::Protocol, format!("a packet has at most {MOST} bytes")),
                    false => Error::new(ErrorCode::Protocol, "more came beside a packet than can be taken"),
                };
                let (op, sequence) = op_and_sequence(&buffer[..bytes.min(MOST)]);
                self.instance.close_foreign(files).await;
                let _ = self.send(&Answer::encode_error(&error, op, sequence), None).await;
                return;
            }
            self.instance.node.metrics.app_packets.inc();
            // Each request may be an event.
            self.instance.bound_events();
            if self.handle(&buffer[..bytes], files).await.is_break() {
                return;
            }
        }
    }

    async fn handle(&mut self, packet: &[u8], mut files: Vec<OwnedFd>) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(error) => {
                self.instance.close_foreign(files).await;
                let (op, sequence) = op_and_sequence(packet);
                let _ = self.send(&Answer::encode_error(&error, op, sequence), None).await;
                return Break(());
            }
        };
        let (op, sequence) = (request.op as u16, request.sequence);
        if request.op != AppOp::TransferConn {
            // Nobody asked for them.
            self.instance.close_foreign(std::mem::take(&mut files)).await;
        }
        let deadline = match request.deadline_millis {
            0 => DEFAULT_DEADLINE,
            millis => Duration::from_millis(millis.into()).min(LONGEST_DEADLINE),
        };
        let Some((answered, told)) = self.answer(&request, files, deadline).await else {
            // The application is gone, and what it waited for with it.
            return Break(());
        };
        let shared = answered.and_then(|(mut answer, beside)| {
            let beside = match beside {
                Beside::Segment(segment) if let Some(path) = self.instance.memory.file_path(segment) => {
                    answer.flags |= FLAG_FILE;
                    answer.payload = path.as_bytes().to_vec();
                    Beside::Nothing
                }
                Beside::Segment(segment) => {
                    self.instance.memory.told(segment);
                    if request.has(FLAG_NO_FD) { Beside::Nothing } else { Beside::Segment(segment) }
                }
                other => other,
            };
            Ok((self.beside(&beside)?, answer, beside))
        });
        let sent = match shared {
            Ok((file, mut answer, beside)) => {
                if file.is_some() {
                    answer.flags |= FLAG_FD;
                }
                let sent = self.send(&answer.encode(op, sequence, ErrorCode::Ok), file.as_ref()).await;
                if request.op == AppOp::Next && sent.is_err() {
                    let gone = Error::new(ErrorCode::AppExited, "the application went away as it was given the event");
                    self.instance.end_invocation(answer.id, Err(gone));
                }
                if let (Beside::Segment(segment), true) = (beside, sent.is_ok()) {
                    self.shared.insert(segment);
                }
                sent
            }
            Err(error) => {
                let sent = self.send(&Answer::encode_error(&error, op, sequence), None).await;
                if error.code == ErrorCode::Protocol {
                    return Break(());
                }
                sent
            }
        };
        if let Some(event) = told {
            self.instance.events.push(event);
        }
        if sent.is_ok() { Continue(()) } else { Break(()) }
    }

    /// The answer to a request; none when the application goes away before it.
    async fn answer(&mut self, request: &Request<'_>, files: Vec<OwnedFd>, deadline: Duration) -> Option<Outcome> {
        // Those that wait for others end with the application; the rest is short.
        match request.op {
            AppOp::RecvMsg
            | AppOp::Await
            | AppOp::Call
            | AppOp::Next
            | AppOp::Respond
            | AppOp::Segment
            | AppOp::GetConn
            | AppOp::TransferConn => {
                tokio::select! {
                    biased;
                    answer = self.wait_for(request, files, deadline) => Some(answer),
                    () = self.socket.hung_up() => None,
                }
            }
            _ => Some((self.answer_at_once(request), None)),
        }
    }

    fn beside(&self, beside: &Beside) -> Result<Option<OwnedFd>> {
        match beside {
            Beside::Nothing => Ok(None),
            Beside::Segment(number) if self.shared.contains(number) => Ok(None),
            Beside::Segment(number) => match self.instance.memory.find(*number) {
                Some(segment) => segment.share().map(Some),
                None => Err(Error::new(ErrorCode::NotFound, format!("segment {number} was freed"))),
            },
            Beside::Asked(segment) => segment.share().map(Some),
            Beside::Outbox => {
                let file = self.outbox.as_ref().map(|(_, outbox)| outbox.file().try_clone_to_owned());
                file.transpose().map_err(|error| crate::errors::io("cannot share the outbox", &error))
            }
            Beside::Connection(handed) => {
                let file = handed.file.try_clone();
                file.map(Some).map_err(|error| crate::errors::io("cannot hand the connection over", &error))
            }
        }
    }

    /// A segment was freed: its number is not used again, so nothing of it is remembered.
    pub(super) fn forget(&mut self, segment: u32) {
        self.shared.remove(&segment);
    }

    async fn send(&self, packet: &[u8], file: Option<&OwnedFd>) -> std::io::Result<()> {
        let sending = self.socket.send(packet, file.map(AsFd::as_fd));
        tokio::time::timeout(SEND_DEADLINE, sending).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

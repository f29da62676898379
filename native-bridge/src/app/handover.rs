//! What an application sends its initscript, and connections that go from one to the other.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use headstart_base::app_capnp::FLAG_INLINE;
use headstart_base::{Error, ErrorCode, Result};
use headstart_splice::State;

use crate::app::INLINE;
use crate::app::connection::{Beside, Connection};
use crate::app::packet::{Answer, Request};
use crate::app::requests::{Answered, text};
use crate::instance::conns::{Giving, How};
use crate::instance::event::Kind;

impl Connection {
    pub(super) fn send_msg(&self, request: &Request<'_>) -> Answered {
        let bytes = match request.has(FLAG_INLINE) {
            true => request.payload.to_vec(),
            false if request.b == 0 => Vec::new(),
            false => self.outbox_bytes(request.a, request.b)?,
        };
        self.instance.send_message(request.id, bytes)?;
        Ok((Answer::default(), Beside::Nothing))
    }

    /// The answer, and what the host is told once it has left.
    pub(super) async fn get_conn(&self, request: &Request<'_>, wait: Duration) -> (Answered, Option<Kind>) {
        let address = match text(request.payload, INLINE, "an address") {
            Ok(address) => address,
            Err(error) => return (Err(error), None),
        };
        let (handed, told) = self.instance.get_conn(request.id, &address, wait).await;
        let answered = handed.map(|handed| {
            let status = match handed.how {
                How::Socket => 1,
                How::Spliced => 2,
                How::Tls => 3,
            };
            let payload = handed.peer.clone().into_bytes();
            (Answer { segment: handed.number, status, payload, ..Answer::default() }, Beside::Connection(handed))
        });
        (answered, told)
    }

    pub(super) async fn transfer_conn(
        &self,
        request: &Request<'_>,
        files: Vec<OwnedFd>,
        deadline: Instant,
    ) -> Answered {
        let address = text(request.payload, INLINE, "an address");
        let giving = address.and_then(|address| Ok((giving(request, files.len())?, address)));
        let (number, address) = match giving {
            Ok(giving) => giving,
            Err(error) => {
                self.instance.close_foreign(files).await;
                return Err(error);
            }
        };
        let giving = match (number, files.into_iter().next()) {
            (None, Some(file)) => Giving::File(file),
            (number, _) => Giving::Number(number.unwrap_or(0)),
        };
        self.instance.give_conn(request.id, &address, giving, deadline).await?;
        Ok((Answer::default(), Beside::Nothing))
    }

    pub(super) fn conn_status(&self, request: &Request<'_>) -> Answered {
        let carried = self.instance.conn_status(request.a)?;
        let (status, code) = match &carried.condition {
            State::Open => (0, ErrorCode::Ok),
            State::Ended => (1, ErrorCode::Ok),
            State::Broken(error) => (2, error.code),
        };
        let payload = match carried.condition {
            State::Broken(error) => error.message.into_bytes(),
            State::Open | State::Ended => Vec::new(),
        };
        let answer = Answer {
            id: u64::from(code as u16),
            status,
            length: carried.received,
            total: carried.sent,
            payload,
            ..Answer::default()
        };
        Ok((answer, Beside::Nothing))
    }
}

/// The number of the connection that a request names, or none when it is the one descriptor beside it.
fn giving(request: &Request<'_>, files: usize) -> Result<Option<u64>> {
    let wrong = |what: &str| Err(Error::new(ErrorCode::InvalidArgument, what));
    match (files, request.a) {
        (0, 0) => wrong("a connection is handed over by its number, or by its descriptor beside the packet"),
        (0, number) => Ok(Some(number)),
        (1, 0) => Ok(None),
        (1, _) => wrong("a number and a descriptor name two connections"),
        _ => wrong("one connection is handed over at a time: more than one descriptor came"),
    }
}

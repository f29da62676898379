//! Connections that change hands.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::client::{Client, TIMEOUT};
use crate::error::{Error, Result};
use crate::numbers::{self, Code};
use crate::packet::Request;

/// A connection that the initscript handed over: a connected stream socket.
#[derive(Debug)]
pub struct Conn {
    pub socket: OwnedFd,
    /// Names it in [`Client::conn_status`] and [`Handover::Number`].
    pub number: u64,
    pub kind: ConnKind,
    /// Where the other end is, which a socketpair does not say.
    pub peer: Option<SocketAddr>,
}

/// What a connection's socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnKind {
    /// The TCP socket itself.
    Tcp,
    /// A socketpair that the bridge splices.
    Spliced,
    /// A socketpair, with the bridge doing TLS.
    Tls,
}

/// What is handed to the initscript.
#[derive(Debug)]
pub enum Handover {
    /// A TCP socket (not in gVisor).
    Socket(OwnedFd),
    /// A spliced one that [`Client::get_conn`] gave, by its number. Its socket is not used any more, and closed afterwards.
    Number(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnState {
    Open,
    /// The server has ended it.
    Ended,
    /// By what, which a socketpair cannot tell from a clean end.
    Broken(Code),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnStatus {
    pub state: ConnState,
    /// Bytes from the server, and bytes to it.
    pub received: u64,
    pub sent: u64,
}

impl Client {
    /// GetConn: takes the connection to `address` ("tcp://host:port") that was handed over as `id`.
    pub fn get_conn(&self, id: u64, address: &str, timeout: Duration) -> Result<Conn> {
        let request = Request { op: numbers::OP_GET_CONN, id, payload: address.as_bytes(), ..Request::default() };
        let (packet, file) = self.with_file(&request, None, timeout)?;
        let malformed = |what: &str| Error::new(Code::Protocol, format!("the bridge sent {what}"));
        let kind = match packet.status {
            1 => ConnKind::Tcp,
            2 => ConnKind::Spliced,
            3 => ConnKind::Tls,
            kind => return Err(malformed(&format!("a connection of kind {kind}"))),
        };
        let socket = file.ok_or_else(|| malformed("a connection without its fd"))?;
        Ok(Conn { socket, number: packet.segment, kind, peer: packet.text().parse().ok() })
    }

    /// TransferConn: hands a connection to the initscript's GetConn.
    pub fn transfer_conn(&self, id: u64, address: &str, conn: Handover) -> Result<()> {
        let a = if let Handover::Number(number) = conn { number } else { 0 };
        let request =
            Request { op: numbers::OP_TRANSFER_CONN, id, a, payload: address.as_bytes(), ..Request::default() };
        let socket = if let Handover::Socket(socket) = &conn { Some(socket.as_fd()) } else { None };
        self.with_file(&request, socket, TIMEOUT).map(|_| ())
    }

    /// How a connection that was handed over is.
    pub fn conn_status(&self, number: u64) -> Result<ConnStatus> {
        let packet = self.simple(&Request { op: numbers::OP_CONN_STATUS, a: number, ..Request::default() }, &[])?;
        let state = match packet.status {
            0 => ConnState::Open,
            1 => ConnState::Ended,
            _ => ConnState::Broken(Code::of(packet.id)),
        };
        Ok(ConnStatus { state, received: packet.length, sent: packet.total })
    }
}

//! Connections that the bridge carries for an application which cannot have the socket itself.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_splice::{End, Handle, State as Condition, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::instance::conns::Key;
use crate::instance::event::Kind;
use crate::instance::{Instance, error};

/// What an application holds of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The TCP socket itself.
    Socket,
    /// One end of a socketpair that the bridge splices to it.
    Spliced,
    /// One end of a socketpair, behind which the bridge does TLS.
    Tls,
}

/// One that is carried, or was.
pub(super) struct Carriage {
    status: Arc<Status>,
    /// None for TLS.
    handle: Option<Handle>,
    /// Where the socket comes out when it is taken back; for who takes it.
    returned: Option<oneshot::Receiver<OwnedFd>>,
}

impl Carriage {
    pub(super) fn is_open(&self) -> bool {
        self.status.state() == Condition::Open
    }
}

/// How a carried connection is.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) condition: Condition,
}

impl Instance {
    fn idle_time(&self) -> Duration {
        Duration::from_millis(self.node.config.limits.connection_idle_ms)
    }

    /// Splices a TCP socket; gives the application's end.
    pub(super) fn carry(self: &Arc<Self>, number: u32, key: &Key, tcp: OwnedFd) -> Result<OwnedFd> {
        let carried = {
            let _runtime = self.node.data.enter();
            headstart_splice::carry(tcp, self.idle_time()).map_err(|error| cannot(&error))?
        };
        let (give, returned) = oneshot::channel();
        let status = Arc::clone(&carried.handle.status);
        let carriage = Carriage { status: Arc::clone(&status), handle: Some(carried.handle), returned: Some(returned) };
        self.lock().conns.carried.insert(number, carriage);
        self.work(key.clone(), status, carried.work, give);
        Ok(carried.theirs)
    }

    /// Does TLS for the application; gives its end.
    pub(super) fn relay<S>(self: &Arc<Self>, number: u32, key: &Key, secure: S) -> Result<OwnedFd>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (theirs, status, work) = {
            let _runtime = self.node.data.enter();
            headstart_splice::relay(secure, self.idle_time()).map_err(|error| cannot(&error))?
        };
        let carriage = Carriage { status: Arc::clone(&status), handle: None, returned: None };
        self.lock().conns.carried.insert(number, carriage);
        self.work(key.clone(), status, work, oneshot::channel().0);
        Ok(theirs)
    }

    /// Moves the bytes until the connection or the instance ends.
    fn work(
        self: &Arc<Self>,
        key: Key,
        status: Arc<Status>,
        work: impl Future<Output = End> + Send + 'static,
        give: oneshot::Sender<OwnedFd>,
    ) {
        let instance = Arc::clone(self);
        self.spawn(async move {
            let end = tokio::select! {
                biased;
                () = instance.closing.cancelled() => None,
                end = work => Some(end),
            };
            let why = match end {
                None => Some(crate::errors::instance_closed()),
                Some(End::Done) => None,
                Some(End::Broken(error)) => Some(error),
                Some(End::TakenBack(tcp)) => {
                    // If nobody takes it, it closes.
                    let _ = give.send(tcp);
                    None
                }
            };
            let (received, sent) = (status.received(), status.sent());
            let address = key.place;
            instance.events.push(Kind::ConnClosed { id: key.id, address, received, sent, error: why });
        });
    }

    /// ConnStatus of the application.
    pub(crate) fn conn_status(&self, number: u64) -> Result<Carried> {
        let state = self.lock();
        let carriage = find(number).and_then(|number| state.conns.carried.get(&number));
        let Some(carriage) = carriage else { return Err(not_carried(number, state.conns.last)) };
        let status = &carriage.status;
        Ok(Carried { received: status.received(), sent: status.sent(), condition: status.state() })
    }

    /// Takes the server's socket of a carried connection back from the application.
    pub(super) async fn take_back(&self, number: u64, deadline: Instant) -> Result<OwnedFd> {
        let index = find(number).unwrap_or(0);
        let (handle, returned) = {
            let mut state = self.lock();
            let last = state.conns.last;
            let Some(carriage) = state.conns.carried.get_mut(&index) else { return Err(not_carried(number, last)) };
            let Some(handle) = carriage.handle.clone() else {
                let message = "a connection with TLS, which the bridge does, cannot be handed over again";
                return Err(error(ErrorCode::Unsupported, message));
            };
            let Some(returned) = carriage.returned.take() else {
                return Err(error(ErrorCode::InvalidArgument, format!("connection {number} is being handed over")));
            };
            (handle, returned)
        };
        if let Err(error) = handle.take_back(deadline).await {
            if let Some(carriage) = self.lock().conns.carried.get_mut(&index) {
                carriage.returned = Some(returned);
            }
            return Err(error);
        }
        returned.await.map_err(|_| crate::errors::instance_closed())
    }
}

fn find(number: u64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn not_carried(number: u64, last: u32) -> Error {
    match number >= 1 && number <= u64::from(last) {
        true => error(
            ErrorCode::Unsupported,
            format!("connection {number} is the application's own socket: ask it, or send its fd"),
        ),
        false => error(ErrorCode::NotFound, format!("there is no connection {number}")),
    }
}

fn cannot(error: &std::io::Error) -> Error {
    crate::errors::io("cannot carry the connection", error)
}

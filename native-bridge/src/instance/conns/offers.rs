//! TransferConn of the script, GetConn of the application.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{Address, SessionParts};
use headstart_sandbox::Isolation;
use tokio::sync::oneshot;

use crate::instance::conns::foreign::Foreign;
use crate::instance::conns::own::Opened;
use crate::instance::conns::pinned::pin;
use crate::instance::conns::{Conn, Conns, How, Key};
use crate::instance::event::Kind;
use crate::instance::messages::{MOST_CLAIMS, too_many_claims};
use crate::instance::{Instance, closed, error};

/// What the script has handed over, or is about to.
pub(super) struct Offer {
    /// The address as the script wrote it, for what the host is told.
    named: String,
    phase: Phase,
}

enum Phase {
    /// RPCs are under way on it, or it is being opened.
    Coming,
    Ready(Opened),
    Failed(Error),
    Taken,
    /// Its invocation ended before anybody took it.
    Withdrawn,
}

impl Offer {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Coming | Phase::Ready(_))
    }
}

/// A claim of a connection that waits for the connection, or for the host's decision.
pub(super) struct Wanted {
    key: Key,
    decided: oneshot::Sender<Decision>,
}

enum Decision {
    Look,
    No(Error),
}

/// What an application is given.
pub(crate) struct Handed {
    pub(crate) number: u32,
    pub(crate) how: How,
    pub(crate) file: OwnedFd,
    /// "ip:port"; empty where it is not known.
    pub(crate) peer: String,
    /// Dropped when the application has its own.
    _foreign: Option<Foreign>,
}

enum LookUp {
    Take(Opened),
    No(Error),
    Coming,
    Unknown,
}

impl Conns {
    fn look_up(&mut self, key: &Key) -> LookUp {
        let Some(offer) = self.offers.get_mut(key) else { return LookUp::Unknown };
        match std::mem::replace(&mut offer.phase, Phase::Taken) {
            Phase::Ready(opened) => LookUp::Take(opened),
            Phase::Taken => {
                let message = format!("connection {} to {} was got before", key.id, key.place);
                LookUp::No(error(ErrorCode::AlreadyClaimed, message))
            }
            Phase::Failed(error) => {
                offer.phase = Phase::Failed(error.clone());
                LookUp::No(error)
            }
            Phase::Withdrawn => {
                offer.phase = Phase::Withdrawn;
                let message = format!("connection {} to {} was of an earlier invocation", key.id, key.place);
                LookUp::No(error(ErrorCode::Voided, message))
            }
            Phase::Coming => {
                offer.phase = Phase::Coming;
                LookUp::Coming
            }
        }
    }

    fn take_wanted(&mut self, key: &Key) -> Vec<Wanted> {
        let numbers: Vec<u64> =
            self.wanted.iter().filter(|(_, wanted)| wanted.key == *key).map(|(number, _)| *number).collect();
        numbers.iter().filter_map(|number| self.wanted.remove(number)).collect()
    }
}

impl Instance {
    /// TransferConn of the script: the RPCs on the connection are finished first. (`check` of the operations has seen that both
    /// are known and new.)
    pub(in crate::instance) fn transfer(self: &Arc<Self>, id: u64, address: String, conn: u32) {
        let key = Key::new(id, &address);
        let gone = error(ErrorCode::InvalidArgument, format!("connection {conn} was handed over"));
        let from = {
            let mut state = self.lock();
            state.conns.offers.insert(key.clone(), Offer { named: address, phase: Phase::Coming });
            state.conns.named.insert(conn, Conn::Refused(gone))
        };
        let instance = Arc::clone(self);
        self.spawn(async move {
            let opened = tokio::select! {
                biased;
                () = instance.closing.cancelled() => Err(closed()),
                opened = instance.take_from_script(from) => opened,
            };
            instance.offer(&key, opened);
        });
    }

    async fn take_from_script(&self, from: Option<Conn>) -> Result<Opened> {
        let opened = match from {
            Some(Conn::Own(own)) => {
                self.allow_connection(&own.address)?;
                own.take().await?
            }
            Some(Conn::Kept(address)) => {
                self.allow_connection(&address)?;
                self.open(&address).await?
            }
            Some(Conn::Refused(error)) => return Err(error),
            None => return Err(error(ErrorCode::InvalidArgument, "the connection is unknown")),
        };
        dead(&opened)?;
        Ok(opened)
    }

    /// What is said on a connection that is handed over is not looked at: all of its destination must be allowed.
    fn allow_connection(&self, address: &Address) -> Result<()> {
        let Some(function) = self.function() else { return Err(closed()) };
        // Beside its own bucket, a store has others.
        let allowed = function.egress.allows_connection(address) && (function.network || !address.scheme.needs_store());
        if allowed {
            return Ok(());
        }
        let message = format!(
            "[egress] allow of {} does not name all of {address}, so no connection to it is handed over",
            function.name
        );
        Err(error(ErrorCode::EgressDenied, message))
    }

    fn offer(&self, key: &Key, opened: Result<Opened>) {
        let why = opened.as_ref().err().cloned();
        let mut state = self.lock();
        let Some(offer) = state.conns.offers.get_mut(key) else { return };
        if matches!(offer.phase, Phase::Withdrawn) {
            // It closes here, without the lock.
            drop(state);
            return;
        }
        offer.phase = match opened {
            Ok(opened) => Phase::Ready(opened),
            Err(error) => Phase::Failed(error),
        };
        let address = offer.named.clone();
        let waiting = state.conns.take_wanted(key);
        drop(state);
        self.events.push(Kind::ConnReady { id: key.id, address, error: why });
        for wanted in waiting {
            // The application may have given up.
            let _ = wanted.decided.send(Decision::Look);
        }
    }

    /// The application can have it no more. Whoever has it by now keeps it; else it is closed, once it is there.
    pub(in crate::instance) fn withdraw_offer(&self, id: u64, address: &str) {
        let key = Key::new(id, address);
        let (left, named, waiting) = {
            let mut state = self.lock();
            let Some(offer) = state.conns.offers.get_mut(&key).filter(|offer| offer.is_open()) else { return };
            let left = std::mem::replace(&mut offer.phase, Phase::Withdrawn);
            (left, offer.named.clone(), state.conns.take_wanted(&key))
        };
        drop(left);
        self.events.push(Kind::ConnReleased { id, address: named });
        for wanted in waiting {
            // The application may have given up.
            let _ = wanted.decided.send(Decision::Look);
        }
    }

    /// The host's answer to a claim of a connection. False when it is no such claim.
    pub(in crate::instance) fn decide_conn(&self, claim: u64, error: &Error) -> bool {
        let Some(wanted) = self.lock().conns.wanted.remove(&claim) else { return false };
        let decision = if error.code == ErrorCode::Ok { Decision::Look } else { Decision::No(error.clone()) };
        let _ = wanted.decided.send(decision);
        true
    }

    /// GetConn of the application, and what the host is told once it has its answer.
    ///
    /// `miss` and what else the host decides, `alreadyClaimed`, `connectionReset` when the server has closed it, `deadline`.
    pub(crate) async fn get_conn(
        self: &Arc<Self>,
        id: u64,
        address: &str,
        wait: Duration,
    ) -> (Result<Handed>, Option<Kind>) {
        let key = Key::new(id, address);
        let (taken, told) = self.claim_conn(&key, Instant::now() + wait).await;
        let handed = taken.and_then(|opened| self.hand(&key, opened));
        if told {
            return (handed, None);
        }
        let (how, error) = match &handed {
            Ok(handed) => (handed.how, None),
            Err(error) => (How::Socket, Some(error.clone())),
        };
        let state = self.lock();
        let address = state.conns.offers.get(&key).map_or(key.place, |offer| offer.named.clone());
        drop(state);
        (handed, Some(Kind::ConnTaken { id, address, how, error }))
    }

    /// The connection, or why there is none and whether the host needs no word of it: it decided it, or was not asked.
    async fn claim_conn(&self, key: &Key, deadline: Instant) -> (Result<Opened>, bool) {
        loop {
            let (number, decided) = match self.look_up_or_ask(key, deadline) {
                Ok(found) => return found,
                Err(asked) => asked,
            };
            tokio::select! {
                biased;
                decision = decided => match decision {
                    Ok(Decision::Look) => {}
                    Ok(Decision::No(error)) => return (Err(error), true),
                    Err(_) => return (Err(closed()), false),
                },
                () = self.closing.cancelled() => return (Err(closed()), false),
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.lock().conns.wanted.remove(&number);
                    return (Err(error(ErrorCode::Deadline, "no connection came in time")), false);
                }
            }
        }
    }

    /// What there is, and whether the host is told nothing of it; or the number of the claim that waits now, and what it waits for.
    /// The host is told of a claim of what the bridge knows nothing of.
    fn look_up_or_ask(
        &self,
        key: &Key,
        deadline: Instant,
    ) -> std::result::Result<(Result<Opened>, bool), (u64, oneshot::Receiver<Decision>)> {
        if self.closing.is_cancelled() {
            return Ok((Err(closed()), false));
        }
        let mut state = self.lock();
        let ask = match state.conns.look_up(key) {
            LookUp::Take(opened) => return Ok((Ok(opened), false)),
            LookUp::No(error) => return Ok((Err(error), false)),
            LookUp::Coming => false,
            LookUp::Unknown => true,
        };
        if state.conns.wanted.len() >= MOST_CLAIMS {
            return Ok((Err(too_many_claims()), true));
        }
        state.last_claim += 1;
        let claim = state.last_claim;
        let (decided, decision) = oneshot::channel();
        state.conns.wanted.insert(claim, Wanted { key: key.clone(), decided });
        drop(state);
        if ask {
            let left = deadline.saturating_duration_since(Instant::now());
            let deadline_millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            self.events.push(Kind::ClaimedConn { claim, id: key.id, address: key.place.clone(), deadline_millis });
        }
        Err((claim, decision))
    }

    fn hand(self: &Arc<Self>, key: &Key, opened: Opened) -> Result<Handed> {
        dead(&opened)?;
        let Opened { session, foreign } = opened;
        let whole = self.function().is_some_and(|function| function.isolation == Isolation::Bubblewrap);
        let server = session.peer();
        let peer = server.map_or_else(String::new, |server| server.to_string());
        let number = {
            let mut state = self.lock();
            state.conns.last += 1;
            state.conns.last
        };
        let (parts, permit) = session.into_parts();
        // It counts for its tenant as long as the instance is there: the application may keep what it got.
        self.lock().conns.handed.extend(permit);
        let (how, file) = match parts {
            SessionParts::Tcp(tcp) => {
                let cannot = |error: std::io::Error| crate::errors::io("cannot hand the socket over", &error);
                let tcp = tcp.into_std().map_err(cannot)?;
                if whole {
                    tcp.set_nonblocking(false).map_err(cannot)?;
                    let server = server.ok_or_else(|| cannot(std::io::ErrorKind::NotConnected.into()))?;
                    let socket = tcp.into();
                    pin(&socket, server).map_err(cannot)?;
                    (How::Socket, socket)
                } else {
                    (How::Spliced, self.carry(number, key, tcp.into())?)
                }
            }
            SessionParts::Tls(tls) => (How::Tls, self.relay(number, key, tls)?),
        };
        Ok(Handed { number, how, file, peer, _foreign: foreign })
    }
}

/// Refuses one that the server has closed. Bytes that nobody has read go along with the connection.
fn dead(opened: &Opened) -> Result<()> {
    match opened.session.alive() {
        Err(error) if error.code != ErrorCode::ConnectionBusy => Err(error),
        _ => Ok(()),
    }
}

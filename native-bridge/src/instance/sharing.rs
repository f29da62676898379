//! An RPC whose reply is shared with other runs of its function.

use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result, now};
use headstart_net::Address;

use crate::app::INLINE;
use crate::instance::body::{Finished, Phase, Place};
use crate::instance::event::Kind;
use crate::instance::memory::Memory;
use crate::instance::rpc::Sending;
use crate::instance::{Instance, error};
use crate::shared::{Departure, Flight, Seat};

/// The flight's segment as one of this instance's; given back unless it is kept.
struct Adopted<'a> {
    memory: &'a Memory,
    theirs: Place,
    segment: u32,
}

impl<'a> Adopted<'a> {
    /// None when the flight has left that segment by now.
    fn new(memory: &'a Memory, flight: &Flight, theirs: Place) -> Result<Option<Self>> {
        let Some(segment) = flight.memory.find(theirs.segment) else { return Ok(None) };
        Ok(Some(Self { memory, theirs, segment: memory.adopt(segment, flight.name())? }))
    }

    fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.theirs.offset }
    }

    /// Whoever is told the place releases it.
    fn keep(mut self) -> Place {
        let place = self.place();
        self.segment = 0;
        place
    }
}

impl Drop for Adopted<'_> {
    fn drop(&mut self) {
        if self.segment != 0 {
            self.memory.retract(self.segment);
        }
    }
}

impl Instance {
    /// The reply to a request that others may have sent before; none when it is not to be had so, and is to be fetched.
    pub(super) async fn fetch_shared(
        self: &Arc<Self>,
        rpc: u64,
        address: &Address,
        sending: &Sending,
    ) -> Option<Result<Arc<Finished>>> {
        let Sending { function, request, deadline, .. } = sending;
        if !function.share.as_ref().is_some_and(|share| share.allows(request)) {
            return None;
        }
        let departure = Departure { node: &self.node, function, address, request, deadline: *deadline };
        let first = Arc::downgrade(self);
        let progress = move |progress| {
            if let Some(instance) = first.upgrade() {
                instance.progressed(rpc, progress);
            }
        };
        let seat = self.node.shared.board(&departure, progress).ok()??;
        if !seat.first {
            self.node.metrics.shared_rpcs.inc();
            self.events.push(Kind::RpcShared { rpc, age: now().saturating_sub(seat.flight.began) });
            self.script_ahead.notify_one();
        }
        let followed = tokio::time::timeout_at((*deadline).into(), self.follow(&seat, sending)).await;
        match followed {
            Ok(Err(failed)) if is_the_flights_own(&failed) => None,
            Ok(followed) => Some(followed),
            Err(_) => {
                let message = format!("{} took longer than allowed", request.content);
                Some(Err(error(ErrorCode::RpcTimeout, message)))
            }
        }
    }

    /// Tells this instance's body what becomes of the flight's.
    async fn follow(&self, seat: &Seat, sending: &Sending) -> Result<Arc<Finished>> {
        let flight = &seat.flight;
        let own = &sending.body;
        let mut adopted: Option<Adopted<'_>> = None;
        let mut seen = 0;
        loop {
            let at = adopted.as_ref().map(|adopted| adopted.theirs);
            let (phase, written) = flight
                .body
                .wait(|phase, written| match phase {
                    Phase::Waiting | Phase::Receiving { total: None, .. } => None,
                    // What is small comes whole.
                    Phase::Receiving { total: Some(total), .. } if *total <= INLINE as u64 => None,
                    Phase::Receiving { place, .. } if at == Some(*place) && written == seen => None,
                    phase => Some((phase.clone(), written)),
                })
                .await;
            match phase {
                Phase::Waiting => {}
                Phase::Receiving { status, place, total } => {
                    if at != Some(place) {
                        adopted = Adopted::new(&self.memory, flight, place)?;
                        let Some(adopted) = &adopted else {
                            tokio::task::yield_now().await;
                            continue;
                        };
                        own.begin(status, adopted.place(), total);
                        if own.is_published() {
                            self.memory.announce(adopted.segment);
                        }
                    }
                    seen = written;
                    own.advance(written);
                }
                Phase::Done(finished) => return self.landed(flight, &finished, adopted, sending),
                Phase::Failed(error) => return Err(error),
            }
        }
    }

    fn landed(
        &self,
        flight: &Flight,
        finished: &Finished,
        adopted: Option<Adopted<'_>>,
        sending: &Sending,
    ) -> Result<Arc<Finished>> {
        let mut place = Place::default();
        if finished.place.segment != 0 {
            let here = adopted.filter(|adopted| adopted.theirs == finished.place);
            let here = match here {
                Some(here) => Some(here),
                None => Adopted::new(&self.memory, flight, finished.place)?,
            };
            let Some(here) = here else {
                return Err(error(ErrorCode::Internal, "a shared reply has no memory"));
            };
            if sending.body.is_published() {
                self.memory.announce(here.segment);
            }
            place = here.keep();
        }
        Ok(Arc::new(Finished {
            status: finished.status,
            place,
            length: finished.length,
            inlined: finished.inlined.clone(),
            headers: finished.headers.clone(),
            attempts: finished.attempts,
            file: None,
        }))
    }
}

/// Whether an instance of its own may have more luck: with its own memory, and its own time.
fn is_the_flights_own(Error { code, .. }: &Error) -> bool {
    matches!(
        code,
        ErrorCode::InstanceMemoryFull
            | ErrorCode::NodeMemoryFull
            | ErrorCode::QuotaExceeded
            | ErrorCode::Cancelled
            | ErrorCode::RpcTimeout
    )
}

//! Messages from the initscript to the application, and the application's claims.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result, now};
use headstart_net::Request;
use tokio::sync::oneshot;

use crate::instance::body::{Body, Finished, Phase, Place};
use crate::instance::event::Kind;
use crate::instance::memory::News;
use crate::instance::{Instance, State, closed, error};

/// What can be received under an id.
pub(crate) struct Message {
    pub(super) content: String,
    pub(super) body: Arc<Body>,
    /// The RPC whose reply it is.
    pub(super) rpc: Option<u64>,
    /// The application has received it, or waits for its bytes.
    pub(super) claimed: bool,
    /// Not to be served any more.
    pub(super) voided: bool,
}

impl Message {
    /// What it holds instead of what is claimed, never empty. A claim without a content takes anything, and a request that
    /// could not be read has no content: its error is what there is to tell.
    fn other_than(&self, claimed: &str) -> Option<&str> {
        if claimed.is_empty() || claimed == self.content {
            return None;
        }
        match (self.content.as_str(), self.rpc) {
            ("", Some(_)) => None,
            ("", None) => Some(OWN_BYTES),
            (published, _) => Some(published),
        }
    }
}

/// A claim that waits for the host's decision or for its message.
pub(crate) struct Claim {
    id: u64,
    decided: oneshot::Sender<Decision>,
}

enum Decision {
    /// Look again: there is a message now.
    Published,
    No(Error),
}

/// What is told of a message of the script's own when an application claims something with a name under its id.
const OWN_BYTES: &str = "bytes of the initscript's own";

/// Claims of messages, and the same of connections, that wait for the host at one time. One connection waits for one, but a
/// connection can be left; and each that waits is looked at again with each that comes.
pub(super) const MOST_CLAIMS: usize = 512;

/// Bodies up to this size are given whole: they come in a packet.
const INLINE: u64 = crate::app::INLINE as u64;

/// What an application is given: a whole body, or one that is still coming in.
#[derive(Debug)]
pub(crate) enum Given {
    Whole(Arc<Finished>),
    Part { status: u16, place: Place, total: u64, written: u64 },
}

impl Instance {
    /// Publishes a message of the script's own bytes.
    pub(super) fn publish_data(&self, id: u64, content: String, data: &[u8]) {
        let body = match self.keep(data) {
            Ok(finished) => Body::done(finished),
            Err(error) => Body::failed(error),
        };
        self.publish(id, Message { content, body, rpc: None, claimed: false, voided: false });
    }

    /// Publishes the reply of an RPC, finished or in flight. The RPC is known (see `ops`).
    pub(super) fn publish_reply(&self, id: u64, rpc: u64, content: String) {
        let message = {
            let state = self.lock();
            let Some(of) = state.rpcs.get(&rpc) else { return };
            let content = if content.is_empty() { of.content.clone() } else { content };
            Message { content, body: Arc::clone(&of.body), rpc: Some(rpc), claimed: false, voided: of.voided }
        };
        self.publish(id, message);
    }

    fn publish(&self, id: u64, message: Message) {
        message.body.publish();
        let failed = match message.body.phase() {
            Phase::Failed(error) => Some(error),
            Phase::Done(finished) => {
                self.memory.announce(finished.place.segment);
                None
            }
            Phase::Receiving { place, total: Some(total), .. } if total > INLINE => {
                self.memory.announce(place.segment);
                None
            }
            Phase::Receiving { .. } | Phase::Waiting => None,
        };
        let mut state = self.lock();
        state.messages.insert(id, message);
        let waiting = state.take_claims(id);
        drop(state);
        self.events.push(Kind::Published(id));
        if let Some(error) = failed {
            self.events.push(Kind::MessageFailed { id, error });
        }
        for claim in waiting {
            // The connection may have given up.
            let _ = claim.decided.send(Decision::Published);
        }
    }

    fn keep(&self, data: &[u8]) -> Result<Finished> {
        let length = data.len() as u64;
        let inlined = Some(bytes::Bytes::copy_from_slice(data)).filter(|_| data.len() <= crate::app::INLINE);
        if inlined.is_some() {
            return Ok(Finished { length, inlined, ..Finished::default() });
        }
        let mut region = self.memory.region(length)?;
        if !region.writer.append(data) {
            return Err(error(ErrorCode::Internal, "a message does not fit its region"));
        }
        Ok(Finished { place: region.place(), length, ..Finished::default() })
    }

    /// The host's answer to a claim. A claim that is no more (its deadline passed) needs none.
    pub(super) fn decide(&self, claim: u64, error: Error) {
        let claim = self.lock().claims.remove(&claim);
        if let Some(claim) = claim {
            let decision = if error.code == ErrorCode::Ok { Decision::Published } else { Decision::No(error) };
            let _ = claim.decided.send(decision);
        }
    }

    pub(super) fn void(&self, id: u64) {
        if let Some(message) = self.lock().messages.get_mut(&id) {
            message.voided = true;
        }
    }

    /// The messages that carry this RPC's reply.
    pub(super) fn messages_of(&self, rpc: u64) -> Vec<u64> {
        let state = self.lock();
        state.messages.iter().filter(|(_, message)| message.rpc == Some(rpc)).map(|(id, _)| *id).collect()
    }

    /// RecvMsg: waits for the message, or for the host's word that none will come. The event is to be pushed once the
    /// application has its answer; there is none of what the host decided itself.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        id: u64,
        content: &str,
        progressive: bool,
        wait: Duration,
    ) -> (Result<Given>, Option<Kind>) {
        let began = now();
        let deadline = Instant::now() + wait;
        let content = canonical(content);
        let (outcome, told) = self.claim(id, &content, progressive, deadline).await;
        if told {
            return (outcome, None);
        }
        self.node.metrics.served.get_or_create(&crate::metrics::outcome(&outcome)).inc();
        let bytes = match &outcome {
            Ok(Given::Whole(finished)) => finished.length,
            Ok(Given::Part { total, .. }) => *total,
            Err(_) => 0,
        };
        let error = outcome.as_ref().err().cloned();
        let served = Kind::Served { id, bytes, waited: now().saturating_sub(began), error };
        (outcome, Some(served))
    }

    /// The outcome, and whether the host knows it already because it decided it.
    async fn claim(
        self: &Arc<Self>,
        id: u64,
        content: &str,
        progressive: bool,
        deadline: Instant,
    ) -> (Result<Given>, bool) {
        loop {
            let step = self.lock().look_up(id, content);
            let diverges = match step {
                LookUp::Serve(body) => return (self.serve(id, &body, progressive, deadline).await, false),
                LookUp::No(error) => return (Err(error), false),
                LookUp::Unknown => String::new(),
                LookUp::Diverges(published) => published,
            };
            let diverged = !diverges.is_empty();
            let (number, decided) = match self.ask(id, content, diverges, deadline) {
                Ok(asked) => asked,
                // The host has nothing to keep of a claim that it was not asked about.
                Err(error) => return (Err(error), true),
            };
            tokio::select! {
                biased;
                decision = decided => match decision {
                    Ok(Decision::Published) if diverged => {
                        return (Err(error(ErrorCode::Diverged, "another content was sent under this id")), false);
                    }
                    Ok(Decision::Published) => {}
                    Ok(Decision::No(error)) => return (Err(error), true),
                    Err(_) => return (Err(closed()), false),
                },
                () = self.closing.cancelled() => return (Err(closed()), false),
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.lock().claims.remove(&number);
                    return (Err(error(ErrorCode::Deadline, "no message came in time")), false);
                }
            }
        }
    }

    /// Tells the host of a claim that the bridge cannot answer.
    fn ask(
        &self,
        id: u64,
        content: &str,
        diverges: String,
        deadline: Instant,
    ) -> Result<(u64, oneshot::Receiver<Decision>)> {
        if self.closing.is_cancelled() {
            return Err(closed());
        }
        let (sender, decided) = oneshot::channel();
        let mut state = self.lock();
        // Between the look and now, the message may have come.
        if diverges.is_empty() && state.messages.contains_key(&id) {
            let _ = sender.send(Decision::Published);
            return Ok((0, decided));
        }
        if state.claims.len() >= MOST_CLAIMS {
            return Err(too_many_claims());
        }
        state.last_claim += 1;
        let claim = state.last_claim;
        state.claims.insert(claim, Claim { id, decided: sender });
        drop(state);
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline_millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        self.events.push(Kind::Claimed { claim, id, content: content.to_owned(), diverges, deadline_millis });
        Ok((claim, decided))
    }

    /// Waits for a message's bytes. The message is claimed; when they do not come in time it is open again.
    async fn serve(self: &Arc<Self>, id: u64, body: &Arc<Body>, progressive: bool, deadline: Instant) -> Result<Given> {
        let given = tokio::select! {
            biased;
            given = self.give(body, progressive) => given,
            () = self.closing.cancelled() => Err(closed()),
            () = tokio::time::sleep_until(deadline.into()) => {
                Err(error(ErrorCode::Deadline, "the message's bytes did not come in time"))
            }
        };
        if given.as_ref().is_err_and(|error| error.code == ErrorCode::Deadline)
            && let Some(message) = self.lock().messages.get_mut(&id)
        {
            message.claimed = false;
        }
        given
    }

    /// Waits until a body can be given: when it is complete or, progressively, when its length is known.
    pub(crate) async fn give(self: &Arc<Self>, body: &Arc<Body>, progressive: bool) -> Result<Given> {
        let given = body
            .wait(|phase, written| match phase {
                Phase::Done(finished) => Some(Ok(Given::Whole(Arc::clone(finished)))),
                Phase::Failed(error) => Some(Err(error.clone())),
                Phase::Receiving { status, place, total: Some(total) } if progressive && *total > INLINE => {
                    body.tell();
                    Some(Ok(Given::Part { status: *status, place: *place, total: *total, written }))
                }
                Phase::Receiving { .. } | Phase::Waiting => None,
            })
            .await?;
        if let Given::Part { place, .. } = &given {
            self.lock().progressive.insert(*place, Arc::clone(body));
        }
        Ok(given)
    }

    /// Await: waits until `length` bytes are there of what was given in part. The bytes there now, and whether that is all.
    pub(crate) async fn await_bytes(&self, place: Place, length: u64) -> Result<(u64, bool)> {
        let Some(body) = self.lock().progressive.get(&place).cloned() else {
            let message = format!("nothing comes in at {} of segment {}", place.offset, place.segment);
            return Err(error(ErrorCode::NotFound, message));
        };
        body.wait(|phase, written| match phase {
            Phase::Done(finished) if finished.place == place => Some(Ok((finished.length, true))),
            Phase::Receiving { place: now, .. } if *now == place => (written >= length).then_some(Ok((written, false))),
            Phase::Failed(error) => Some(Err(error.clone())),
            // The download began anew elsewhere: what was read is void.
            Phase::Done(_) | Phase::Receiving { .. } => {
                Some(Err(error(ErrorCode::ConnectionReset, "the download broke and was begun anew")))
            }
            Phase::Waiting => None,
        })
        .await
    }

    /// Bytes of a finished reply.
    pub(crate) fn read_reply(&self, rpc: u64, offset: u64, length: u32) -> Result<Vec<u8>> {
        let body = self.lock().rpcs.get(&rpc).map(|rpc| Arc::clone(&rpc.body));
        let Some(body) = body else {
            return Err(error(ErrorCode::RpcUnknown, format!("RPC {rpc} was not sent")));
        };
        match body.phase() {
            Phase::Done(finished) => {
                let left = finished.length.saturating_sub(offset).min(length.into());
                if let Some(bytes) = &finished.inlined {
                    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    return Ok(bytes.iter().skip(from).take(length as usize).copied().collect());
                }
                let place =
                    Place { segment: finished.place.segment, offset: finished.place.offset.saturating_add(offset) };
                self.memory.read(place, left)
            }
            Phase::Failed(error) => Err(error),
            Phase::Waiting | Phase::Receiving { .. } => Err(error(
                ErrorCode::InvalidArgument,
                format!("the reply of RPC {rpc} is not complete: wait for its rpcDone"),
            )),
        }
    }

    /// Waits for news of segments that hold what is for the application: the first after the news of number `after`.
    pub(crate) async fn next_segment(&self, after: u64) -> Result<News> {
        tokio::select! {
            biased;
            news = self.memory.news(after) => Ok(news),
            () = self.closing.cancelled() => Err(closed()),
        }
    }

    /// The message that lies, or begins to come, in a segment: its id and content. None where nobody can claim one there, or only
    /// one without a content.
    pub(crate) fn open_message_in(&self, segment: u32) -> Option<(u64, String)> {
        let state = self.lock();
        let lies_there = |message: &Message| match message.body.phase() {
            Phase::Done(finished) => finished.place.segment == segment,
            Phase::Receiving { place, .. } => place.segment == segment,
            Phase::Waiting | Phase::Failed(_) => false,
        };
        let open = state.messages.iter().filter(|(_, it)| !it.claimed && !it.voided && !it.content.is_empty());
        open.filter(|(_, it)| lies_there(it)).map(|(id, it)| (*id, it.content.clone())).min()
    }

    /// The application has no more use for a body in this segment.
    pub(crate) fn free(&self, segment: u32) -> Result<()> {
        self.lock().progressive.retain(|place, _| place.segment != segment);
        if self.memory.release(segment) {
            return Ok(());
        }
        Err(error(ErrorCode::NotFound, format!("there is no segment {segment}")))
    }
}

/// Why a claim is not asked for.
pub(super) fn too_many_claims() -> Error {
    error(ErrorCode::TooMany, format!("{MOST_CLAIMS} claims of the application wait already"))
}

enum LookUp {
    Serve(Arc<Body>),
    No(Error),
    Unknown,
    /// Another content was published under this id: this one, which is not empty.
    Diverges(String),
}

impl State {
    fn look_up(&mut self, id: u64, content: &str) -> LookUp {
        let Some(message) = self.messages.get_mut(&id) else { return LookUp::Unknown };
        if let Some(published) = message.other_than(content) {
            return LookUp::Diverges(published.to_owned());
        }
        if message.voided {
            let message = format!("what message {id} holds ({}) is out of date", message.content);
            return LookUp::No(error(ErrorCode::Voided, message));
        }
        if message.claimed {
            return LookUp::No(error(ErrorCode::AlreadyClaimed, format!("message {id} was received before")));
        }
        message.claimed = true;
        LookUp::Serve(Arc::clone(&message.body))
    }

    /// Takes the claims that wait for a message.
    fn take_claims(&mut self, id: u64) -> Vec<Claim> {
        let numbers: Vec<u64> =
            self.claims.iter().filter(|(_, claim)| claim.id == id).map(|(number, _)| *number).collect();
        numbers.iter().filter_map(|number| self.claims.remove(number)).collect()
    }

    /// Voids all results: they belong to the invocation that ended.
    pub(super) fn void_all(&mut self) {
        for message in self.messages.values_mut() {
            message.voided = true;
        }
        for rpc in self.rpcs.values_mut() {
            rpc.voided = true;
        }
    }
}

/// A claim's content in canonical form, where it has one.
fn canonical(content: &str) -> String {
    if content.is_empty() || content.contains(['\r', '\n']) {
        return content.to_owned();
    }
    // A range stands behind the URL, and in a header of the request.
    let request = match content.split_once("#bytes=") {
        Some((plain, range)) => format!("{plain}\nrange: bytes={range}\n\n"),
        None => format!("{content}\n\n"),
    };
    match Request::parse_absolute(request.as_bytes()) {
        Ok((_, request)) => request.content,
        Err(_) => content.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_claim_is_compared_in_the_form_of_what_is_sent() {
        for (claimed, expected) in [
            ("GET s3://b/%61", "GET s3://b/a"),
            ("GET s3://b/%61#bytes=0-99", "GET s3://b/a#bytes=0-99"),
            ("GET s3://b/k#bytes=x", "GET s3://b/k#bytes=x"),
            ("anything else", "anything else"),
        ] {
            assert_eq!(canonical(claimed), expected);
        }
    }
}

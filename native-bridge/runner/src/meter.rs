//! What a runner may do to the host: calls in flight, capabilities held, bytes and messages a second.

use crate::frames::breach;
use crate::ledger::{Answer, Ledger};
use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::BufferSegments;
use capnp_rpc::rpc_capnp::{call, cap_descriptor, message, payload, resolve, return_};
use headstart_base::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bounds of one connection's messages from the runner to the host. Calls in flight, questions and exports end the connection;
/// the others slow it down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterLimits {
    /// Calls that the host has not answered yet.
    pub(crate) calls: usize,
    /// Bytes of these.
    pub(crate) call_bytes: usize,
    /// Calls that the runner has not finished with: the host keeps their results.
    pub(crate) questions: usize,
    /// Capabilities of each end that the other holds.
    pub(crate) exports: usize,
    /// A message that neither asks nor answers.
    pub(crate) other_bytes: usize,
    pub(crate) messages: Rate,
    pub(crate) bytes: Rate,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// At once, after a quiet time.
    pub(crate) burst: f64,
}

/// Capabilities in one message.
const MAX_CAPABILITIES: u32 = 256;

/// Counts both directions of one connection.
pub(crate) struct Meter {
    limits: MeterLimits,
    state: Mutex<State>,
}

struct State {
    runner: Ledger,
    host: Ledger,
    messages: Bucket,
    bytes: Bucket,
}

/// Tokens that come back with time.
struct Bucket {
    rate: Rate,
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, tokens: rate.burst, refilled: Instant::now() }
    }

    fn refill(&mut self) -> f64 {
        let now = Instant::now();
        let fresh = now.duration_since(self.refilled).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + fresh).min(self.rate.burst);
        self.refilled = now;
        self.tokens
    }
}

impl Meter {
    pub(crate) fn new(limits: MeterLimits) -> Self {
        let state = State {
            runner: Ledger::default(),
            host: Ledger::default(),
            messages: Bucket::new(limits.messages),
            bytes: Bucket::new(limits.bytes),
        };
        Self { limits, state: Mutex::new(state) }
    }

    /// No lock is held across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the runner's next message may pass now; if not, later.
    pub(crate) fn admits(&self, length: usize) -> bool {
        let state = &mut *self.state();
        // A message as large as may be passes when nothing else is on its way.
        let room =
            state.runner.unanswered_bytes() == 0 || state.runner.unanswered_bytes() + length <= self.limits.call_bytes;
        if !room || state.messages.refill() < 1.0 || state.bytes.refill() < 0.0 {
            return false;
        }
        state.messages.tokens -= 1.0;
        state.bytes.tokens -= length as f64;
        true
    }

    /// A whole message from the runner that was admitted. An error is a breach.
    pub(crate) fn runner_sent(&self, bytes: &[u8]) -> Result<()> {
        let said = read(bytes)?;
        let limits = self.limits;
        if !matches!(said, Said::Asked { .. } | Said::Answered(..)) && bytes.len() > limits.other_bytes {
            return Err(breach(format!("a message of {} bytes that is no call and no answer", bytes.len())));
        }
        let State { runner, host, .. } = &mut *self.state();
        if matches!(said, Said::Asked { .. }) {
            if runner.unanswered() >= limits.calls {
                return Err(breach(format!("more than {} calls in flight", limits.calls)));
            }
            if runner.questions() >= limits.questions {
                return Err(breach(format!("more than {} calls that are not finished with", limits.questions)));
            }
        }
        apply(said, bytes.len(), runner, host)?;
        self.check_exports(runner, host)
    }

    /// A whole message from the host.
    pub(crate) fn host_sent(&self, bytes: &[u8]) -> Result<()> {
        let State { runner, host, .. } = &mut *self.state();
        // What the host says is not judged, only counted.
        let _ = apply(read(bytes)?, bytes.len(), host, runner);
        self.check_exports(runner, host)
    }

    /// Of both ends: a runner could also keep what the host gives it.
    fn check_exports(&self, runner: &Ledger, host: &Ledger) -> Result<()> {
        let most = self.limits.exports;
        if runner.exports() > most || host.exports() > most {
            return Err(breach(format!("more than {most} capabilities held")));
        }
        Ok(())
    }
}

/// What one end says, as far as it is counted.
enum Said {
    /// A call, or the request for the bootstrap capability.
    Asked {
        id: u32,
        params: Vec<u32>,
    },
    Answered(u32, Answer),
    Finished {
        id: u32,
        releases_results: bool,
    },
    Resolved(Vec<u32>),
    Released {
        id: u32,
        count: u32,
    },
    Other,
}

fn apply(said: Said, bytes: usize, from: &mut Ledger, to: &mut Ledger) -> Result<()> {
    match said {
        Said::Asked { id, params } => {
            if !from.ask(id, bytes, params) {
                return Err(breach(format!("question {id} is asked twice")));
            }
        }
        Said::Answered(id, answer) => {
            if !to.answer(id, answer, from) {
                return Err(breach(format!("an answer to question {id}, which is not open")));
            }
        }
        Said::Finished { id, releases_results } => from.finish(id, releases_results, to),
        Said::Resolved(exports) => from.export(&exports),
        Said::Released { id, count } => to.release(id, count),
        Said::Other => {}
    }
    Ok(())
}

/// Reads a message as far as it is counted: the host's own Cap'n Proto checks the rest.
fn read(bytes: &[u8]) -> Result<Said> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    let segments = BufferSegments::new(bytes, options).map_err(malformed)?;
    let reader = Reader::new(segments, ReaderOptions::new());
    let root: message::Reader<'_> = reader.get_root().map_err(malformed)?;
    let unknown = || breach("a message of an unknown kind".into());
    Ok(match root.which().map_err(|_| unknown())? {
        message::Bootstrap(it) => Said::Asked { id: it.map_err(malformed)?.get_question_id(), params: Vec::new() },
        message::Call(it) => {
            let it = it.map_err(malformed)?;
            if let Ok(call::send_results_to::ThirdParty(_)) | Err(_) = it.get_send_results_to().which() {
                return Err(unknown());
            }
            let params = match it.has_params() {
                true => exports_of(it.get_params().map_err(malformed)?)?,
                false => Vec::new(),
            };
            Said::Asked { id: it.get_question_id(), params }
        }
        message::Return(it) => {
            let it = it.map_err(malformed)?;
            let results = match it.which().map_err(|_| unknown())? {
                return_::Results(results) => exports_of(results.map_err(malformed)?)?,
                return_::AcceptFromThirdParty(_) => return Err(unknown()),
                _ => Vec::new(),
            };
            let answer =
                Answer { results, releases_params: it.get_release_param_caps(), is_last: it.get_no_finish_needed() };
            Said::Answered(it.get_answer_id(), answer)
        }
        message::Finish(it) => {
            let it = it.map_err(malformed)?;
            Said::Finished { id: it.get_question_id(), releases_results: it.get_release_result_caps() }
        }
        message::Resolve(it) => match it.map_err(malformed)?.which().map_err(|_| unknown())? {
            resolve::Cap(it) => Said::Resolved(export_of(it.map_err(malformed)?)?.into_iter().collect()),
            resolve::Exception(_) => Said::Other,
        },
        message::Release(it) => {
            let it = it.map_err(malformed)?;
            Said::Released { id: it.get_id(), count: it.get_reference_count() }
        }
        message::Disembargo(_) | message::Unimplemented(_) | message::Abort(_) => Said::Other,
        // Of three parties, or obsolete: neither end says such a thing.
        _ => return Err(unknown()),
    })
}

/// The capabilities in a payload that are its sender's.
fn exports_of(payload: payload::Reader<'_>) -> Result<Vec<u32>> {
    let table = payload.get_cap_table().map_err(malformed)?;
    if table.len() > MAX_CAPABILITIES {
        return Err(breach(format!("{} capabilities in a message, more than {MAX_CAPABILITIES}", table.len())));
    }
    table.iter().filter_map(|it| export_of(it).transpose()).collect()
}

fn export_of(it: cap_descriptor::Reader<'_>) -> Result<Option<u32>> {
    match it.which() {
        Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) => Ok(Some(id)),
        Ok(cap_descriptor::ThirdPartyHosted(_)) | Err(_) => Err(breach("a capability of an unknown kind".into())),
        Ok(_) => Ok(None),
    }
}

fn malformed(error: capnp::Error) -> headstart_base::Error {
    breach(format!("a malformed message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::{Builder, HeapAllocator};

    const LIMITS: MeterLimits = MeterLimits {
        calls: 2,
        call_bytes: 1000,
        questions: 4,
        exports: 3,
        other_bytes: 100,
        messages: Rate { per_second: 1.0, burst: 100.0 },
        bytes: Rate { per_second: 1.0, burst: 2000.0 },
    };

    fn written(fill: impl FnOnce(message::Builder<'_>)) -> Vec<capnp::Word> {
        let mut builder = Builder::new(HeapAllocator::new());
        fill(builder.init_root());
        capnp::serialize::write_message_to_words(&builder)
            .chunks_exact(8)
            .map(|bytes| capnp::word(bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]))
            .collect()
    }

    fn call(meter: &Meter, id: u32) -> Result<()> {
        let words = written(|message| message.init_call().set_question_id(id));
        meter.runner_sent(capnp::Word::words_to_bytes(&words))
    }

    fn answer(meter: &Meter, id: u32) {
        let words = written(|message| message.init_return().set_answer_id(id));
        meter.host_sent(capnp::Word::words_to_bytes(&words)).unwrap();
    }

    fn finish(meter: &Meter, id: u32) {
        let words = written(|message| message.init_finish().set_question_id(id));
        meter.runner_sent(capnp::Word::words_to_bytes(&words)).unwrap();
    }

    #[test]
    fn calls_in_flight_are_counted_by_their_returns() {
        let meter = Meter::new(LIMITS);
        call(&meter, 0).unwrap();
        call(&meter, 1).unwrap();
        answer(&meter, 0);
        answer(&meter, 0);
        call(&meter, 2).unwrap();
        assert!(call(&meter, 3).unwrap_err().message.contains("in flight"));
    }

    #[test]
    fn results_that_are_not_given_back_are_bounded() {
        let meter = Meter::new(LIMITS);
        for id in 0..4 {
            call(&meter, id).unwrap();
            answer(&meter, id);
        }
        assert!(call(&meter, 4).is_err());
        finish(&meter, 2);
        call(&meter, 4).unwrap();
        finish(&meter, 1);
        assert!(call(&meter, 4).unwrap_err().message.contains("twice"));
    }

    #[test]
    fn a_flood_has_to_wait() {
        let meter = Meter::new(LIMITS);
        assert_eq!((0..200).filter(|_| meter.admits(1)).count(), 100);
        let meter = Meter::new(LIMITS);
        assert_eq!((0..200).filter(|_| meter.admits(400)).count(), 6);
    }

    #[test]
    fn large_calls_wait_for_the_answers_to_those_before() {
        let meter = Meter::new(LIMITS);
        assert!(meter.admits(5000), "alone");
        let meter = Meter::new(LIMITS);
        call(&meter, 0).unwrap();
        assert!(meter.admits(100) && !meter.admits(1000));
        answer(&meter, 0);
        assert!(meter.admits(1000));
    }

    fn sent(meter: &Meter, fill: impl FnOnce(message::Builder<'_>)) -> Result<()> {
        meter.runner_sent(capnp::Word::words_to_bytes(&written(fill)))
    }

    #[test]
    fn capabilities_that_are_not_given_back_are_bounded() {
        let meter = Meter::new(LIMITS);
        let resolved = |id: u32| sent(&meter, |message| message.init_resolve().init_cap().set_sender_hosted(id));
        for id in [1, 1, 2, 3] {
            resolved(id).unwrap();
        }
        assert!(resolved(4).unwrap_err().message.contains("3 capabilities held"));
        let meter = Meter::new(LIMITS);
        let many = sent(&meter, |message| {
            message.init_call().init_params().init_cap_table(257);
        });
        assert!(many.unwrap_err().message.contains("257 capabilities"));
        // What the host gives and never gets back counts, too.
        for id in 0..4 {
            call(&meter, id).unwrap();
            let words = written(|message| {
                let mut answer = message.init_return();
                answer.set_answer_id(id);
                answer.init_results().init_cap_table(1).get(0).set_sender_hosted(id);
            });
            let passed = meter.host_sent(capnp::Word::words_to_bytes(&words));
            assert_eq!(passed.is_ok(), id < 3, "{id}");
            let _ = sent(&meter, |message| {
                let mut finish = message.init_finish();
                finish.set_question_id(id);
                finish.set_release_result_caps(false);
            });
        }
    }

    #[test]
    fn answers_that_nobody_waits_for_and_what_two_parties_never_say_are_breaches() {
        let meter = Meter::new(LIMITS);
        assert!(
            sent(&meter, |message| message.init_return().set_answer_id(0)).unwrap_err().message.contains("not open")
        );
        let words = written(|message| message.init_call().set_question_id(0));
        meter.host_sent(capnp::Word::words_to_bytes(&words)).unwrap();
        sent(&meter, |message| message.init_return().set_answer_id(0)).unwrap();
        assert!(sent(&meter, |message| message.init_return().set_answer_id(0)).is_err());
        assert!(sent(&meter, |message| message.init_provide().set_question_id(9)).is_err());
        assert!(sent(&meter, |message| message.init_join().set_question_id(9)).is_err());
        let padded = sent(&meter, |message| {
            message.init_abort().set_reason("x".repeat(200).as_str());
        });
        assert!(padded.unwrap_err().message.contains("no call and no answer"));
    }

    #[test]
    fn malformed_messages_are_refused() {
        let meter = Meter::new(LIMITS);
        // A root pointer out of bounds, a list as the root, a far pointer to nowhere, a kind of message that is not.
        for root in [0x0000_0001_0000_00fc_u64, 0x0000_0007_0000_0001, 0x0000_0009_0000_0002, 0x0000_0001_0000_0000] {
            let words = [[1_u64 << 33, root, 0xffff], [0, 0, 0]].concat();
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let words: Vec<capnp::Word> =
                bytes.chunks_exact(8).map(|b| capnp::word(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7])).collect();
            let error = meter.runner_sent(capnp::Word::words_to_bytes(&words)).unwrap_err();
            assert_eq!(error.code, headstart_base::ErrorCode::Protocol, "{root:x}");
        }
        assert!(meter.runner_sent(&[]).is_err());
    }
}

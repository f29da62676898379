//! What a runner may do to the host: calls in flight, and messages a second.

use crate::frames::breach;
use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::BufferSegments;
use capnp_rpc::rpc_capnp::message;
use headstart_base::Result;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bounds of one connection's messages from the runner to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterLimits {
    /// Calls that the host has not answered yet.
    pub(crate) calls: usize,
    /// Calls that the runner has not finished with: the host keeps their results.
    pub(crate) questions: usize,
    pub(crate) messages_per_second: f64,
    /// Messages at once, after a quiet time.
    pub(crate) burst: f64,
}

/// Counts both directions of one connection.
pub(crate) struct Meter {
    limits: MeterLimits,
    state: Mutex<State>,
}

struct State {
    /// The runner's questions, and what of each has not been seen yet.
    questions: HashMap<u32, Question>,
    unanswered: usize,
    tokens: f64,
    refilled: Instant,
}

#[derive(Default)]
struct Question {
    answered: bool,
    finished: bool,
}

impl Meter {
    pub(crate) fn new(limits: MeterLimits) -> Self {
        let state = State { questions: HashMap::new(), unanswered: 0, tokens: limits.burst, refilled: Instant::now() };
        Self { limits, state: Mutex::new(state) }
    }

    /// No lock is held across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A whole message from the runner. An error is a breach.
    pub(crate) fn runner_sent(&self, bytes: &[u8]) -> Result<()> {
        self.take_token()?;
        match kind_of(bytes)? {
            Kind::Question(id) => self.ask(id),
            Kind::Finish(id) => {
                self.end(id, |question| question.finished = true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A whole message from the host.
    pub(crate) fn host_sent(&self, bytes: &[u8]) -> Result<()> {
        if let Kind::Return(id) = kind_of(bytes)? {
            let mut first = false;
            self.end(id, |question| first = !std::mem::replace(&mut question.answered, true));
            if first {
                self.state().unanswered -= 1;
            }
        }
        Ok(())
    }

    fn take_token(&self) -> Result<()> {
        let mut state = self.state();
        let now = Instant::now();
        let fresh = now.duration_since(state.refilled).as_secs_f64() * self.limits.messages_per_second;
        state.tokens = (state.tokens + fresh).min(self.limits.burst);
        state.refilled = now;
        if state.tokens < 1.0 {
            return Err(breach(format!("more than {} messages a second", self.limits.messages_per_second)));
        }
        state.tokens -= 1.0;
        Ok(())
    }

    fn ask(&self, id: u32) -> Result<()> {
        let mut state = self.state();
        if state.unanswered >= self.limits.calls {
            return Err(breach(format!("more than {} calls in flight", self.limits.calls)));
        }
        if state.questions.len() >= self.limits.questions {
            return Err(breach(format!("more than {} calls that are not finished with", self.limits.questions)));
        }
        if state.questions.insert(id, Question::default()).is_some() {
            return Err(breach(format!("question {id} is asked twice")));
        }
        state.unanswered += 1;
        Ok(())
    }

    fn end(&self, id: u32, change: impl FnOnce(&mut Question)) {
        let mut state = self.state();
        if let Some(question) = state.questions.get_mut(&id) {
            change(question);
            if question.answered && question.finished {
                state.questions.remove(&id);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A call or the request for the bootstrap capability.
    Question(u32),
    Return(u32),
    Finish(u32),
    Other,
}

/// What a message is. Only its root is looked at: the host's own Cap'n Proto checks the rest.
fn kind_of(bytes: &[u8]) -> Result<Kind> {
    let malformed = |error: capnp::Error| breach(format!("a malformed message: {error}"));
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    let segments = BufferSegments::new(bytes, options).map_err(malformed)?;
    let reader = Reader::new(segments, ReaderOptions::new());
    let root: message::Reader<'_> = reader.get_root().map_err(malformed)?;
    Ok(match root.which() {
        Ok(message::Bootstrap(bootstrap)) => Kind::Question(bootstrap.map_err(malformed)?.get_question_id()),
        Ok(message::Call(call)) => Kind::Question(call.map_err(malformed)?.get_question_id()),
        Ok(message::Return(answer)) => Kind::Return(answer.map_err(malformed)?.get_answer_id()),
        Ok(message::Finish(finish)) => Kind::Finish(finish.map_err(malformed)?.get_question_id()),
        Ok(_) => Kind::Other,
        Err(_) => return Err(breach("a message of an unknown kind".into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::{Builder, HeapAllocator};

    const LIMITS: MeterLimits = MeterLimits { calls: 2, questions: 4, messages_per_second: 1.0, burst: 100.0 };

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
    fn a_flood_runs_out_of_tokens() {
        let meter = Meter::new(MeterLimits { burst: 10.0, ..LIMITS });
        for _ in 0..10 {
            finish(&meter, 9);
        }
        assert!(call(&meter, 0).unwrap_err().message.contains("messages a second"));
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

//! The handler loop.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::answer::Answer;
use crate::client::{Client, Wait};
use crate::error::Result;
use crate::numbers::{self, Code};
use crate::packet::{PAYLOAD, Request};
use crate::reply::Reply;

const NEXT: Duration = Duration::from_secs(60);
/// Longer answers go through the outbox in pieces of this size.
const PIECE: usize = 256 << 10;

/// An invocation, to be answered.
#[derive(Debug)]
pub struct Event {
    reply: Reply,
}

impl Event {
    pub fn data(&self) -> &[u8] {
        self.reply.there()
    }
}

impl Client {
    /// Answers events until there are no more, each by what the handler returns. Its error or panic is the caller's
    /// `functionFailed`, and the next event is served.
    ///
    /// ```no_run
    /// headstart::Client::new().serve(|event| Ok::<_, headstart::Error>(format!("{} bytes", event.data().len())))?;
    /// # Ok::<(), headstart::Error>(())
    /// ```
    pub fn serve<A: Into<Answer>, E: Display>(
        &self,
        mut handler: impl FnMut(&Event) -> std::result::Result<A, E>,
    ) -> Result<()> {
        loop {
            let event = match self.next(NEXT) {
                Ok(event) => event,
                Err(error) if error.code == Code::Deadline => continue,
                Err(error) if error.code == Code::InstanceClosed => return Ok(()),
                Err(error) => return Err(error),
            };
            let result = catch_unwind(AssertUnwindSafe(|| handler(&event)));
            let answered = match result {
                Ok(Ok(answer)) => self.answer(&event, &answer.into()),
                Ok(Err(error)) => self.fail(&event, &error.to_string()),
                Err(_) => self.fail(&event, "the handler panicked"),
            };
            match answered {
                // The caller went away, or cannot be given this: the next one may be served.
                Err(error) if matches!(error.code, Code::BridgeLost | Code::InstanceClosed) => return Err(error),
                _ => {}
            }
        }
    }

    /// Waits for the next invocation. `InstanceClosed`: no more will come.
    pub fn next(&self, timeout: Duration) -> Result<Event> {
        let request = Request { op: numbers::OP_NEXT, ..Request::default() };
        Ok(Event { reply: self.ask(&request, &[], Wait::at_most(timeout))? })
    }

    pub fn answer(&self, event: &Event, answer: &Answer) -> Result<()> {
        self.begin(event, answer)?;
        self.write(event, &answer.body)?;
        self.end(event)
    }

    /// Begins an answer of many pieces by its head; the body is not sent.
    pub fn begin(&self, event: &Event, head: &Answer) -> Result<()> {
        let (id, head) = (event.reply.id(), head.head());
        let payload = head.as_bytes();
        let request =
            Request { op: numbers::OP_RESPOND, id, flags: numbers::FLAG_BEGIN, payload, ..Request::default() };
        self.simple(&request, &[]).map(|_| ())
    }

    /// A piece of an answer, which goes to the caller at once.
    pub fn write(&self, event: &Event, data: &[u8]) -> Result<()> {
        let request = Request { op: numbers::OP_RESPOND, id: event.reply.id(), ..Request::default() };
        data.chunks(PIECE).try_for_each(|piece| self.send(request, piece))
    }

    pub fn end(&self, event: &Event) -> Result<()> {
        let flags = numbers::FLAG_INLINE | numbers::FLAG_END;
        self.simple(&Request { op: numbers::OP_RESPOND, id: event.reply.id(), flags, ..Request::default() }, &[])
            .map(|_| ())
    }

    /// Tells the caller what failed.
    pub fn fail(&self, event: &Event, what: &str) -> Result<()> {
        let (id, flags) = (event.reply.id(), numbers::FLAG_ERROR);
        let payload = &what.as_bytes()[..what.len().min(PAYLOAD)];
        let answered = self.simple(&Request { op: numbers::OP_RESPOND, id, flags, payload, ..Request::default() }, &[]);
        answered.map(|_| ())
    }
}

//! An instance as the host holds it.

use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headstart_base::bridge_capnp::instance;
use headstart_base::{Error, ErrorCode, Result};

use super::{Counted, Stream, decode, encode};
use crate::instance::{Instance, Mode};

/// The longest that `events` waits.
const LONGEST_WAIT: u32 = 60_000;
/// The most bytes that `read` gives.
const MOST_READ: u32 = 1 << 20;
const MOST_OPS: u32 = 4096;

pub(super) struct Server {
    instance: Arc<Instance>,
    _counted: Counted,
}

impl Server {
    pub(super) fn new(stream: &Rc<Stream>, instance: Arc<Instance>) -> Self {
        Self { instance, _counted: Counted::new(stream) }
    }

    fn apply_start(&self, params: &instance::StartParams) -> capnp::Result<Result<()>> {
        let params = params.get()?;
        let mode = match params.get_mode() {
            Ok(instance::Mode::Normal) => Mode::Normal,
            Ok(instance::Mode::NoInitscript) => Mode::NoInitscript,
            Ok(instance::Mode::InitscriptOnly) => Mode::InitscriptOnly,
            Ok(instance::Mode::Direct) => Mode::Direct,
            Err(_) => return Ok(Err(Error::new(ErrorCode::InvalidArgument, "the mode is unknown"))),
        };
        Ok(self.instance.start(params.get_function_digest()?.to_str()?, mode, params.get_received_at()))
    }

    fn apply_ops(&self, params: &instance::SubmitParams) -> capnp::Result<Result<()>> {
        let ops = params.get()?.get_ops()?;
        if ops.len() > MOST_OPS {
            return Ok(Err(Error::new(ErrorCode::TooMany, format!("a batch has at most {MOST_OPS} operations"))));
        }
        let ops = ops.iter().map(decode::op).collect::<capnp::Result<Result<Vec<_>>>>()?;
        Ok(ops.and_then(|ops| self.instance.submit(ops)))
    }
}

/// `start` and `submit` do their work when they are called, not when their future is first polled: what the host sends one
/// after the other is applied one after the other.
impl instance::Server for Server {
    fn start(
        self: Rc<Self>,
        params: instance::StartParams,
        mut results: instance::StartResults,
    ) -> impl Future<Output = capnp::Result<()>> + 'static {
        ready(self.apply_start(&params).map(|started| {
            encode::error(results.get().init_error(), started.err().as_ref());
        }))
    }

    fn submit(
        self: Rc<Self>,
        params: instance::SubmitParams,
        mut results: instance::SubmitResults,
    ) -> impl Future<Output = capnp::Result<()>> + 'static {
        ready(self.apply_ops(&params).map(|applied| {
            encode::error(results.get().init_error(), applied.err().as_ref());
        }))
    }

    async fn events(
        self: Rc<Self>,
        params: instance::EventsParams,
        mut results: instance::EventsResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let wait = Duration::from_millis(params.get_wait_millis().min(LONGEST_WAIT).into());
        let after = params.get_after();
        let events = self.instance.events.wait(after, wait).await;
        let mut answer = results.get();
        match events {
            Ok(events) => {
                let mut list = answer.reborrow().init_events(u32::try_from(events.len()).unwrap_or(u32::MAX));
                for (index, (seq, event)) in (0_u32..).zip(&events) {
                    encode::event(list.reborrow().get(index), *seq, event)?;
                }
                encode::error(answer.init_error(), None);
            }
            Err(error) => encode::error(answer.init_error(), Some(&error)),
        }
        Ok(())
    }

    async fn read(
        self: Rc<Self>,
        params: instance::ReadParams,
        mut results: instance::ReadResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let length = params.get_length().min(MOST_READ);
        let mut answer = results.get();
        match self.instance.read_reply(params.get_rpc(), params.get_offset(), length) {
            Ok(bytes) => {
                answer.set_data(&bytes);
                encode::error(answer.init_error(), None);
            }
            Err(error) => encode::error(answer.init_error(), Some(&error)),
        }
        Ok(())
    }

    async fn read_message(
        self: Rc<Self>,
        params: instance::ReadMessageParams,
        mut results: instance::ReadMessageResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let length = params.get_length().min(MOST_READ);
        let mut answer = results.get();
        match self.instance.read_message(params.get_id(), params.get_offset(), length) {
            Ok(bytes) => {
                answer.set_data(&bytes);
                encode::error(answer.init_error(), None);
            }
            Err(error) => encode::error(answer.init_error(), Some(&error)),
        }
        Ok(())
    }

    async fn stop(
        self: Rc<Self>,
        params: instance::StopParams,
        mut results: instance::StopResults,
    ) -> capnp::Result<()> {
        self.instance.stop(&params.get()?.get_reason()?.to_string()?);
        encode::error(results.get().init_error(), None);
        Ok(())
    }

    async fn snapshot(
        self: Rc<Self>,
        _: instance::SnapshotParams,
        mut results: instance::SnapshotResults,
    ) -> capnp::Result<()> {
        let mut answer = results.get();
        answer.set_json(self.instance.snapshot().to_string().as_str());
        encode::error(answer.init_error(), None);
        Ok(())
    }
}

//! Operations of the host, applied in order.

use std::collections::HashSet;
use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};

use crate::instance::conns::Key;
use crate::instance::event::Kind;
use crate::instance::{Instance, Stage, State, closed, error};

/// `Op` of schema/bridge.capnp.
#[derive(Debug)]
pub(crate) enum Op {
    Connect { conn: u32, address: String },
    Send { conn: u32, rpc: u64, request: Vec<u8>, timeout_millis: u32, place: Option<Named> },
    MessageData { id: u64, data: Vec<u8>, content: String },
    MessageReply { id: u64, rpc: u64, content: String },
    Decide { claim: u64, error: Error },
    Cancel(u64),
    Note(String),
    ScriptEnded,
    Void(u64),
    Transfer { id: u64, address: String, conn: u32 },
    Adopt { conn: u32, id: u64, address: String },
    Withdraw { id: u64, address: String, of_app: bool },
}

/// A reply's destination as the script says it.
#[derive(Debug)]
pub(crate) struct Named {
    /// "file:/path".
    pub(crate) place: String,
    pub(crate) offset: u64,
    /// 0: up to the file's end.
    pub(crate) room: u64,
}

impl Instance {
    /// Applies a batch, or nothing of it when it is malformed.
    pub(crate) fn submit(self: &Arc<Self>, ops: Vec<Op>) -> Result<()> {
        if matches!(self.stage(), Stage::Stopping | Stage::Ended) {
            return Err(closed());
        }
        check(&self.lock(), &ops)?;
        for op in ops {
            self.apply(op);
        }
        self.bound_events();
        Ok(())
    }

    fn apply(self: &Arc<Self>, op: Op) {
        match op {
            Op::Connect { conn, address } => self.connect(conn, &address),
            Op::Send { conn, rpc, request, timeout_millis, place } => {
                self.send(conn, rpc, &request, timeout_millis, place.as_ref());
            }
            Op::MessageData { id, data, content } => self.publish_data(id, content, &data),
            Op::MessageReply { id, rpc, content } => self.publish_reply(id, rpc, content),
            Op::Decide { claim, error } => {
                if !self.decide_conn(claim, &error) {
                    self.decide(claim, error);
                }
            }
            Op::Cancel(rpc) => self.cancel(rpc),
            Op::Note(text) => self.events.push(Kind::Noted(text)),
            Op::ScriptEnded => {
                let left = {
                    let mut state = self.lock();
                    state.script_ended = true;
                    std::mem::take(&mut state.conns.named)
                };
                // Those on which RPCs are under way live as long as these.
                drop(left);
                self.script_ahead.notify_one();
            }
            Op::Void(id) => self.void(id),
            Op::Transfer { id, address, conn } => self.transfer(id, address, conn),
            Op::Adopt { conn, id, address } => self.adopt(conn, id, &address),
            Op::Withdraw { id, address, of_app: false } => self.withdraw_offer(id, &address),
            Op::Withdraw { id, address, of_app: true } => self.withdraw_gift(id, &address),
        }
    }
}

/// What would make a batch malformed: an id that is not new, or one that is not known.
fn check(state: &State, ops: &[Op]) -> Result<()> {
    let limits = state.function.as_ref().map(|function| function.limits);
    let mut conns: HashSet<u32> = HashSet::new();
    let mut rpcs: HashSet<u64> = HashSet::new();
    let mut messages: HashSet<u64> = HashSet::new();
    let mut offers: HashSet<Key> = HashSet::new();
    let of_script =
        |op: &Op| matches!(op, Op::Connect { .. } | Op::Send { .. } | Op::Transfer { .. } | Op::Adopt { .. });
    if state.script_ended && ops.iter().any(of_script) {
        return Err(error(ErrorCode::InvalidArgument, "the script has ended"));
    }
    for op in ops {
        match op {
            Op::Connect { conn, .. } | Op::Adopt { conn, .. } => {
                if state.conns.named.contains_key(conn) || !conns.insert(*conn) {
                    return Err(error(ErrorCode::InvalidArgument, format!("connection {conn} has an address already")));
                }
            }
            Op::Transfer { id, address, conn } => {
                let key = Key::new(*id, address);
                if state.conns.offered(&key) || !offers.insert(key) {
                    let message = format!("connection {id} to {address:.200} was handed over before");
                    return Err(error(ErrorCode::AlreadyExists, message));
                }
                if !state.conns.named.contains_key(conn) && !conns.contains(conn) {
                    let message = format!("connection {conn} was not named by a connect");
                    return Err(error(ErrorCode::InvalidArgument, message));
                }
            }
            Op::Send { rpc, .. } => {
                if state.rpcs.contains_key(rpc) || !rpcs.insert(*rpc) {
                    return Err(error(ErrorCode::RpcDuplicate, format!("RPC {rpc} was sent before")));
                }
            }
            Op::MessageData { id, .. } | Op::MessageReply { id, .. } => {
                if state.messages.contains_key(id) || !messages.insert(*id) {
                    return Err(error(ErrorCode::MessageDuplicate, format!("message {id} was sent before")));
                }
                if let Op::MessageReply { rpc, .. } = op
                    && !state.rpcs.contains_key(rpc)
                    && !rpcs.contains(rpc)
                {
                    return Err(error(
                        ErrorCode::RpcUnknown,
                        format!("message {id} is of RPC {rpc}, which was not sent"),
                    ));
                }
            }
            Op::Decide { .. } | Op::Cancel(_) | Op::Note(_) | Op::ScriptEnded | Op::Void(_) | Op::Withdraw { .. } => {}
        }
    }
    let Some(limits) = limits else { return Ok(()) };
    let beyond = |code, what: &str, use_of: usize, limit: u32| match use_of > limit as usize {
        true => {
            Err(error(code, format!("an initscript may have {limit} {what} ([initscript.limits]): these are {use_of}")))
        }
        false => Ok(()),
    };
    let connections = state.conns.named.len() + conns.len();
    beyond(ErrorCode::InitscriptConnections, "connections", connections, limits.connections)?;
    beyond(ErrorCode::InitscriptMessages, "messages", state.messages.len() + messages.len(), limits.messages)
}

//! A program that is to be stopped for a snapshot: what it says, and what it does not get.

use headstart_base::app_capnp::{AppOp, FLAG_ERROR};
use headstart_base::{Error, ErrorCode};

use crate::app::connection::{Beside, Connection};
use crate::app::packet::{Answer, Request};
use crate::app::requests::Answered;

impl Connection {
    /// The program is ready to be stopped, or says why it never will be.
    pub(super) fn checkpoint(&self, request: &Request<'_>) -> Answered {
        let said = || String::from_utf8_lossy(request.payload).into_owned();
        let ready = match request.has(FLAG_ERROR) {
            true => Err(Error::new(ErrorCode::SnapshotFailed, said())),
            false => Ok(()),
        };
        self.instance.ready_for_snapshot(ready)?;
        Ok((Answer::default(), Beside::Nothing))
    }

    /// Why such a program does not get this: it is for one instance, and all that go on from the snapshot would have it.
    pub(super) fn refuse_before_snapshot(&self, op: AppOp) -> Option<Error> {
        let (code, message) = match op {
            AppOp::RecvMsg | AppOp::GetConn => (ErrorCode::Miss, "there is no initscript before the snapshot"),
            AppOp::Next | AppOp::Respond | AppOp::TransferConn | AppOp::Segment => {
                (ErrorCode::Unsupported, "the program is being made a snapshot of: it says `checkpoint` first")
            }
            _ => return None,
        };
        self.instance.makes_snapshot().then(|| Error::new(code, message))
    }
}

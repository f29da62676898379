//! What an instance holds now, for people and tests.

use serde_json::{Value, json};

use crate::instance::Instance;
use crate::instance::body::Phase;

impl Instance {
    pub(crate) fn snapshot(&self) -> Value {
        let segments: Vec<Value> = self
            .memory
            .list()
            .into_iter()
            .map(|(number, bytes, bodies)| json!({ "segment": number, "bytes": bytes, "bodies": bodies }))
            .collect();
        let files: Vec<Value> = self
            .memory
            .list_files()
            .into_iter()
            .map(|(number, path, bytes)| json!({ "segment": number, "path": &*path, "bytes": bytes }))
            .collect();
        let (results, traffic) = self.memory.used();
        let shared: Vec<Value> = self.memory.owners().iter().map(|owner| json!({ "id": owner })).collect();
        let state = self.lock();
        let rpcs: Vec<Value> = state
            .rpcs
            .iter()
            .map(|(id, rpc)| {
                let (phase, status) = match rpc.body.phase() {
                    Phase::Waiting => ("sent", 0),
                    Phase::Receiving { status, .. } => ("receiving", status),
                    Phase::Done(finished) => ("done", finished.status),
                    Phase::Failed(_) => ("failed", 0),
                };
                json!({
                    "rpc": id, "content": rpc.content, "phase": phase, "status": status,
                    "written": rpc.body.written(), "voided": rpc.voided,
                })
            })
            .collect();
        let messages: Vec<Value> = state
            .messages
            .iter()
            .map(|(id, message)| {
                json!({ "id": id, "content": message.content, "claimed": message.claimed, "voided": message.voided })
            })
            .collect();
        let (offers, gifts, carried) = state.conns.counts();
        json!({
            "id": self.id,
            "tenant": self.tenant,
            "stage": format!("{:?}", self.stage()).to_lowercase(),
            "function": state.function.as_ref().map(|function| function.name.clone()),
            "digest": state.function.as_ref().map(|function| function.digest.clone()),
            "mode": state.mode,
            "startedAt": state.started_at,
            "leased": state.lease.is_some(),
            "sandboxPid": state.sandbox_pid,
            "segments": segments,
            "files": files,
            "shared": shared,
            "memory": { "results": results, "traffic": traffic },
            "rpcs": rpcs,
            "messages": messages,
            "claims": state.claims.len(),
            "inbox": state.inbox.len(),
            "offers": offers,
            "gifts": gifts,
            "carried": carried,
            "invocations": state.invocations.open(),
            "connections": state.connections,
            "scriptEnded": state.script_ended,
        })
    }
}

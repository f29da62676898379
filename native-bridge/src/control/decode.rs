//! What the host says, from Cap'n Proto.
//!
//! The outer result is a malformed message (an exception, for that is a bug of the host), the inner one an expected error.

use std::time::Duration;

use headstart_base::bridge_capnp::{function, message, op, pair};
use headstart_base::{Error, ErrorCode, Result};
use headstart_net::Egress;
use headstart_sandbox::Isolation;

use crate::functions::{FileSpec, Function, Limits};
use crate::instance::ops::{Named, Op};
use crate::node::{Node, is_name};
use crate::shared::Share;

/// Files of one function.
const MOST_FILES: usize = 16;
const MOST_FILE_BYTES: u64 = 64 << 30;

type Decoded<T> = capnp::Result<Result<T>>;

pub(super) fn op(op: op::Reader<'_>) -> Decoded<Op> {
    let Ok(which) = op.which() else {
        return Ok(Err(Error::new(ErrorCode::InvalidArgument, "an operation is of an unknown kind")));
    };
    Ok(Ok(match which {
        op::Connect(connect) => {
            let connect = connect?;
            Op::Connect { conn: connect.get_conn(), address: connect.get_address()?.to_string()? }
        }
        op::Send(send) => {
            let send = send?;
            Op::Send {
                conn: send.get_conn(),
                rpc: send.get_rpc(),
                request: send.get_request()?.to_vec(),
                timeout_millis: send.get_timeout_millis(),
                place: Some(send.get_place()?.to_string()?).filter(|place| !place.is_empty()).map(|place| Named {
                    place,
                    offset: send.get_place_offset(),
                    room: send.get_place_room(),
                }),
            }
        }
        op::Message(message) => {
            let message = message?;
            let (id, content) = (message.get_id(), message.get_content()?.to_string()?);
            match message.which() {
                Ok(message::Data(data)) => Op::MessageData { id, data: data?.to_vec(), content },
                Ok(message::Reply(rpc)) => Op::MessageReply { id, rpc, content },
                Err(_) => return Ok(Err(Error::new(ErrorCode::InvalidArgument, "a message is of an unknown kind"))),
            }
        }
        op::Decide(decide) => {
            let decide = decide?;
            let error = decide.get_error()?;
            let code = error.get_code().unwrap_or(ErrorCode::Internal);
            Op::Decide { claim: decide.get_claim(), error: Error::new(code, error.get_message()?.to_string()?) }
        }
        op::Cancel(rpc) => Op::Cancel(rpc),
        op::Note(text) => Op::Note(text?.to_string()?),
        op::ScriptEnded(()) => Op::ScriptEnded,
        op::Void(id) => Op::Void(id),
        op::Transfer(transfer) => {
            let transfer = transfer?;
            Op::Transfer {
                id: transfer.get_id(),
                address: transfer.get_address()?.to_string()?,
                conn: transfer.get_conn(),
            }
        }
        op::Adopt(adopt) => {
            let adopt = adopt?;
            Op::Adopt { conn: adopt.get_conn(), id: adopt.get_id(), address: adopt.get_address()?.to_string()? }
        }
        op::Withdraw(withdraw) => {
            let withdraw = withdraw?;
            let address = withdraw.get_address()?.to_string()?;
            Op::Withdraw { id: withdraw.get_id(), address, of_app: withdraw.get_of_app() }
        }
    }))
}

/// The isolation of functions with snapshots.
pub(super) const SNAPSHOT: &str = "snapshot";

pub(super) fn function(wire: function::Reader<'_>, node: &Node) -> Decoded<Function> {
    let wrong = |what: String| Ok(Err(Error::new(ErrorCode::InvalidArgument, what)));
    let digest = wire.get_digest()?.to_string()?;
    if digest.is_empty() || digest.len() > 128 {
        return wrong("a function's digest is 1 to 128 characters".into());
    }
    let tenant = wire.get_tenant()?.to_string()?;
    if !is_name(&tenant) {
        return wrong("a tenant's name is 1 to 64 of a-z, A-Z, 0-9, - and _".into());
    }
    let bundle = wire.get_bundle()?.to_string()?;
    let Some(hex) = bundle.strip_prefix("sha256:").filter(|hex| crate::http::is_digest(hex)) else {
        return wrong(format!("a bundle is sha256:<64 hex digits>, not {bundle:.80}"));
    };
    let folder = node.config.bundles_dir().join(hex);
    let isolation_name = wire.get_isolation()?.to_string()?;
    // Where a program goes on from a snapshot, gVisor is what it goes on in.
    let snapshot = isolation_name == SNAPSHOT;
    let Some(isolation) = Isolation::parse(if snapshot { Isolation::Gvisor.name() } else { &isolation_name }) else {
        return wrong(format!("isolation {isolation_name:.40} is unknown: gvisor, bubblewrap or wasm"));
    };
    if !node.sandboxes.isolations().contains(&isolation.name()) {
        let message = format!("isolation {isolation_name} does not work on this node");
        return Ok(Err(Error::new(ErrorCode::SandboxUnsupported, message)));
    }
    if snapshot && (wire.get_network() || !wire.get_files()?.is_empty()) {
        return wrong("a function with snapshots has neither a network nor files of its own".into());
    }
    let command = texts(wire.get_command()?)?;
    if command.is_empty() && wire.get_image()?.is_empty() && isolation != Isolation::Wasm {
        return wrong("the function has no command".into());
    }
    let egress = match Egress::parse(&texts(wire.get_egress()?)?) {
        Ok(egress) => egress,
        Err(error) => return Ok(Err(error)),
    };
    let share = match Egress::parse(&texts(wire.get_share()?)?) {
        Ok(rules) => rules,
        Err(Error { code, message }) => {
            return Ok(Err(Error::new(code, format!("[initscript.share] allow: {message}"))));
        }
    };
    let share = wire
        .has_share()
        .then(|| Share { rules: share, ttl: Duration::from_millis(wire.get_share_ttl_millis().into()) });
    let mut files = Vec::new();
    for file in wire.get_files()? {
        files.push(FileSpec { path: file.get_path()?.to_string()?, bytes: file.get_bytes() });
    }
    if let Err(error) = check_files(&files) {
        return Ok(Err(error));
    }
    let secrets = pairs(wire.get_secrets()?)?;
    let mut stores = Vec::new();
    for (scheme, name) in &secrets {
        match node.secrets.find(&tenant, name).and_then(|secret| secret.store(scheme)) {
            Ok(found) => stores.push((scheme.clone(), found)),
            Err(error) => return Ok(Err(error)),
        }
    }
    if !folder.is_dir() {
        let message = format!("bundle {bundle} is not on the node: put it first");
        return Ok(Err(Error::new(ErrorCode::UnknownBundle, message)));
    }
    let image = Some(wire.get_image()?.to_string()?).filter(|image| !image.is_empty());
    if let Some(image) = &image
        && let Err(error) = node.images.check(image)
    {
        return Ok(Err(error));
    }
    let limits = wire.get_limits()?;
    let limits = Limits {
        memory: limits.get_memory(),
        cpu_millis: limits.get_cpu_millis(),
        pids: limits.get_pids(),
        timeout_millis: limits.get_timeout_millis(),
        results: limits.get_results(),
        rpcs: limits.get_rpcs(),
        connections: limits.get_connections(),
        messages: limits.get_messages(),
        rpc_timeout_millis: limits.get_rpc_timeout_millis(),
        event_bytes: limits.get_event_bytes(),
        answer_bytes: limits.get_answer_bytes(),
    }
    .or_default();
    Ok(Ok(Function {
        digest,
        name: wire.get_name()?.to_string()?,
        tenant,
        bundle: folder,
        isolation,
        snapshot,
        base: wire.get_base()?.to_string()?,
        image,
        command,
        env: pairs(wire.get_env()?)?,
        limits,
        egress,
        secrets,
        stores,
        marks: texts(wire.get_marks()?)?.into_iter().filter(|mark| !mark.is_empty()).collect(),
        network: wire.get_network(),
        share,
        files,
    }))
}

fn check_files(files: &[FileSpec]) -> Result<()> {
    if files.len() > MOST_FILES {
        let message = format!("a function has at most {MOST_FILES} files ([app.files])");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    for (index, FileSpec { path, bytes }) in files.iter().enumerate() {
        headstart_sandbox::check_file_path(path)?;
        if *bytes == 0 || *bytes > MOST_FILE_BYTES {
            let message = format!("file {path}: it has 1 to {MOST_FILE_BYTES} bytes, not {bytes}");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let within = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        let clashes = |other: &FileSpec| other.path == *path || within(&other.path, path) || within(path, &other.path);
        if files.iter().take(index).any(clashes) {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("file {path} is named twice, or lies in another"),
            ));
        }
    }
    Ok(())
}

fn texts(list: capnp::text_list::Reader<'_>) -> capnp::Result<Vec<String>> {
    list.iter().map(|text| Ok(text?.to_string()?)).collect()
}

fn pairs(list: capnp::struct_list::Reader<'_, pair::Owned>) -> capnp::Result<Vec<(String, String)>> {
    list.iter().map(|pair| Ok((pair.get_name()?.to_string()?, pair.get_value()?.to_string()?))).collect()
}

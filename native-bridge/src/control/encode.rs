//! What the bridge says, into Cap'n Proto.

use headstart_base::bridge_capnp::{conn_taken, event, log_line, reply};
use headstart_base::{Error, ErrorCode, errors_capnp};
use headstart_sandbox::Stream;

use crate::instance::body::Finished;
use crate::instance::conns::How;
use crate::instance::event::{Event, Kind};

pub(super) fn error(mut wire: errors_capnp::error::Builder<'_>, error: Option<&Error>) {
    wire.set_code(error.map_or(ErrorCode::Ok, |error| error.code));
    if let Some(error) = error {
        wire.set_message(error.message.as_str());
    }
}

pub(super) fn event(mut wire: event::Builder<'_>, seq: u64, event: &Event) -> capnp::Result<()> {
    wire.set_seq(seq);
    wire.set_at(event.at);
    match &event.kind {
        Kind::Received => wire.set_received(()),
        Kind::Started => wire.set_started(()),
        Kind::SandboxCreated(pid) => wire.set_sandbox_created(*pid),
        Kind::AppConnected(client) => wire.set_app_connected(client.as_str()),
        Kind::InvocationTaken(number) => wire.set_invocation_taken(*number),
        Kind::AnswerBegun(number) => wire.set_answer_begun(*number),
        Kind::AnswerEnded { invocation, bytes, error: why } => {
            let mut ended = wire.init_answer_ended();
            ended.set_invocation(*invocation);
            ended.set_bytes(*bytes);
            error(ended.init_error(), why.as_ref());
        }
        Kind::Mark(text) => wire.set_mark(text.as_str()),
        Kind::Log { stream, text } => {
            let mut line = wire.init_log();
            line.set_stream(match stream {
                Stream::Stdout => log_line::Stream::Stdout,
                Stream::Stderr => log_line::Stream::Stderr,
            });
            line.set_text(text.as_str());
        }
        Kind::SandboxExited { status, signal, error: why } => {
            let mut exited = wire.init_sandbox_exited();
            exited.set_status(*status);
            exited.set_signal(*signal);
            error(exited.init_error(), why.as_ref());
        }
        Kind::RpcAccepted { rpc, content, idempotent } => {
            let mut accepted = wire.init_rpc_accepted();
            accepted.set_rpc(*rpc);
            accepted.set_content(content.as_str());
            accepted.set_idempotent(*idempotent);
        }
        Kind::RpcSent { rpc, reused, attempt } => {
            let mut sent = wire.init_rpc_sent();
            sent.set_rpc(*rpc);
            sent.set_reused(*reused);
            sent.set_attempt(*attempt);
        }
        Kind::RpcShared { rpc, age } => {
            let mut shared = wire.init_rpc_shared();
            shared.set_rpc(*rpc);
            shared.set_age_nanos(*age);
        }
        Kind::ImagePulled { image, bytes, layers } => {
            let mut pulled = wire.init_image_pulled();
            pulled.set_image(image.as_str());
            pulled.set_bytes(*bytes);
            pulled.set_layers(*layers);
        }
        Kind::ImageUnpacked(bytes) => wire.set_image_unpacked(*bytes),
        Kind::InitscriptPulled { artifact, bytes, nanos } => {
            let mut pulled = wire.init_initscript_pulled();
            pulled.set_artifact(artifact.as_str());
            pulled.set_bytes(*bytes);
            pulled.set_nanos(*nanos);
        }
        Kind::RpcFirstByte(rpc) => wire.set_rpc_first_byte(*rpc),
        Kind::RpcDone { rpc, outcome } => {
            let mut done = wire.init_rpc_done();
            done.set_rpc(*rpc);
            match outcome {
                Ok(finished) => {
                    reply(done.reborrow().init_reply(), finished);
                    error(done.init_error(), None);
                }
                Err(why) => error(done.init_error(), Some(why)),
            }
        }
        Kind::Claimed { claim, id, content, diverges, deadline_millis } => {
            let mut claimed = wire.init_claimed();
            claimed.set_claim(*claim);
            claimed.set_id(*id);
            claimed.set_content(content.as_str());
            claimed.set_diverges(diverges.as_str());
            claimed.set_deadline_millis(*deadline_millis);
        }
        Kind::ClaimedConn { claim, id, address, deadline_millis } => {
            let mut claimed = wire.init_claimed();
            claimed.set_claim(*claim);
            claimed.set_id(*id);
            claimed.set_content(address.as_str());
            claimed.set_deadline_millis(*deadline_millis);
            claimed.set_connection(true);
        }
        Kind::Served { id, bytes, waited, error: why } => {
            let mut served = wire.init_served();
            served.set_id(*id);
            served.set_bytes(*bytes);
            served.set_waited_nanos(*waited);
            error(served.init_error(), why.as_ref());
        }
        Kind::Called { content, status, bytes, nanos, error: why } => {
            let mut called = wire.init_called();
            called.set_content(content.as_str());
            called.set_status(*status);
            called.set_bytes(*bytes);
            called.set_nanos(*nanos);
            error(called.init_error(), why.as_ref());
        }
        Kind::Noted(text) => wire.set_noted(text.as_str()),
        Kind::Published(id) => wire.set_published(*id),
        Kind::MessageFailed { id, error: why } => {
            let mut failed = wire.init_message_failed();
            failed.set_id(*id);
            error(failed.init_error(), Some(why));
        }
        Kind::AppMessage { id, length, inlined } => {
            let mut message = wire.init_app_message();
            message.set_id(*id);
            message.set_length(*length);
            if let Some(bytes) = inlined {
                message.set_inlined(bytes);
            }
        }
        Kind::ConnOffered { id, address } => {
            let mut offered = wire.init_conn_offered();
            offered.set_id(*id);
            offered.set_address(address.as_str());
        }
        Kind::ConnReady { id, address, error: why } => {
            let mut ready = wire.init_conn_ready();
            ready.set_id(*id);
            ready.set_address(address.as_str());
            error(ready.init_error(), why.as_ref());
        }
        Kind::ConnTaken { id, address, how, error: why } => {
            let mut taken = wire.init_conn_taken();
            taken.set_id(*id);
            taken.set_address(address.as_str());
            taken.set_kind(match how {
                How::Socket => conn_taken::Kind::Socket,
                How::Spliced => conn_taken::Kind::Spliced,
                How::Tls => conn_taken::Kind::Tls,
            });
            error(taken.init_error(), why.as_ref());
        }
        Kind::ConnClosed { id, address, received, sent, error: why } => {
            let mut closed = wire.init_conn_closed();
            closed.set_id(*id);
            closed.set_address(address.as_str());
            closed.set_received(*received);
            closed.set_sent(*sent);
            error(closed.init_error(), why.as_ref());
        }
        Kind::ConnReleased { id, address } => {
            let mut released = wire.init_conn_released();
            released.set_id(*id);
            released.set_address(address.as_str());
        }
        Kind::Ended { reason, unclaimed_messages, unclaimed_bytes, segments } => {
            let mut ended = wire.init_ended();
            ended.set_reason(reason.as_str());
            ended.set_unclaimed_messages(*unclaimed_messages);
            ended.set_unclaimed_bytes(*unclaimed_bytes);
            ended.set_segments(*segments);
        }
    }
    Ok(())
}

fn reply(mut wire: reply::Builder<'_>, finished: &Finished) {
    wire.set_status(finished.status);
    wire.set_segment(finished.place.segment);
    wire.set_offset(finished.place.offset);
    wire.set_length(finished.length);
    if let Some(bytes) = &finished.inlined {
        wire.set_inlined(bytes);
    }
    wire.set_attempts(finished.attempts);
    if let Some(path) = &finished.file {
        wire.set_place(format!("file:{path}").as_str());
    }
    let mut headers = wire.init_headers(u32::try_from(finished.headers.len()).unwrap_or(0));
    for (index, (name, value)) in (0_u32..).zip(&finished.headers) {
        let mut header = headers.reborrow().get(index);
        header.set_name(name.as_str());
        header.set_value(value.as_str());
    }
}

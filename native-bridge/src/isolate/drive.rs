//! Invocations to an isolate: its workerd is an HTTP server, and the bridge its only client.

use std::sync::Arc;
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result};
use headstart_sandbox::ISOLATE_SERVES;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as HttpBody, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::http::Cut;
use crate::instance::Instance;
use crate::instance::body::Finished;
use crate::instance::invocations::Head;
use crate::isolate::pieces::Pieces;

/// What is said of the client, as others say theirs.
const CLIENT: &str = "isolate";
/// A handler's failure, instead of an answer.
const FAILED: &str = "x-headstart-failed";
/// Bytes of the text of a failure.
const FAILURE_BYTES: usize = 64 << 10;
/// How long one wait for an invocation takes.
const NEXT: Duration = Duration::from_secs(3600);
/// How long the end of a process may take to be seen, once its connection is.
const END_SEEN: Duration = Duration::from_secs(5);

/// Gives the isolate its invocations, one after the other, until the instance ends.
pub(crate) async fn drive(instance: &Arc<Instance>) {
    tokio::select! {
        () = serve(instance) => {}
        () = instance.closing.cancelled() => {}
    }
}

async fn serve(instance: &Arc<Instance>) {
    let ready = ready(instance).await;
    loop {
        let (number, event) = match instance.next(NEXT).await {
            Ok(taken) => taken,
            Err(error) if error.code == ErrorCode::Deadline => continue,
            Err(_) => return,
        };
        let outcome = match &ready {
            Ok(()) => invoke(instance, number, event).await,
            Err(error) => Err(error.clone()),
        };
        let Err(error) = outcome else { continue };
        if error.code == ErrorCode::AppExited {
            // How it ended is known in a moment, and a better answer.
            tokio::time::sleep(END_SEEN).await;
        }
        instance.end_invocation(number, Err(error));
        if ready.is_err() {
            instance.stop("the application could not be set up");
        }
    }
}

/// Waits until the application's modules have run, and its setup.
async fn ready(instance: &Arc<Instance>) -> Result<()> {
    let request = Request::builder().method(Method::POST).uri("/setup").header("host", "isolate");
    let response = send(instance, request.body(Empty::<Bytes>::new())).await?;
    instance.app_connected(CLIENT.to_owned());
    match failure(response).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn invoke(instance: &Arc<Instance>, number: u64, event: Arc<Finished>) -> Result<()> {
    let request = Request::builder().method(Method::POST).uri(format!("/invocations/{number}"));
    let request = request.header("host", "isolate").body(Pieces::event(instance, event));
    let mut response = match failure(send(instance, request).await?).await? {
        Ok(response) => response,
        Err(failed) => return Err(failed),
    };
    let head = Head::of(response.status(), std::mem::take(response.headers_mut()))
        .map_err(|error| Error::new(ErrorCode::FunctionFailed, error.message))?;
    instance.answer_head(number, head)?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        instance.answer_piece(number, piece).await?;
    }
    instance.finish_answer(number)
}

/// A request on a connection of its own, which lives as long as its answer.
async fn send<B>(instance: &Arc<Instance>, request: hyper::http::Result<Request<B>>) -> Result<Response<Incoming>>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Cut>,
{
    let request = request.map_err(|error| Error::new(ErrorCode::Internal, format!("a request: {error}")))?;
    let path = instance.node.instance_dir(&instance.id).join(ISOLATE_SERVES);
    let stream = UnixStream::connect(path).await.map_err(broken)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let closing = instance.closing.clone();
    instance.spawn(async move {
        tokio::select! {
            // Its requests tell how it ended.
            _ = connection => {}
            () = closing.cancelled() => {}
        }
    });
    sender.send_request(request).await.map_err(broken)
}

/// The failure that a response tells of, or the response.
async fn failure(response: Response<Incoming>) -> Result<std::result::Result<Response<Incoming>, Error>> {
    if !response.headers().contains_key(FAILED) {
        return Ok(Ok(response));
    }
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        let room = FAILURE_BYTES - text.len();
        text.extend_from_slice(&piece[..piece.len().min(room)]);
        if text.len() == FAILURE_BYTES {
            break;
        }
    }
    Ok(Err(Error::new(ErrorCode::FunctionFailed, String::from_utf8_lossy(&text).into_owned())))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::AppExited, format!("the isolate's connection broke: {error}"))
}

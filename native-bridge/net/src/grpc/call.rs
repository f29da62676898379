//! One unary call on a connection.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use headstart_base::ErrorCode;
use http::{HeaderMap, Method, Uri, Version};
use tokio::time::Instant;

use crate::address::Address;
use crate::body::BodySink;
use crate::canonical;
use crate::client::Progress;
use crate::failure::{Attempt, Failure, Retry};
use crate::head::ResponseHead;
use crate::request::Request;

/// The length prefix of a message: a flag for compression, and four bytes of length.
const PREFIX: usize = 5;
/// Headers of an answer that are told.
const MAX_HEADERS: usize = 100;
/// The longest that `grpc-timeout` can say in milliseconds.
const MAX_TIMEOUT: u128 = 99_999_999;

/// A call.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Address,
    pub(crate) request: &'a Request,
    pub(crate) deadline: Instant,
    pub(crate) first_byte: Duration,
    pub(crate) stall: Duration,
    pub(crate) attempt: u16,
    pub(crate) reused: bool,
}

impl Call<'_> {
    /// Sends the call and receives its answer: the message, or the text of an error, is the body.
    pub(crate) async fn run(
        &self,
        mut connection: SendRequest<Bytes>,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Attempt<(ResponseHead, u64)> {
        let (answer, mut up) = connection.send_request(self.head()?, false).map_err(failed)?;
        let message = &self.request.body;
        let length =
            u32::try_from(message.len()).map_err(|_| Failure::bad_reply("its message is longer than 4 GiB"))?;
        let mut prefix = BytesMut::with_capacity(PREFIX);
        prefix.extend_from_slice(&[0]);
        prefix.extend_from_slice(&length.to_be_bytes());
        up.send_data(prefix.freeze(), false).map_err(failed)?;
        up.send_data(message.clone(), true).map_err(failed)?;
        progress(Progress::Sent { attempt: self.attempt, reused: self.reused });
        let answer = tokio::time::timeout(self.first_byte, answer)
            .await
            .map_err(|_| Failure::timeout("the service did not answer in time"))?
            .map_err(failed)?;
        progress(Progress::FirstByte);
        let (head, body) = answer.into_parts();
        if head.status != 200 {
            return Err(Failure::bad_reply(&format!("HTTP {} is no answer to a gRPC call", head.status.as_u16())));
        }
        let kind = head.headers.get("content-type").map(|kind| kind.as_bytes()).unwrap_or_default();
        if !kind.starts_with(b"application/grpc") {
            return Err(Failure::bad_reply("its content-type is not application/grpc"));
        }
        if head.headers.contains_key("grpc-status") {
            // An error that came alone: there is no message, and nobody waits for one.
            return finish(&head.headers, None, sink);
        }
        self.message(head.headers, body, sink).await
    }

    fn head(&self) -> Attempt<http::Request<()>> {
        let invalid = |_: http::Error| Failure::from(crate::request::invalid("its metadata is malformed"));
        let scheme = if self.endpoint.scheme.is_tls() { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.endpoint.host_header())
            .path_and_query(&self.request.path)
            .build()
            .map_err(invalid)?;
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, MAX_TIMEOUT);
        let mut head = http::Request::builder()
            .version(Version::HTTP_2)
            .method(Method::POST)
            .uri(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", format!("{left}m"));
        if !self.request.headers.iter().any(|(name, _)| name == "user-agent") {
            head = head.header("user-agent", "headstart-bridge");
        }
        for (name, value) in &self.request.headers {
            head = head.header(name, value);
        }
        head.body(()).map_err(invalid)
    }

    /// Receives the one message and what follows it.
    async fn message(
        &self,
        headers: HeaderMap,
        mut body: RecvStream,
        sink: &mut dyn BodySink,
    ) -> Attempt<(ResponseHead, u64)> {
        let mut prefix = BytesMut::with_capacity(PREFIX);
        // The message's length, once it is known, and how much of it has come.
        let mut known: Option<u64> = None;
        let mut come = 0_u64;
        while let Some(mut data) = self.wait(body.data()).await? {
            let size = data.len();
            if known.is_none() {
                let missing = (PREFIX - prefix.len()).min(data.len());
                prefix.extend_from_slice(&data.split_to(missing));
                if let [flag, a, b, c, d] = prefix[..] {
                    if flag != 0 {
                        return Err(Failure::bad_reply("its message is compressed, which nobody asked for"));
                    }
                    let length = u64::from(u32::from_be_bytes([a, b, c, d]));
                    sink.begin(&ResponseHead { headers: told(&headers), ..ResponseHead::plain(0, length) })?;
                    known = Some(length);
                }
            }
            come += data.len() as u64;
            if come > known.unwrap_or_default() {
                return Err(Failure::bad_reply("there is more behind its message"));
            }
            copy(&data, sink)?;
            body.flow_control().release_capacity(size).map_err(failed)?;
        }
        let trailers =
            tokio::time::timeout(self.stall, body.trailers()).await.map_err(|_| stopped())?.map_err(failed)?;
        let Some(trailers) = trailers else {
            return Err(Failure::truncated("it has no grpc-status"));
        };
        if known.is_some_and(|length| come < length) && status(&trailers)? == 0 {
            return Err(Failure::truncated("its message is not whole"));
        }
        finish(&trailers, known, sink)
    }

    async fn wait(&self, data: impl Future<Output = Option<Result<Bytes, h2::Error>>>) -> Attempt<Option<Bytes>> {
        // A peer that is as fast as we are would never let us wait.
        tokio::task::coop::consume_budget().await;
        tokio::time::timeout(self.stall, data).await.map_err(|_| stopped())?.transpose().map_err(failed)
    }
}

/// The end of an answer: what its status says. An error takes the place of a message that came before it.
fn finish(trailers: &HeaderMap, message: Option<u64>, sink: &mut dyn BodySink) -> Attempt<(ResponseHead, u64)> {
    let status = status(trailers)?;
    let mut head = ResponseHead { status, headers: told(trailers), content_length: message };
    match (status, message) {
        (0, Some(length)) => Ok((head, length)),
        (0, None) => Err(Failure::bad_reply("it has no message")),
        _ => {
            let text = head.header("grpc-message").unwrap_or_default();
            let text = canonical::decode(text).unwrap_or_else(|_| text.as_bytes().to_vec());
            head.content_length = Some(text.len() as u64);
            sink.begin(&head)?;
            copy(&text, sink)?;
            Ok((head, text.len() as u64))
        }
    }
}

fn status(trailers: &HeaderMap) -> Attempt<u16> {
    let text = trailers.get("grpc-status").and_then(|status| status.to_str().ok());
    let number = text.filter(|text| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).ok_or_else(|| Failure::bad_reply("its grpc-status is no number"))
}

fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let texts = headers.iter().take(MAX_HEADERS);
    texts.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

fn copy(mut bytes: &[u8], sink: &mut dyn BodySink) -> Attempt<()> {
    while !bytes.is_empty() {
        let count = sink.put(bytes)?;
        bytes = &bytes[count..];
        if count == 0 {
            return Err(Failure::from(headstart_base::Error::new(
                ErrorCode::Internal,
                "there is no room for the body",
            )));
        }
    }
    Ok(())
}

fn stopped() -> Failure {
    Failure::timeout("the service stopped in the middle of its answer")
}

fn failed(error: h2::Error) -> Failure {
    let refused = error.is_remote()
        && match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => true,
            Some(h2::Reason::NO_ERROR) => error.is_go_away(),
            _ => false,
        };
    let mut failure = match error.is_library() && !error.is_io() {
        true => Failure::bad_reply(&error.to_string()),
        false => Failure::again(ErrorCode::ConnectionReset, format!("the call failed: {error}")),
    };
    // A server that refuses a stream, or ends the connection before it, has not looked at it.
    failure.retry = if refused { Retry::Stale } else { Retry::Never };
    failure
}

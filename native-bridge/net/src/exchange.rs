//! One attempt: a request goes out on a connection, its answer comes in.

use std::fmt::Write as _;
use std::time::SystemTime;

use headstart_base::{Error, ErrorCode};
use tokio::time::{Duration, Instant};

use crate::address::{Address, Scheme};
use crate::body::{BodySink, Receiver};
use crate::client::Progress;
use crate::failure::{Failure, Retry};
use crate::head::{self, Head, MAX_HEAD, ResponseHead};
use crate::pool::Key;
use crate::request::Request;
use crate::sigv4::{self, Signable, Signer};
use crate::store::Store;
use crate::stream::{Stream, Taken};

/// Interim answers (1xx) that are skipped.
const MAX_INTERIM: usize = 8;
/// A body up to here travels in one write with the head.
const SMALL_BODY: usize = 16 * 1024;

/// What an attempt needs to know beside the connection.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a Request,
    /// The request's head as it goes on the wire.
    pub(crate) head: String,
    pub(crate) attempt: u16,
    /// Whether the connection was kept from before.
    pub(crate) reused: bool,
    /// Whether an error of the server is worth another attempt; if not, it is an answer like any other.
    pub(crate) retry_errors: bool,
    pub(crate) first_byte: Duration,
    pub(crate) stall: Duration,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) length: u64,
    /// Whether the connection may be kept.
    pub(crate) keep_alive: bool,
}

impl Exchange<'_> {
    pub(crate) async fn run(
        &self,
        stream: &Stream,
        sink: &mut dyn BodySink,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Answer, Failure> {
        let mut answered = false;
        let result = self.head(stream, progress, &mut answered).await.map_err(|mut failure| {
            if self.reused && !answered && failure.retry == Retry::Again {
                failure.retry = Retry::Stale;
            }
            failure
        });
        let (Head { head, framing, keep_alive }, all_sent) = result?;
        if self.retry_errors && matches!(head.status, 500 | 502 | 503 | 504) {
            let message = format!("the service answered {}", head.status);
            return Err(Failure::again(ErrorCode::BadReply, message));
        }
        sink.begin(&head)?;
        let mut receiver = Receiver { stream, sink, stall: self.stall };
        let length = receiver.body(framing).await?;
        Ok(Answer { head, length, keep_alive: keep_alive && all_sent })
    }

    /// Sends the request and receives the head of its answer; also whether the whole request was sent.
    async fn head(
        &self,
        stream: &Stream,
        progress: &mut (dyn FnMut(Progress) + Send),
        answered: &mut bool,
    ) -> Result<(Head, bool), Failure> {
        let all_sent = self.send(stream, progress).await?;
        let deadline = Instant::now() + self.first_byte;
        let mut buffer = Vec::new();
        for _ in 0..=MAX_INTERIM {
            let taking = stream.take(MAX_HEAD, &mut buffer, |bytes| {
                if !*answered {
                    *answered = true;
                    progress(Progress::FirstByte);
                }
                head::find(bytes)
            });
            let taken = tokio::time::timeout_at(deadline, taking)
                .await
                .map_err(|_| Failure::timeout("the service did not answer in time"))??;
            match taken {
                Taken::Whole => {}
                Taken::TooLong => return Err(Failure::bad_reply("its head is longer than 16 KiB")),
                Taken::Closed(0) => return Err(Failure::closed()),
                Taken::Closed(_) => return Err(Failure::truncated("the connection was closed in its head")),
            }
            let head = head::parse(&buffer, &self.request.verb)?;
            match head.head.status {
                101 => return Err(Failure::bad_reply("it switches to a protocol that nobody asked for")),
                100..=199 => {}
                _ => return Ok((head, all_sent)),
            }
        }
        Err(Failure::bad_reply("it has too many interim answers"))
    }

    /// Sends head and body. False when the service answered before it had all of the body.
    async fn send(&self, stream: &Stream, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<bool, Failure> {
        let body = &self.request.body[..];
        let mut first = self.head.as_bytes().to_vec();
        let mut rest = body;
        if body.len() <= SMALL_BODY {
            first.extend_from_slice(body);
            rest = &[];
        }
        let mut told = false;
        for mut piece in [&first[..], rest] {
            while !piece.is_empty() {
                let sent = tokio::time::timeout_at(Instant::now() + self.stall, stream.send(piece))
                    .await
                    .map_err(|_| Failure::timeout("the service stopped taking the request"))??;
                let Some(count) = sent.filter(|&count| count > 0) else { return Ok(false) };
                if !told {
                    told = true;
                    progress(Progress::Sent { attempt: self.attempt, reused: self.reused });
                }
                piece = &piece[count..];
            }
        }
        Ok(true)
    }
}

/// Where a request goes and how: the endpoint, and who signs.
pub(crate) struct Route<'a> {
    pub(crate) endpoint: &'a Address,
    /// The operator's store at the endpoint, if there is one.
    pub(crate) store: Option<&'a Store>,
    pub(crate) signer: Option<Signer<'a>>,
    /// What stands before the path on the wire: S3's bucket.
    bucket: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// The route to an address. `unknownSecret` for what needs a store and has none.
    pub(crate) fn new(address: &'a Address, store: Option<&'a Store>) -> Result<Self, Error> {
        let store = store.filter(|store| store.serves(address));
        if !address.scheme.needs_store() {
            return Ok(Self { endpoint: address, store, signer: None, bucket: None });
        }
        let name = address.scheme.name();
        let signer = store.and_then(|store| store.signer(name)).ok_or_else(|| {
            let message = format!("{address} needs a store: name one in the function's [secrets] as {name} = \"…\"");
            Error::new(ErrorCode::UnknownSecret, message)
        })?;
        let bucket = (address.scheme == Scheme::S3).then_some(&address.host[..]);
        Ok(Self { endpoint: store.map_or(address, |store| &store.endpoint), store, signer: Some(signer), bucket })
    }

    /// Whose connections such requests use.
    pub(crate) fn key(&self, tenant: &str) -> Key {
        Key { tenant: tenant.to_owned(), endpoint: self.endpoint.clone(), is_store: self.store.is_some() }
    }

    /// The head of a request as it goes on the wire. `payload` is the body's hex SHA-256, where it is signed.
    pub(crate) fn head(&self, request: &Request, payload: &str) -> String {
        let host = self.endpoint.host_header();
        let path = match self.bucket {
            Some(bucket) => format!("/{bucket}{}", request.path),
            None => request.path.clone(),
        };
        let mut head = format!("{} {path} HTTP/1.1\r\nhost: {host}\r\n", request.verb);
        let has = |name: &str| request.headers.iter().any(|(header, _)| header == name);
        if !has("user-agent") {
            head.push_str("user-agent: headstart-bridge\r\n");
        }
        if !request.body.is_empty() || matches!(request.verb.as_str(), "PUT" | "POST" | "PATCH") {
            let _ = write!(head, "content-length: {}\r\n", request.body.len());
        }
        for (name, value) in &request.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(signer) = self.signer {
            let date = sigv4::amz_date(SystemTime::now());
            let mut headers: Vec<(&str, &str)> =
                vec![("host", &host), ("x-amz-content-sha256", payload), ("x-amz-date", &date)];
            let signed = |name: &str| name != "user-agent";
            headers.extend(
                request.headers.iter().map(|(name, value)| (&name[..], &value[..])).filter(|(name, _)| signed(name)),
            );
            let signable = Signable { verb: &request.verb, path: &path, headers: &headers, payload, date: &date };
            let authorization = sigv4::authorization(&signable, signer);
            let _ = write!(
                head,
                "x-amz-date: {date}\r\nx-amz-content-sha256: {payload}\r\nauthorization: {authorization}\r\n"
            );
        }
        head.push_str("\r\n");
        head
    }
}

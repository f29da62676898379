//! What registries give to who has no credentials: one request each. oci-client asks a registry before each whether it wants
//! a token, as long as it has none, which is a round trip more for all that is pulled from one that wants none.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use headstart_base::{Error, ErrorCode, Result};
use oci_client::Reference;
use reqwest::header::{ACCEPT, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};

use crate::config::Registry;
use crate::failure::{invalid, pull};
use crate::registry::told;

/// Of a manifest: what registries take at most, by the specification.
const MANIFEST_BYTES: usize = 4 << 20;
/// The types of manifests that are understood.
pub(crate) const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Bytes as they come, of which nothing is verified.
pub(crate) type Stream = BoxStream<'static, io::Result<Bytes>>;

/// What a registry gives who asks for bytes of a blob.
pub(crate) enum Given {
    /// All of it, also to who asked for less.
    Whole(Stream),
    /// As many as were asked for, if it keeps its word.
    Part(Stream),
}

pub(crate) struct Direct {
    client: Client,
    /// Those that speak HTTP without TLS.
    plain: Vec<String>,
}

impl Direct {
    /// `connect`: to a registry; `stall`: between two pieces.
    pub(crate) fn new(known: &[Registry], connect: Duration, stall: Duration) -> Result<Self> {
        let client = Client::builder().connect_timeout(connect).read_timeout(stall).user_agent("headstart").build();
        let failed = |error| Error::new(ErrorCode::Internal, format!("the registries' client: {error}"));
        let plain = known.iter().filter(|registry| registry.plain).map(|registry| registry.host.clone()).collect();
        Ok(Self { client: client.map_err(failed)?, plain })
    }

    /// The manifest that a reference names by its digest or its tag, as it came. None: the registry wants a token.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Option<Vec<u8>>> {
        let name = reference.digest().or(reference.tag()).unwrap_or("latest");
        let Some(mut answer) = self.get(reference, &format!("manifests/{name}"), None).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| pull(told(reference, &error)))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MANIFEST_BYTES {
                return Err(invalid(format!("{reference}: its manifest has more than {MANIFEST_BYTES} bytes")));
            }
        }
        Ok(Some(bytes))
    }

    /// A blob, or a part of it. None: the registry wants a token.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        digest: &str,
        part: Option<&Range<u64>>,
    ) -> Result<Option<Given>> {
        let Some(answer) = self.get(reference, &format!("blobs/{digest}"), part).await? else { return Ok(None) };
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        if partial && !part.is_some_and(|part| is_part(&answer, part)) {
            return Err(invalid(format!("{reference}: {digest}: other bytes came than were asked for")));
        }
        let stream = answer.bytes_stream().map_err(io::Error::other).boxed();
        Ok(Some(if partial { Given::Part(stream) } else { Given::Whole(stream) }))
    }

    async fn get(&self, reference: &Reference, what: &str, part: Option<&Range<u64>>) -> Result<Option<Response>> {
        let scheme = if self.plain.iter().any(|host| host == reference.registry()) { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{what}", reference.resolve_registry(), reference.repository());
        let mut request = self.client.get(&url).header(ACCEPT, MANIFESTS.join(", "));
        if let Some(part) = part {
            request = request.header(RANGE, format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
        }
        let mut answer = request.send().await.map_err(|error| pull(told(reference, &error)))?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(answer)),
            StatusCode::UNAUTHORIZED => Ok(None),
            status => {
                let said = answer.chunk().await.ok().flatten().unwrap_or_default();
                let said: String = String::from_utf8_lossy(&said).chars().take(200).collect();
                Err(pull(format!("{reference}: {status} for {what}: {}", said.trim())))
            }
        }
    }
}

/// Whether an answer says that it is what was asked for.
fn is_part(answer: &Response, part: &Range<u64>) -> bool {
    let header = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    header.and_then(range_of).is_some_and(|found| found == *part)
}

/// Reads "bytes 0-9/100".
fn range_of(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read() {
        assert_eq!(range_of("bytes 0-9/100"), Some(0..10));
        assert_eq!(range_of("bytes 5-5/*"), Some(5..6));
        for wrong in ["", "bytes */100", "bytes 1-2", "items 1-2/3", "bytes -1-2/3", "bytes 0-18446744073709551615/1"] {
            assert_eq!(range_of(wrong), None, "{wrong}");
        }
    }
}

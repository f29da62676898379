//! A blob whose parts are fetched at the same time, and given in their order.
//!
//! One connection to a registry is slower than the way there. What comes before its turn waits in memory: at most the parts of
//! a blob that are under way at one time, and of all blobs of the node what [`ROOM`] says. A part whose turn it is when it is
//! asked for needs no room, so that no blob ever waits for another one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use headstart_base::{Error, Result};
use oci_client::Reference;
use oci_client::errors::DigestError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::direct::{Given, Stream};
use crate::failure::{invalid, pull};
use crate::registry::Registries;

/// Parts of one blob that are under way at one time.
const AT_ONCE: u64 = 8;
/// Bytes of a part. Below that, what it takes to ask is more than what it saves; above, it would wait in memory for too long.
const LEAST: u64 = 1 << 20;
const MOST: u64 = 8 << 20;
/// What may come before its turn, of all blobs of a node, in KiB.
pub(crate) const ROOM: usize = 96 << 10;
/// Pieces of a part that wait where it has room: more than it has, as they usually come; and where it has none.
const PIECES: usize = 1024;
const FEW_PIECES: usize = 32;

/// The bytes of a blob.
pub(crate) struct Parts<'a> {
    registries: &'a Arc<Registries>,
    reference: &'a Reference,
    digest: &'a str,
    size: u64,
    /// Of one part.
    length: u64,
    /// The first byte that nobody has asked for.
    next: u64,
    coming: VecDeque<Part>,
    /// The rest of a blob that comes as a whole.
    whole: Option<Stream>,
}

/// A part that is under way.
struct Part {
    pieces: mpsc::Receiver<Result<Sent>>,
    /// It ends when nobody waits for it any more.
    _bringing: AbortOnDropHandle<()>,
    _room: Option<OwnedSemaphorePermit>,
}

enum Sent {
    Piece(Bytes),
    /// The registry has no parts.
    Whole(Stream),
}

impl<'a> Parts<'a> {
    /// Asks for the blob, or for its first parts.
    pub(crate) async fn ask(
        registries: &'a Arc<Registries>,
        reference: &'a Reference,
        digest: &'a str,
        size: u64,
    ) -> Result<Self> {
        let length = size.div_ceil(AT_ONCE).clamp(LEAST, MOST);
        let coming = VecDeque::new();
        let mut parts = Self { registries, reference, digest, size, length, next: 0, coming, whole: None };
        if size <= length || registries.has_no_parts(reference) {
            parts.next = size;
            match registries.blob(reference, digest, None).await? {
                Given::Whole(stream) | Given::Part(stream) => parts.whole = Some(stream),
            }
        }
        Ok(parts)
    }

    /// The next bytes; none after the last. What is more or less than the blob's size is for who counts them.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(whole) = &mut self.whole {
                return whole.next().await.transpose().map_err(|error| broken(self.reference, self.digest, &error));
            }
            self.ask_ahead();
            let Some(part) = self.coming.front_mut() else { return Ok(None) };
            match part.pieces.recv().await.transpose()? {
                Some(Sent::Piece(piece)) => return Ok(Some(piece)),
                Some(Sent::Whole(stream)) => {
                    self.registries.remember_no_parts(self.reference);
                    self.coming.clear();
                    self.whole = Some(stream);
                }
                None => drop(self.coming.pop_front()),
            }
        }
    }

    fn ask_ahead(&mut self) {
        while self.next < self.size && (self.coming.len() as u64) < AT_ONCE {
            let range = self.next..(self.next + self.length).min(self.size);
            let room = match self.coming.is_empty() {
                true => None,
                false => match self.registries.room(range.end - range.start) {
                    Some(room) => Some(room),
                    None => return,
                },
            };
            self.next = range.end;
            let (sender, pieces) = mpsc::channel(if room.is_some() { PIECES } else { FEW_PIECES });
            let (registries, reference) = (Arc::clone(self.registries), self.reference.clone());
            let digest = self.digest.to_owned();
            let bringing = tokio::spawn(async move {
                if let Err(error) = bring(&registries, &reference, &digest, range, &sender).await {
                    // Nobody waits for it any more.
                    let _ = sender.send(Err(error)).await;
                }
            });
            let part = Part { pieces, _bringing: AbortOnDropHandle::new(bringing), _room: room };
            self.coming.push_back(part);
        }
    }
}

/// Sends one part, of exactly its length.
async fn bring(
    registries: &Registries,
    reference: &Reference,
    digest: &str,
    range: Range<u64>,
    sender: &mpsc::Sender<Result<Sent>>,
) -> Result<()> {
    let (first, mut left) = (range.start == 0, range.end - range.start);
    let wrong =
        || invalid(format!("{reference}: {digest}: a part of it is not {} bytes long", range.end - range.start));
    let mut stream = match registries.blob(reference, digest, Some(range.clone())).await? {
        Given::Part(stream) => stream,
        // Only the first one can be that: who gets it needs no other.
        Given::Whole(stream) if first => {
            let _ = sender.send(Ok(Sent::Whole(stream))).await;
            return Ok(());
        }
        Given::Whole(_) => {
            return Err(pull(format!("{reference}: {digest}: the whole of it came instead of a part")));
        }
    };
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| broken(reference, digest, &error))?;
        left = left.checked_sub(piece.len() as u64).ok_or_else(wrong)?;
        if sender.send(Ok(Sent::Piece(piece))).await.is_err() {
            return Ok(());
        }
    }
    if left == 0 { Ok(()) } else { Err(wrong()) }
}

fn broken(reference: &Reference, digest: &str, error: &std::io::Error) -> Error {
    let said = format!("{reference}: {digest}: {error}");
    // The client of registries that want a token verifies what it gives as a whole.
    match error.get_ref().is_some_and(|cause| cause.is::<DigestError>()) {
        true => invalid(said),
        false => pull(said),
    }
}

//! Answers: one RESP value. What is one string goes into the sink as it is; what has parts goes there as it came.

use crate::body::Receiver;
use crate::failure::{Attempt, Failure};
use crate::head::ResponseHead;
use crate::status;

/// Bytes of a line, and of what is looked at together in a nested answer.
const MAX_LINE: usize = 64 * 1024;
/// Arrays in arrays.
const MAX_DEPTH: usize = 32;
/// Bytes of a string, or elements of an array: what no server has. Memory has its own bound.
const MAX_COUNT: u64 = 1 << 40;

/// Receives one answer.
pub(crate) async fn receive(receiver: &mut Receiver<'_>) -> Attempt<(ResponseHead, u64)> {
    let mut line = Vec::new();
    receiver.piece(MAX_LINE, &mut line, |bytes| Ok(end_of_line(bytes))).await?;
    let (&kind, text) = without_break(&line)?.split_first().ok_or_else(|| Failure::bad_reply("a line is empty"))?;
    match kind {
        b'+' | b':' | b',' | b'(' | b'#' => receiver.copied(ResponseHead::plain(status::FINE, text.len() as u64), text),
        b'-' => receiver.copied(ResponseHead::plain(status::ERROR, text.len() as u64), text),
        b'_' => receiver.copied(ResponseHead::plain(status::NOTHING, 0), &[]),
        b'$' | b'!' | b'=' | b'*' | b'%' | b'~' => match (kind, count(text)?) {
            (_, None) => receiver.copied(ResponseHead::plain(status::NOTHING, 0), &[]),
            (b'$', Some(length)) => string(receiver, status::FINE, length).await,
            (b'!', Some(length)) => string(receiver, status::ERROR, length).await,
            (b'=', Some(length)) => {
                let length = length.checked_sub(4).ok_or_else(|| Failure::bad_reply("a text is without its format"))?;
                receiver.short(4, &mut line).await?;
                string(receiver, status::FINE, length).await
            }
            (_, Some(count)) => nested(receiver, &line, elements(kind, count)?).await,
        },
        b'>' => Err(Failure::bad_reply("it pushes what nobody subscribed to")),
        _ => Err(Failure::bad_reply("its type is unknown")),
    }
}

async fn string(receiver: &mut Receiver<'_>, status: u16, length: u64) -> Attempt<(ResponseHead, u64)> {
    let answer = receiver.announced(ResponseHead::plain(status, length)).await?;
    line_break(receiver).await?;
    Ok(answer)
}

async fn line_break(receiver: &mut Receiver<'_>) -> Attempt<()> {
    let mut end = Vec::new();
    receiver.short(2, &mut end).await?;
    match &end[..] {
        b"\r\n" => Ok(()),
        _ => Err(Failure::bad_reply("a string is longer than it says")),
    }
}

/// Receives what is behind an array's first line.
async fn nested(receiver: &mut Receiver<'_>, first: &[u8], count: u64) -> Attempt<(ResponseHead, u64)> {
    let headers = vec![("content-type".to_owned(), "application/resp".to_owned())];
    let head = ResponseHead { status: status::FINE, headers, content_length: None };
    receiver.sink.begin(&head)?;
    receiver.copy(first)?;
    let mut total = first.len() as u64;
    let mut left = Left::default();
    left.open(count)?;
    let mut buffer = Vec::new();
    while !left.is_empty() {
        let mut next = None;
        let find = |bytes: &[u8]| {
            let (length, after) = left.after(bytes)?;
            next = Some(after);
            Ok((length > 0).then_some(length))
        };
        receiver.piece(MAX_LINE, &mut buffer, find).await?;
        receiver.copy(&buffer)?;
        total += buffer.len() as u64;
        left = next.unwrap_or_default();
        if let Some(length) = left.string.take() {
            receiver.exactly(length).await?;
            line_break(receiver).await?;
            receiver.copy(b"\r\n")?;
            total += length + 2;
        }
    }
    Ok((head, total))
}

/// What has yet to come of a nested answer.
#[derive(Clone, Default)]
struct Left {
    /// Elements that have not begun, of the outermost array first.
    elements: Vec<u64>,
    /// Bytes of a string whose first line has come, without the line break behind it.
    string: Option<u64>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    fn open(&mut self, count: u64) -> Attempt<()> {
        if count == 0 {
            return Ok(());
        }
        if self.elements.len() == MAX_DEPTH {
            return Err(Failure::bad_reply("it is nested too deep"));
        }
        self.elements.push(count);
        Ok(())
    }

    /// One element of the innermost array has begun.
    fn element(&mut self) {
        if let Some(last) = self.elements.last_mut() {
            *last -= 1;
        }
    }

    /// Leaves the arrays that are whole. One whose last element is itself an array is not: depth counts.
    fn settle(&mut self) {
        while self.elements.last() == Some(&0) {
            self.elements.pop();
        }
    }

    /// How much of `bytes` is whole elements and first lines, and what is left after it.
    fn after(&self, bytes: &[u8]) -> Attempt<(usize, Self)> {
        let (mut at, mut left) = (0, self.clone());
        while !left.is_empty()
            && let Some(length) = end_of_line(&bytes[at..])
        {
            let line = without_break(&bytes[at..at + length])?;
            let (&kind, text) = line.split_first().ok_or_else(|| Failure::bad_reply("a line is empty"))?;
            at += length;
            left.element();
            match kind {
                b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_' => {}
                b'*' | b'%' | b'~' => left.open(count(text)?.map_or(Ok(0), |count| elements(kind, count))?)?,
                b'$' | b'!' | b'=' => {
                    if let Some(length) = count(text)? {
                        match whole_string(&bytes[at..], length)? {
                            Some(string) => at += string,
                            None => left.string = Some(length),
                        }
                    }
                }
                _ => return Err(Failure::bad_reply("its type is unknown")),
            }
            left.settle();
            if left.string.is_some() {
                break;
            }
        }
        Ok((at, left))
    }
}

/// Bytes of a string and the line break behind it, when both are there.
fn whole_string(bytes: &[u8], length: u64) -> Attempt<Option<usize>> {
    let Some(string) = usize::try_from(length).ok().and_then(|length| bytes.get(..length + 2)) else { return Ok(None) };
    match string.ends_with(b"\r\n") {
        true => Ok(Some(string.len())),
        false => Err(Failure::bad_reply("a string is longer than it says")),
    }
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}

fn without_break(line: &[u8]) -> Attempt<&[u8]> {
    line.strip_suffix(b"\r\n").ok_or_else(|| Failure::bad_reply("a line does not end with CR LF"))
}

/// A length; `None` for -1, which is RESP2's nothing.
fn count(text: &[u8]) -> Attempt<Option<u64>> {
    if text == b"-1" {
        return Ok(None);
    }
    let plain = (1..=13).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let number = plain.then(|| text.iter().fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0')));
    number.filter(|&count| count <= MAX_COUNT).map(Some).ok_or_else(|| Failure::bad_reply("a length is no number"))
}

/// A map has two elements for each that it counts.
fn elements(kind: u8, count: u64) -> Attempt<u64> {
    Ok(if kind == b'%' { count * 2 } else { count })
}

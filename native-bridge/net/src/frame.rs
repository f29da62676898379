//! Messages of a plain TCP service, in a framing that the address names.

use bytes::Bytes;
use headstart_base::Result;

use crate::address::{Address, Frame};
use crate::body::Receiver;
use crate::failure::{Attempt, Failure};
use crate::head::ResponseHead;
use crate::request::{Request, fingerprint, invalid};
use crate::status;

/// What a message is in contents: "SEND tcp://host:port/#…".
pub(crate) const VERB: &str = "SEND";
/// Bytes of a line that comes in.
const MAX_LINE: usize = 64 * 1024;

/// A message, in which all bytes are the service's own.
pub(crate) fn request(address: &Address, message: &[u8]) -> Request {
    Request {
        verb: VERB.to_owned(),
        path: "/".to_owned(),
        headers: Vec::new(),
        body: Bytes::copy_from_slice(message),
        content: format!("{VERB} {}/{}", address.place(), fingerprint([message])),
        idempotent: false,
        words: Vec::new(),
    }
}

/// A message as it goes on the wire. `invalidArgument` for one that does not fit the framing.
pub(crate) fn encode(frame: Frame, message: &[u8]) -> Result<Vec<u8>> {
    match frame {
        Frame::Unknown => {
            Err(invalid("its address names no framing: add ?frame=u32, ?frame=line or ?frame=fixed:BYTES"))
        }
        Frame::U32 => {
            let length = u32::try_from(message.len()).map_err(|_| invalid("it is longer than 4 GiB"))?;
            Ok([&length.to_be_bytes()[..], message].concat())
        }
        Frame::Line if message.contains(&b'\n') => Err(invalid("a line has no line feed in it")),
        Frame::Line => Ok([message, b"\n"].concat()),
        Frame::Fixed(bytes) if message.len() as u64 == u64::from(bytes) => Ok(message.to_vec()),
        Frame::Fixed(bytes) => Err(invalid(&format!("it has {} bytes, and a message here {bytes}", message.len()))),
    }
}

/// Receives one message, which is the body; status 0.
pub(crate) async fn receive(receiver: &mut Receiver<'_>, frame: Frame) -> Attempt<(ResponseHead, u64)> {
    let mut buffer = Vec::new();
    match frame {
        Frame::Unknown => Err(Failure::bad_reply("nothing says where it ends")),
        Frame::U32 => {
            receiver.short(4, &mut buffer).await?;
            let length = buffer.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            receiver.announced(ResponseHead::plain(status::FINE, length)).await
        }
        Frame::Fixed(bytes) => receiver.announced(ResponseHead::plain(status::FINE, u64::from(bytes))).await,
        Frame::Line => {
            let find = |bytes: &[u8]| Ok(bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1));
            receiver.piece(MAX_LINE, &mut buffer, find).await?;
            let line = buffer.strip_suffix(b"\n").unwrap_or(&buffer);
            receiver.copied(ResponseHead::plain(status::FINE, line.len() as u64), line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_messages() {
        assert_eq!(encode(Frame::U32, b"hello").unwrap(), b"\0\0\0\x05hello");
        assert_eq!(encode(Frame::Line, b"hello").unwrap(), b"hello\n");
        assert_eq!(encode(Frame::Fixed(5), b"hello").unwrap(), b"hello");
        for (frame, message) in [(Frame::Line, "a\nb"), (Frame::Fixed(4), "hello"), (Frame::Unknown, "")] {
            assert!(encode(frame, message.as_bytes()).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn two_messages_are_not_one_content() {
        let address = Address::parse("tcp://h:1?frame=line").unwrap();
        let (one, two) = (request(&address, b"a"), request(&address, b"b"));
        assert!(one.content.starts_with("SEND tcp://h:1/#") && one.content != two.content);
        assert_eq!(one.url(), "tcp://h:1/");
        let (address, mut called) = Request::parse_absolute(b"SEND tcp://h:1?frame=line\n\n").unwrap();
        called.set_body(&b"a"[..]);
        assert_eq!((address.to_string().as_str(), called), ("tcp://h:1?frame=line", one));
    }
}

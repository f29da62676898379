//! Packets of the application's socket: a header of 64 bytes each way, then a payload (docs/app-protocol.md).

use crate::error::{Error, Result};
use crate::numbers::{self, Code};

pub(crate) const HEADER: usize = numbers::HEADER_BYTES as usize;
pub(crate) const MOST: usize = numbers::MAX_PACKET_BYTES as usize;
/// Bytes that a packet carries beside its header.
pub(crate) const PAYLOAD: usize = MOST - HEADER;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) op: u16,
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) c: u64,
    pub(crate) payload: &'a [u8],
}

impl Request<'_> {
    /// The header of its packet.
    pub(crate) fn header(&self, sequence: u32, deadline_millis: u32) -> Result<[u8; HEADER]> {
        if self.payload.len() > PAYLOAD {
            let message = format!("{} bytes do not fit in one packet: {PAYLOAD} do", self.payload.len());
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let mut header = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(numbers::VERSION as u16).to_le_bytes());
        put(2, &self.op.to_le_bytes());
        put(4, &sequence.to_le_bytes());
        put(8, &self.flags.to_le_bytes());
        put(12, &(self.payload.len() as u32).to_le_bytes());
        put(16, &self.id.to_le_bytes());
        put(24, &self.a.to_le_bytes());
        put(32, &self.b.to_le_bytes());
        put(40, &self.c.to_le_bytes());
        put(48, &deadline_millis.to_le_bytes());
        Ok(header)
    }
}

/// An answer's numbers, and its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) error: u32,
    pub(crate) status: u32,
    pub(crate) total: u64,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// Reads the answer to a request of this operation and sequence number; none if it is no such answer.
    pub(crate) fn parse(packet: &[u8], op: u16, sequence: u32) -> Option<Self> {
        let header = packet.get(..HEADER)?;
        let payload = &packet[HEADER..];
        let u16 = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32 = |at: usize| u32::from(u16(at)) | u32::from(u16(at + 2)) << 16;
        let u64 = |at: usize| u64::from(u32(at)) | u64::from(u32(at + 4)) << 32;
        let ours = u32::from(u16(0)) == numbers::VERSION && u16(2) == op && u32(4) == sequence;
        (ours && u32(12) as usize == payload.len()).then(|| Self {
            flags: u32(8),
            id: u64(16),
            segment: u64(24),
            offset: u64(32),
            length: u64(40),
            error: u32(48),
            status: u32(52),
            total: u64(56),
            payload: payload.to_vec(),
        })
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The payload as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let request = Request { op: 3, flags: 5, id: u64::MAX, a: 1, b: 2, c: 3, payload: b"hi" };
        let mut packet = request.header(7, 9).unwrap().to_vec();
        packet.extend_from_slice(b"hi");
        let read = Packet::parse(&packet, 3, 7).unwrap();
        assert_eq!((read.flags, read.id, read.segment, read.offset, read.length), (5, u64::MAX, 1, 2, 3));
        assert_eq!((read.error, read.text().as_str()), (9, "hi"));
        assert_eq!(Packet::parse(&packet, 3, 8), None);
        assert_eq!(Packet::parse(&packet, 4, 7), None);
        assert_eq!(Packet::parse(&packet[..65], 3, 7), None);
        assert_eq!(Packet::parse(&packet[..10], 3, 7), None);
        assert!(Request { payload: &[0; PAYLOAD + 1], ..Request::default() }.header(1, 1).is_err());
    }
}

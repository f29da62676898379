//! Packets of the application's socket: a header of 64 bytes, little-endian, and a payload.

use headstart_base::app_capnp::{
    AppOp, FLAG_BEGIN, FLAG_END, FLAG_ERROR, FLAG_INLINE, FLAG_NO_FD, FLAG_PROGRESSIVE, HEADER_BYTES, MAX_PACKET_BYTES,
    VERSION,
};
use headstart_base::{Error, ErrorCode, Result};

pub(super) const HEADER: usize = HEADER_BYTES as usize;
pub(super) const MOST: usize = MAX_PACKET_BYTES as usize;
/// Flags that a request may have.
const REQUEST_FLAGS: u32 = FLAG_PROGRESSIVE | FLAG_INLINE | FLAG_BEGIN | FLAG_END | FLAG_ERROR | FLAG_NO_FD;

/// A request, checked as far as it can be without its operation.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) op: AppOp,
    pub(super) sequence: u32,
    pub(super) flags: u32,
    pub(super) id: u64,
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) c: u64,
    pub(super) deadline_millis: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self> {
        let (Some(header), Some(payload)) = (packet.get(..HEADER), packet.get(HEADER..)) else {
            return Err(wrong(format!("a packet of {} bytes has no whole header", packet.len())));
        };
        let header = Fields(header);
        let version = header.u16(0);
        if version != VERSION {
            return Err(wrong(format!("version {version}, the bridge speaks {VERSION}")));
        }
        let number = header.u16(2);
        let op = match AppOp::try_from(number) {
            Ok(op) if op != AppOp::None => op,
            _ => return Err(wrong(format!("operation {number} is unknown"))),
        };
        let flags = header.u32(8);
        if flags & !REQUEST_FLAGS != 0 {
            return Err(wrong(format!("flags {flags:#x} are not a request's")));
        }
        if header.u32(12) as usize != payload.len() {
            return Err(wrong(format!("the payload has {} bytes, the header says {}", payload.len(), header.u32(12))));
        }
        if header.u32(52) != 0 || header.u64(56) != 0 {
            return Err(wrong("bytes 52 to 63 of a request are 0".into()));
        }
        Ok(Self {
            op,
            sequence: header.u32(4),
            flags,
            id: header.u64(16),
            a: header.u64(24),
            b: header.u64(32),
            c: header.u64(40),
            deadline_millis: header.u32(48),
            payload,
        })
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// What is answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) flags: u32,
    pub(super) id: u64,
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) status: u16,
    pub(super) total: u64,
    pub(super) payload: Vec<u8>,
}

impl Answer {
    /// The packet for a request of this operation and sequence number.
    pub(super) fn encode(&self, op: u16, sequence: u32, error: ErrorCode) -> Vec<u8> {
        let payload = &self.payload[..self.payload.len().min(MOST - HEADER)];
        let mut packet = Vec::with_capacity(HEADER + payload.len());
        packet.extend_from_slice(&VERSION.to_le_bytes());
        packet.extend_from_slice(&op.to_le_bytes());
        packet.extend_from_slice(&sequence.to_le_bytes());
        packet.extend_from_slice(&self.flags.to_le_bytes());
        packet.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        packet.extend_from_slice(&self.id.to_le_bytes());
        packet.extend_from_slice(&u64::from(self.segment).to_le_bytes());
        packet.extend_from_slice(&self.offset.to_le_bytes());
        packet.extend_from_slice(&self.length.to_le_bytes());
        packet.extend_from_slice(&(error as u16 as u32).to_le_bytes());
        packet.extend_from_slice(&u32::from(self.status).to_le_bytes());
        packet.extend_from_slice(&self.total.to_le_bytes());
        packet.extend_from_slice(payload);
        packet
    }

    /// The packet that tells an error.
    pub(super) fn encode_error(error: &Error, op: u16, sequence: u32) -> Vec<u8> {
        Self { payload: error.message.clone().into_bytes(), ..Self::default() }.encode(op, sequence, error.code)
    }
}

/// What a malformed packet's answer repeats, as far as it is there.
pub(super) fn op_and_sequence(packet: &[u8]) -> (u16, u32) {
    match packet.get(..HEADER) {
        Some(header) => (Fields(header).u16(2), Fields(header).u32(4)),
        None => (0, 0),
    }
}

fn wrong(what: String) -> Error {
    Error::new(ErrorCode::Protocol, format!("malformed request: {what}"))
}

/// Numbers in a header of `HEADER` bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        packet[0] = 1;
        packet[2] = AppOp::Hello as u16 as u8;
        packet[4] = 7;
        packet[12] = 2;
        packet[16] = 9;
        packet.extend_from_slice(b"hi");
        packet
    }

    #[test]
    fn reads_what_is_well_formed() {
        let packet = request();
        let request = Request::parse(&packet).unwrap();
        assert_eq!((request.op, request.sequence, request.id, request.payload), (AppOp::Hello, 7, 9, &b"hi"[..]));
    }

    #[test]
    fn refuses_what_is_not() {
        assert_eq!(Request::parse(&[]).unwrap_err().code, ErrorCode::Protocol);
        assert_eq!(Request::parse(&request()[..63]).unwrap_err().code, ErrorCode::Protocol);
        for (at, value) in [(0, 2), (2, 0), (2, 200), (8, 2), (8, 128), (12, 3), (52, 1), (63, 1)] {
            let mut packet = request();
            packet[at] = value;
            assert_eq!(Request::parse(&packet).unwrap_err().code, ErrorCode::Protocol, "byte {at} = {value}");
            assert_eq!(op_and_sequence(&packet).1, 7);
        }
    }

    #[test]
    fn answers_fit_a_packet() {
        let answer = Answer { payload: vec![1; 10_000], ..Answer::default() };
        assert_eq!(answer.encode(1, 2, ErrorCode::Ok).len(), MOST);
    }
}

//! Packets of an application: what is accepted says what it said, byte for byte.

use headstart_base::ErrorCode;

use crate::packet::{Answer, HEADER, MOST, Request, op_and_sequence};

pub(crate) fn run(data: &[u8]) {
    let (op, sequence) = op_and_sequence(data);
    match Request::parse(data) {
        Ok(request) => {
            assert_eq!((request.op as u16, request.sequence), (op, sequence));
            assert_eq!(again(&request), data);
            let answer = Answer { payload: request.payload.to_vec(), id: request.id, ..Answer::default() };
            check(&answer.encode(op, sequence, ErrorCode::Ok), op, sequence);
        }
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Protocol);
            check(&Answer::encode_error(&error, op, sequence), op, sequence);
        }
    }
}

/// The request as a client writes it.
fn again(request: &Request<'_>) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &1_u16.to_le_bytes());
    put(2, &(request.op as u16).to_le_bytes());
    put(4, &request.sequence.to_le_bytes());
    put(8, &request.flags.to_le_bytes());
    put(12, &(request.payload.len() as u32).to_le_bytes());
    for (at, number) in [(16, request.id), (24, request.a), (32, request.b), (40, request.c)] {
        put(at, &number.to_le_bytes());
    }
    put(48, &request.deadline_millis.to_le_bytes());
    packet.extend_from_slice(request.payload);
    packet
}

/// An answer's packet is whole and repeats what it answers.
fn check(packet: &[u8], op: u16, sequence: u32) {
    assert!((HEADER..=MOST).contains(&packet.len()));
    assert_eq!(op_and_sequence(packet), (op, sequence));
    assert_eq!(packet[12..16], ((packet.len() - HEADER) as u32).to_le_bytes());
}

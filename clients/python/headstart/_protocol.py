"""Packets of the application's socket (docs/app-protocol.md): one header of 64 bytes each way, then a payload."""

import struct

from headstart import _generated as numbers

# version, operation, sequence, flags, payload length, id, then
#   request: a, b, c, deadline, 0, 0
#   answer: segment, offset, length, error code, status, total
_HEADER = struct.Struct("<HHIIIQQQQIIQ")
assert _HEADER.size == numbers.HEADER_BYTES

MAX_PAYLOAD = numbers.MAX_PACKET_BYTES - numbers.HEADER_BYTES
MAX_U32 = (1 << 32) - 1
MAX_U64 = (1 << 64) - 1


class Answer:
    """What the bridge answered. `code` is 0, or the number of an error that `payload` explains.

    `mapping` is the segment's, once the connection has it, or that of the application's own `file`.
    """

    __slots__ = ("code", "file", "flags", "id", "length", "mapping", "offset", "payload", "segment", "status", "total")

    def __init__(self):
        self.mapping = None
        self.file = None

    def has(self, flag):
        return bool(self.flags & flag)


class Malformed(Exception):
    """A packet that does not follow the protocol."""


def pack(operation, sequence, flags, payload, id, a, b, c, deadline_ms):
    """Returns the buffers of a request's packet. Raises ValueError for numbers or a payload that do not fit."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit in one packet: {MAX_PAYLOAD} do")
    try:
        fields = (operation, sequence, flags, len(payload), id, a, b, c, deadline_ms, 0, 0)
        return [_HEADER.pack(numbers.VERSION, *fields), payload]
    except struct.error as error:
        raise ValueError(f"a number is out of its range: {error}") from None


def unpack(packet, operation, sequence):
    """Returns the Answer in `packet`, which must be to this request. Raises Malformed."""
    if len(packet) < _HEADER.size:
        raise Malformed(f"an answer of {len(packet)} bytes")
    answer = Answer()
    version, answered, number, answer.flags, payload_length, *rest = _HEADER.unpack_from(packet)
    answer.id, answer.segment, answer.offset, answer.length, answer.code, answer.status, answer.total = rest
    if version != numbers.VERSION:
        raise Malformed(f"version {version} instead of {numbers.VERSION}")
    if (answered, number) != (operation, sequence):
        raise Malformed(f"an answer to operation {answered}, number {number}, instead of {operation}, {sequence}")
    answer.payload = bytes(packet[_HEADER.size :])
    if len(answer.payload) != payload_length:
        raise Malformed(f"a payload of {len(answer.payload)} bytes that says it has {payload_length}")
    return answer

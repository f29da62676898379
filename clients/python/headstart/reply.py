"""What came under an id, or as the answer of a call."""

import io

from headstart import _generated as numbers
from headstart._protocol import MAX_U64
from headstart.errors import ProtocolError


class Reply:
    """Bytes in a segment, all there or still coming.

    `status` is the protocol's (HTTP), 0 where it has none. `total` is how many bytes there will be, None while unknown. `file` is
    the path of the application's own file that they were received in, from `offset`; else None. Whoever cuts that file loses them.
    """

    def __init__(self, instance, connection, answer, timeout):
        self.status = answer.status
        self.file, self.offset = answer.file, answer.offset
        self._bytes = connection.bytes_of(answer)
        self.total = answer.total if answer.has(numbers.FLAG_LENGTH_KNOWN) else None
        self._done = False
        self._note(answer.has(numbers.FLAG_DONE) or answer.has(numbers.FLAG_INLINE) or answer.segment == 0)
        self._instance, self._answer, self._timeout = instance, answer, timeout

    @property
    def data(self):
        """All bytes, without a copy: a read-only memoryview into the segment. Waits while they are still coming."""
        while not self._done:
            self.wait(MAX_U64 if self.total is None else self.total)
        return self._bytes

    def stream(self):
        """A binary file that reads behind the write mark while the bytes come."""
        return Stream(self)

    def wait(self, length):
        """Waits until `length` bytes are there, or all. Returns those that are. Raises what ended them early."""
        if self._done or length <= len(self._bytes):
            return self._bytes
        answer = self._answer
        now = self._instance.wait(answer.segment, answer.offset, length, self._timeout)
        done = now.has(numbers.FLAG_DONE)
        if now.has(numbers.FLAG_LENGTH_KNOWN):
            self.total = now.total
        end = answer.offset + now.length
        behind = now.length < len(self._bytes) or (not done and now.length < length)
        if behind or end > len(answer.mapping) or (self.total is not None and now.length > self.total):
            raise ProtocolError(f"the bridge sent a length of {now.length}, waiting for {length}")
        self._bytes = memoryview(answer.mapping)[answer.offset : end]
        self._note(done)
        return self._bytes

    def _note(self, done):
        """Nothing follows the last byte of a known length, whether or not the bridge says so."""
        self._done = done or len(self._bytes) == self.total
        if self._done:
            self.total = len(self._bytes)


class Stream(io.RawIOBase):
    """Reads a Reply from its front. `view` gives bytes without a copy."""

    def __init__(self, reply):
        super().__init__()
        self._reply = reply
        self._position = 0

    @property
    def status(self):
        return self._reply.status

    @property
    def total(self):
        return self._reply.total

    def readable(self):
        return True

    def readinto(self, buffer):
        with memoryview(buffer).cast("B") as target:
            source = self.view(len(target))
            target[: len(source)] = source
            return len(source)

    def view(self, size=None):
        """The next bytes, at least one and at most `size`, as a memoryview into the segment; empty at the end."""
        if size == 0:
            return memoryview(b"")
        there = self._reply.wait(self._position + 1)
        end = len(there) if size is None else min(len(there), self._position + size)
        part = there[self._position : end]
        self._position = end
        return part

    def readall(self):
        rest = bytes(self._reply.data[self._position :])
        self._position += len(rest)
        return rest

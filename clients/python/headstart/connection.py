"""One connection to the bridge: a request and its answer at a time, and the segments that came with the answers."""

import array
import contextlib
import errno
import mmap
import os
import socket
import struct

from headstart import _generated as numbers
from headstart import _protocol as protocol
from headstart.errors import BridgeLost, Deadline, HeadstartError, ProtocolError, from_answer
from headstart.segments import Segments

DEFAULT_TIMEOUT = 30.0
# The bridge answers `deadline` itself; only when it does not, this much later, the connection is given up.
GRACE = 2.0
# The operations whose answer is a body that is this program's from then on.
BRINGS_BODY = {numbers.OP_RECV_MSG, numbers.OP_CALL, numbers.OP_NEXT}
# What mmap raises for an fd that is no memory.
_UNMAPPABLE = (OSError, ValueError, OverflowError)
# Room for more fds than an answer may have, so that a surplus is seen, and closed.
_ANCILLARY = socket.CMSG_SPACE(4 * array.array("i").itemsize)


class Connection:
    """Belongs to one thread of one process. After BridgeLost, ProtocolError or a late answer it is `closed`."""

    def __init__(self, path, timeout):
        self.closed = False
        self.instance_id = None
        self._sequence = 0
        self._timeout = 0.0
        self._buffer = bytearray(numbers.MAX_PACKET_BYTES)
        self._segments = Segments.of(path)
        self._outbox = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            if self._socket.gettimeout() is not None:
                # The program has set a default.
                self._socket.settimeout(None)
            self._limit(timeout)
            self._socket.connect(path)
        except OSError as error:
            self.close()
            raise BridgeLost(f"cannot connect to {path}: {error.strerror or error}") from None

    def __del__(self):
        # The thread has ended; socket's own finalizer would warn.
        if not getattr(self, "closed", True):
            self.close()

    def close(self):
        self.closed = True
        self._socket.close()

    def request(self, operation, *, flags=0, payload=b"", id=0, a=0, b=0, c=0, timeout=None):
        """Sends a request and returns its Answer; an error in it is raised. `timeout` in seconds, None for 30."""
        if operation != numbers.OP_FREE:
            self._give_back()
        if operation == numbers.OP_AWAIT or (self._segments.ahead and operation in BRINGS_BODY):
            flags |= numbers.FLAG_NO_FD
        answer, descriptors = self._transact(operation, flags, payload, id, a, b, c, timeout)
        try:
            self._take(answer, descriptors, operation)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if operation in BRINGS_BODY and answer.has(numbers.FLAG_FILE):
            self._open(answer)
        elif operation in BRINGS_BODY and answer.segment != 0 and answer.mapping is None:
            self._fetch(answer)
        return answer

    def map_ahead(self, news, timeout):
        """Waits for news of segments after that of number `news`, and maps or drops the one it is of. Its number."""
        answer, descriptors = self._transact(numbers.OP_SEGMENT, b=news, timeout=timeout)
        try:
            if answer.id <= news:
                self.refuse(f"news {answer.id} after {news}")
            if descriptors:
                self._segments.map_ahead(answer.segment, descriptors[0])
            else:
                self._segments.drop(answer.segment)
        except _UNMAPPABLE as error:
            self.refuse(f"an fd that cannot be mapped ({error})")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return answer.id

    def hand(self, operation, *, payload, id, a=0, beside=(), timeout=None):
        """A request about a connection that changes hands: its Answer, and the fds that came, which are the caller's."""
        return self._transact(operation, payload=payload, id=id, a=a, timeout=timeout, beside=beside)

    def _transact(self, operation, flags=0, payload=b"", id=0, a=0, b=0, c=0, timeout=None, beside=()):
        """Returns the Answer, whose error is raised, and the fds beside it: one or none, which the caller closes."""
        timeout = DEFAULT_TIMEOUT if timeout is None else max(timeout, 0.001)
        deadline_ms = min(max(int(timeout * 1000), 1), protocol.MAX_U32)
        self._sequence = (self._sequence + 1) & protocol.MAX_U32
        buffers = protocol.pack(operation, self._sequence, flags, payload, id, a, b, c, deadline_ms)
        length, descriptors = self._exchange(buffers, timeout + GRACE, beside)
        try:
            with memoryview(self._buffer) as view:
                answer = protocol.unpack(view[:length], operation, self._sequence)
            if len(descriptors) != int(answer.has(numbers.FLAG_FD)):
                raise protocol.Malformed(f"{len(descriptors)} fds with flags {answer.flags:#x}")
            if descriptors and answer.segment == 0:
                raise protocol.Malformed("an fd of no segment")
            if answer.code != 0:
                error = from_answer(answer.code, answer.payload.decode(errors="replace"))
                if isinstance(error, ProtocolError):
                    self.close()
                raise error
        except BaseException as error:
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(error, protocol.Malformed):
                self.refuse(error)
            raise
        return answer, descriptors

    def _exchange(self, buffers, timeout, beside=()):
        """Returns the answer's length in the buffer and its fds, which the caller closes. `beside` are fds to send."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", beside))] if beside else []
        try:
            self._limit(timeout)
            self._socket.sendmsg(buffers, rights)
            flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            length, ancillary, flags, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY, flags)
        except BlockingIOError:
            self.close()
            raise Deadline(f"the bridge did not answer within {timeout:.1f} s") from None
        except OSError as error:
            if beside and error.errno == errno.EINVAL:
                # gVisor: nothing was sent.
                raise HeadstartError("no descriptor can leave this sandbox", "unsupported") from None
            self.close()
            raise BridgeLost(f"the bridge is gone: {error.strerror or error}") from None
        except BaseException:
            # Interrupted between a request and its answer: the next answer would be to another request.
            self.close()
            raise
        descriptors = _descriptors(ancillary)
        if length == 0 and not descriptors:
            self.close()
            raise BridgeLost("the bridge closed the connection")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            self.close()
            for descriptor in descriptors:
                os.close(descriptor)
            raise ProtocolError("the bridge sent a packet that is too long, or fds that did not arrive")
        return length, descriptors

    def _limit(self, timeout):
        """Bounds each system call, by at most twice `timeout`: the bridge keeps the exact deadline.

        The kernel does it: under a timeout of its own, Python polls before each call, which is slow in a sandbox.
        """
        if not timeout <= self._timeout <= 2 * timeout:
            seconds, rest = divmod(timeout, 1)
            limit = struct.pack("ll", int(seconds), max(int(rest * 1e6), int(seconds == 0)))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._timeout = timeout

    def _take(self, answer, descriptors, operation):
        """Maps the segment whose fd came with `answer`, unless it is mapped."""
        descriptor = descriptors[0] if descriptors else None
        try:
            if operation in BRINGS_BODY and answer.segment != 0 and not answer.has(numbers.FLAG_FILE):
                answer.mapping = self._segments.claim(answer.segment, descriptor)
            elif operation == numbers.OP_OUTBOX and descriptor is not None:
                self._outbox = mmap.mmap(descriptor, 0, access=mmap.ACCESS_WRITE)
        except _UNMAPPABLE as error:
            self.refuse(f"an fd that cannot be mapped ({error})")

    def _open(self, answer):
        """Maps the application's file that the bytes lie in."""
        try:
            answer.file = answer.payload.decode()
            descriptor = os.open(answer.file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                answer.mapping = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(descriptor)
        except UnicodeDecodeError:
            self.refuse("a file's path that is no text")
        except _UNMAPPABLE as error:
            raise HeadstartError(f"cannot map {answer.file}, where a reply lies: {error}", "notFound") from None

    def _fetch(self, answer):
        """Asks for the fd of a segment that was not mapped after all."""
        asked, descriptors = self._transact(numbers.OP_SEGMENT, a=answer.segment)
        try:
            if asked.segment != answer.segment:
                self.refuse(f"segment {asked.segment} instead of {answer.segment}")
            self._take(answer, descriptors, numbers.OP_RECV_MSG)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def bytes_of(self, answer):
        """The bytes that `answer` names, without a copy: a read-only memoryview."""
        if answer.has(numbers.FLAG_INLINE):
            return memoryview(answer.payload)
        if answer.segment == 0:
            if answer.length != 0:
                self.refuse(f"{answer.length} bytes of no segment")
            return memoryview(b"")
        if answer.mapping is None:
            self.refuse(f"segment {answer.segment} without its fd")
        end = answer.offset + max(answer.length, answer.total)
        if end > len(answer.mapping):
            self.refuse(f"bytes up to {end} of a segment of {len(answer.mapping)}")
        return memoryview(answer.mapping)[answer.offset : answer.offset + answer.length]

    def outbox(self, length, timeout):
        """A writable mapping of at least `length` bytes, for what the next request refers to."""
        if self._outbox is None or len(self._outbox) < length:
            self._outbox = None
            answer = self.request(numbers.OP_OUTBOX, a=length, timeout=timeout)
            if self._outbox is None or len(self._outbox) < length:
                self.refuse(f"an outbox of {answer.length} bytes instead of {length}")
        return self._outbox

    def _give_back(self):
        """Tells the bridge of each body that lies in a segment which nobody refers to any more."""
        while not self.closed and (unmapped := self._segments.next_unmapped()) is not None:
            segment, bodies = unmapped
            for _ in range(bodies):
                with contextlib.suppress(HeadstartError):
                    self.request(numbers.OP_FREE, a=segment)

    def refuse(self, what):
        self.close()
        raise ProtocolError(f"the bridge sent {what}")


def _descriptors(ancillary):
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)

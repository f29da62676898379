"""One connection to the bridge: a request and its answer at a time, and the segments that came with the answers."""

import array
import collections
import contextlib
import mmap
import os
import socket
import weakref

from headstart import _generated as numbers
from headstart import _protocol as protocol
from headstart.errors import BridgeLost, Deadline, HeadstartError, ProtocolError, from_answer

DEFAULT_TIMEOUT = 30.0
# The bridge answers `deadline` itself; only when it does not, this much later, the connection is given up.
GRACE = 2.0
# The operations whose answer is a body that is this program's from then on.
BRINGS_BODY = {numbers.OP_RECV_MSG, numbers.OP_CALL, numbers.OP_NEXT}
# Room for more fds than an answer may have, so that a surplus is seen, and closed.
_ANCILLARY = socket.CMSG_SPACE(4 * array.array("i").itemsize)


class Connection:
    """Belongs to one thread of one process. After BridgeLost, ProtocolError or a late answer it is `closed`."""

    def __init__(self, path, timeout):
        self.pid = os.getpid()
        self.closed = False
        self._sequence = 0
        self._timeout = None
        self._buffer = bytearray(numbers.MAX_PACKET_BYTES)
        # Segments that somebody refers to, how many bodies each brought, and those that nobody refers to any more.
        self._mapped = weakref.WeakValueDictionary()
        self._bodies = collections.Counter()
        self._dropped = collections.deque()
        self._outbox = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(timeout)
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
        # Until the answer is there no mapping goes: the bridge sends an fd again only after `free`.
        held = list(self._mapped.values())
        if operation != numbers.OP_FREE:
            self._give_back()
        timeout = DEFAULT_TIMEOUT if timeout is None else max(timeout, 0.001)
        deadline_ms = min(max(int(timeout * 1000), 1), protocol.MAX_U32)
        self._sequence = (self._sequence + 1) & protocol.MAX_U32
        buffers = protocol.pack(operation, self._sequence, flags, payload, id, a, b, c, deadline_ms)
        length, descriptors = self._exchange(buffers, timeout + GRACE)
        try:
            with memoryview(self._buffer) as view:
                answer = protocol.unpack(view[:length], operation, self._sequence)
            self._take(answer, descriptors, operation)
        except protocol.Malformed as error:
            self.close()
            raise ProtocolError(f"the bridge sent {error}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if answer.code != 0:
            error = from_answer(answer.code, answer.payload.decode(errors="replace"))
            if isinstance(error, ProtocolError):
                self.close()
            raise error
        del held
        return answer

    def _exchange(self, buffers, timeout):
        """Returns the answer's length in the buffer and its fds, which the caller closes."""
        try:
            if timeout != self._timeout:
                self._socket.settimeout(timeout)
                self._timeout = timeout
            self._socket.sendmsg(buffers)
            flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            length, ancillary, flags, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY, flags)
        except socket.timeout:
            self.close()
            raise Deadline(f"the bridge did not answer within {timeout:.1f} s") from None
        except OSError as error:
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

    def _take(self, answer, descriptors, operation):
        """Maps the segment whose fd came with `answer`."""
        if len(descriptors) != int(answer.has(numbers.FLAG_FD)):
            raise protocol.Malformed(f"{len(descriptors)} fds with flags {answer.flags:#x}")
        if operation in BRINGS_BODY and answer.segment != 0:
            self._bodies[answer.segment] += 1
        if not descriptors:
            answer.mapping = self._mapped.get(answer.segment)
            return
        if answer.segment == 0:
            raise protocol.Malformed("an fd of no segment")
        access = mmap.ACCESS_WRITE if operation == numbers.OP_OUTBOX else mmap.ACCESS_READ
        try:
            mapping = mmap.mmap(descriptors[0], 0, access=access)
        except (OSError, ValueError, OverflowError) as error:
            raise protocol.Malformed(f"an fd that cannot be mapped ({error})") from None
        if operation == numbers.OP_OUTBOX:
            self._outbox = mapping
            return
        # Stays mapped for as long as somebody refers to a reply in it or to its bytes.
        answer.mapping = self._mapped[answer.segment] = mapping
        weakref.finalize(mapping, self._dropped.append, answer.segment).atexit = False

    def bytes_of(self, answer):
        """The bytes that `answer` names, without a copy: a read-only memoryview."""
        if answer.has(numbers.FLAG_INLINE):
            return memoryview(answer.payload)
        if answer.segment == 0:
            if answer.length != 0:
                self._refuse(f"{answer.length} bytes of no segment")
            return memoryview(b"")
        if answer.mapping is None:
            self._refuse(f"segment {answer.segment} without its fd")
        end = answer.offset + max(answer.length, answer.total)
        if end > len(answer.mapping):
            self._refuse(f"bytes up to {end} of a segment of {len(answer.mapping)}")
        return memoryview(answer.mapping)[answer.offset : answer.offset + answer.length]

    def outbox(self, length, timeout):
        """A writable mapping of at least `length` bytes, for what the next request refers to."""
        if self._outbox is None or len(self._outbox) < length:
            self._outbox = None
            answer = self.request(numbers.OP_OUTBOX, a=length, timeout=timeout)
            if self._outbox is None or len(self._outbox) < length:
                self._refuse(f"an outbox of {answer.length} bytes instead of {length}")
        return self._outbox

    def _give_back(self):
        """Tells the bridge of each body that lies in a segment which nobody refers to any more."""
        while self._dropped and not self.closed:
            segment = self._dropped.popleft()
            for _ in range(self._bodies.pop(segment, 0)):
                with contextlib.suppress(HeadstartError):
                    self.request(numbers.OP_FREE, a=segment)

    def _refuse(self, what):
        self.close()
        raise ProtocolError(f"the bridge sent {what}")


def _descriptors(ancillary):
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)

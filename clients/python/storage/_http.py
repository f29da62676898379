"""HTTP/1.1 over a kept connection: just what an object store needs.

Not http.client: importing that takes longer than importing numpy's core. Bodies are received into the memory they stay
in.
"""

import collections
import io
import os
import socket
import time

MAX_HEAD = 64 * 1024
MAX_IDLE = 8
# Small, for what comes with the head is copied.
HEAD_READ = 4096


class HttpError(OSError):
    """The server cannot be reached, or its answer cannot be understood."""


class Server:
    """Requests to one host. Connections are kept; threads and forked children may share it.

    One that does not dial has only the connections that it was given.
    """

    def __init__(self, host, port, tls=False, dials=True):
        self._address, self._tls, self._dials = (host, port), tls, dials
        # No lock, which a fork could leave locked: single operations on a deque are atomic.
        self._idle, self._pid = collections.deque(), os.getpid()

    def adopt(self, connected):
        """Takes a connected socket, on which nothing is under way, among the kept connections."""
        self.keep(_Connection(connected, time.monotonic()))

    def request(self, verb, target, headers, body=b"", timeout=30.0, once=False):
        """Sends a request. Returns a Response whose head is there; read its body, or close it. Raises HttpError.

        `once`: over a new connection, for what must not be sent again when a kept one turns out to be closed.
        """
        lines = [f"{verb} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        if body or verb not in ("GET", "HEAD"):
            lines.append(f"content-length: {memoryview(body).nbytes}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        deadline = time.monotonic() + timeout
        while True:
            connection, reused = self._take(deadline, once)
            try:
                connection.send(head, body)
                return Response(self, connection, verb)
            except HttpError:
                connection.close()
                # A kept connection may have been closed by the server in the meantime; a new one tells the truth.
                if not reused:
                    raise

    def _take(self, deadline, once):
        if self._pid != os.getpid():
            self._idle, self._pid = collections.deque(), os.getpid()
        try:
            connection = None if once else self._idle.pop()
        except IndexError:
            connection = None
        if connection is not None:
            connection.deadline = deadline
            return connection, True
        if not self._dials:
            raise HttpError("there is no connection to {}:{} any more".format(*self._address))
        return _dial(self._address, self._tls, deadline), False

    def keep(self, connection):
        """Takes a connection back whose answer was read to its end."""
        if self._pid == os.getpid() and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


class Response(io.RawIOBase):
    """`status`, `headers` (lower-case names), and the body as a binary file."""

    def __init__(self, server, connection, verb):
        super().__init__()
        self._connection = None
        self.status, self.headers = _parse_head(connection.read_head())
        self._keep = self.headers.get("connection", "").lower() != "close"
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._in_chunks = False
        # Bytes left of the body, or of the chunk; None: until the connection's end.
        self._left = 0 if self._chunked else _length(self.headers)
        if verb == "HEAD" or self.status in (204, 304):
            self._left, self._chunked = 0, False
        if self._left is None:
            self._keep = False
        self._server, self._connection = server, connection
        self._finish_if_read()

    def readable(self):
        return True

    def readinto(self, buffer):
        with memoryview(buffer).cast("B") as view:
            if self._connection is None or not len(view):
                return 0
            try:
                if self._chunked and self._left == 0 and not self._next_chunk():
                    return 0
                size = len(view) if self._left is None else min(len(view), self._left)
                count = self._connection.read_into(view[:size])
            except HttpError:
                self.close()
                raise
            if self._left is None:
                if count == 0:
                    self.close_connection()
                return count
            if count == 0:
                self.close()
                raise HttpError("the server closed the connection in the middle of the body")
            self._left -= count
            self._finish_if_read()
            return count

    def read_all(self):
        """The rest of the body, received into one piece of memory when its length is known."""
        if self._left is None or self._chunked:
            return memoryview(self.readall() or b"")
        data = bytearray(self._left)
        with memoryview(data) as view:
            position = 0
            while position < len(data):
                position += self.readinto(view[position:])
        return memoryview(data)

    def close(self):
        if not self.closed:
            self.close_connection()
        super().close()

    def close_connection(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _finish_if_read(self):
        if self._left == 0 and not self._chunked and self._connection is not None:
            connection, self._connection = self._connection, None
            if self._keep and connection.is_drained():
                self._server.keep(connection)
            else:
                connection.close()

    def _next_chunk(self):
        """Reads the head of the next chunk. Returns whether there is one."""
        if self._in_chunks:
            self._connection.read_line()
        self._in_chunks = True
        size = self._connection.read_line().split(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise HttpError(f"a chunk of the body has the length {size[:20]!r}") from None
        if self._left < 0:
            raise HttpError(f"a chunk of the body has the length {size[:20]!r}")
        if self._left:
            return True
        while self._connection.read_line():
            pass
        self._chunked = False
        self._finish_if_read()
        return False


class _Connection:
    """A socket, and what was read of it too early."""

    def __init__(self, connected, deadline):
        self.deadline = deadline
        self._ahead = b""
        self._socket = connected

    def __del__(self):
        # Of a client that nobody uses any more; socket's own finalizer would warn.
        self.close()

    def close(self):
        self._socket.close()

    def is_drained(self):
        """Whether nothing came after the answer's end."""
        return not self._ahead

    def send(self, head, body):
        try:
            self._socket.settimeout(self._remaining())
            self._socket.sendall(head)
            if memoryview(body).nbytes:
                self._socket.sendall(body)
        except OSError as error:
            raise HttpError(f"cannot send the request: {error}") from None

    def read_head(self):
        return self._read_until(b"\r\n\r\n", MAX_HEAD)

    def read_line(self):
        return self._read_until(b"\r\n", MAX_HEAD)

    def read_into(self, view):
        """Bytes read, at least one; 0 at the connection's end."""
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        if time.monotonic() > self.deadline:
            raise HttpError("the answer took too long")
        try:
            return self._socket.recv_into(view)
        except OSError as error:
            raise HttpError(f"cannot read the answer: {error}") from None

    def _read_until(self, mark, most):
        scratch = bytearray(HEAD_READ)
        data = b""
        with memoryview(scratch) as view:
            while mark not in data:
                count = self.read_into(view)
                if count == 0:
                    raise HttpError("the server closed the connection")
                data += view[:count]
                if len(data) > most:
                    raise HttpError("the answer's head is too long")
        head, _, rest = data.partition(mark)
        self._ahead = rest + self._ahead
        return head

    def _remaining(self):
        return max(self.deadline - time.monotonic(), 0.001)


def _dial(address, tls, deadline):
    """A new _Connection. Raises HttpError."""
    connected = None
    try:
        connected = socket.create_connection(address, timeout=max(deadline - time.monotonic(), 0.001))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            import ssl

            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=address[0])
    except OSError as error:
        if connected is not None:
            connected.close()
        raise HttpError(f"cannot connect to {address[0]}:{address[1]}: {error}") from None
    return _Connection(connected, deadline)


def _parse_head(head):
    """Returns (status, headers). Raises HttpError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
        raise HttpError(f"the answer begins with {first[:60]!r}")
    headers = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator:
            raise HttpError(f"the answer has the header line {line[:60]!r}")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


def _length(headers):
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise HttpError(f"the answer has the length {text[:60]!r}")
    return int(text)

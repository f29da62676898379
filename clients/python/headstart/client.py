"""The application's side of headstart: what its initscript sent, calls by way of the bridge, and the handler loop."""

import os
import sys
import threading

from headstart import _generated as numbers
from headstart import _protocol as protocol
from headstart import ahead
from headstart.connection import Connection
from headstart.ids import number
from headstart.reply import Reply
from headstart.segments import Segments

DEFAULT_SOCKET = "/run/headstart/app.sock"
VERSION = "0.1.0"
CONNECT_TIMEOUT = 5.0

_local = threading.local()


class Instance:
    """This program's instance. Threads and forked children may share one: each has a connection of its own.

    Every method raises a HeadstartError: Miss, Deadline, BridgeLost, … Timeouts are in seconds; None means 30.

    >>> instance = Instance()
    >>> weights = instance.recv_msg("weights", timeout=5)
    """

    def __init__(self, path=None):
        self._path = path or os.environ.get("HEADSTART_SOCKET") or DEFAULT_SOCKET

    @staticmethod
    def available(path=None):
        """Whether there is a bridge's socket."""
        return os.path.exists(path or os.environ.get("HEADSTART_SOCKET") or DEFAULT_SOCKET)

    def connect(self):
        """Connects this thread now instead of at its first request. Returns the instance's id."""
        return self._connection().instance_id

    def map_ahead(self):
        """Maps from now on what the initscript sends before it is claimed, in a thread of its own."""
        ahead.start(self._path)

    def close(self):
        """Closes this thread's connection."""
        connection = _connections().get(self._path)
        if connection is not None:
            connection.close()

    def mapped(self):
        """How many segments of the bridge's memory this process refers to."""
        return Segments.of(self._path).mapped()

    def checkpoint(self, failure=None):
        """Says that the program is ready to be stopped for a snapshot, or why it never will be: see headstart.snapshot."""
        fields = {} if failure is None else {"flags": numbers.FLAG_ERROR}
        payload = (failure or "").encode(errors="replace")[-protocol.MAX_PAYLOAD :]
        self._connection().request(numbers.OP_CHECKPOINT, payload=payload, **fields)

    def recv_msg(self, id, content=None, progressive=False, timeout=None):
        """Receives message `id` (a number or a text): a read-only memoryview of its bytes, which nothing copied.

        With `progressive` a binary file instead, as soon as the length is known; it reads while the bytes come.
        `content` says what the caller expects ("GET s3://models/weights"): anything else is a divergence.
        """
        reply = self.claim(id, content, progressive, timeout)
        return reply.stream() if progressive else reply.data

    def claim(self, id, content=None, progressive=False, timeout=None):
        """As recv_msg, but returns a Reply, which also has the status of the call behind the message."""
        flags = numbers.FLAG_PROGRESSIVE if progressive else 0
        payload = (content or "").encode()
        return self._reply(numbers.OP_RECV_MSG, timeout, id=number(id), flags=flags, payload=payload)

    def call(self, verb, url, headers=(), body=b"", progressive=False, timeout=None):
        """Has the bridge do a call ("GET", "s3://bucket/key"), with its signature. Returns a Reply."""
        lines = [f"{verb} {url}", *(f"{name}: {value}" for name, value in headers)]
        if any("\n" in line or "\r" in line for line in lines):
            raise ValueError("a line break in the head of a call")
        head = ("\n".join(lines) + "\n\n").encode()
        flags = numbers.FLAG_PROGRESSIVE if progressive else 0
        self.write_outbox(body, timeout)
        return self._reply(numbers.OP_CALL, timeout, flags=flags, payload=head, b=memoryview(body).nbytes)

    def send_msg(self, id, data, timeout=None):
        """Sends the initscript's RecvMsg `id` (a number or a text) at most 1 MiB."""
        id = number(id)
        length = memoryview(data).nbytes
        if length <= protocol.MAX_PAYLOAD:
            fields = {"flags": numbers.FLAG_INLINE, "payload": bytes(data)}
        else:
            self.write_outbox(data, timeout)
            fields = {"b": length}
        self._connection().request(numbers.OP_SEND_MSG, id=id, timeout=timeout, **fields)

    def get_conn(self, id, address, timeout=None):
        """Takes the connection to `address` ("tcp://host:port") that the initscript handed over as `id`.

        A Conn, which is a socket.socket. Raises Miss, AlreadyClaimed, or ConnectionReset when the server has closed it.
        """
        # Not at every program's start.
        from headstart.conn import Conn

        connection = self._connection()
        answer, descriptors = connection.hand(
            numbers.OP_GET_CONN, id=number(id), payload=address.encode(), timeout=timeout
        )
        if not descriptors:
            connection.refuse("a connection without its fd")
        return Conn.of(self, answer, descriptors[0])

    def transfer_conn(self, id, address, conn, timeout=None):
        """Hands a connection to the initscript's GetConn: a TCP socket (not in gVisor), or a Conn of get_conn.

        It is closed here then, and must have been read to the end of the last answer: else HeadstartError `connectionBusy`.
        """
        carried = getattr(conn, "carried", False)
        which = {"a": conn.number} if carried else {"beside": [conn.fileno()]}
        self._connection().hand(
            numbers.OP_TRANSFER_CONN, id=number(id), payload=address.encode(), timeout=timeout, **which
        )
        conn.close()

    def conn_status(self, conn):
        """The ConnStatus of a Conn (or its number) that the bridge carries: how a reset is told from an end."""
        from headstart.conn import status_of

        asked = getattr(conn, "number", conn)
        return status_of(self._connection().request(numbers.OP_CONN_STATUS, a=asked))

    def outbox(self, length, timeout=None):
        """This thread's writable memory of at least `length` bytes, which the bridge reads."""
        return memoryview(self._connection().outbox(length, timeout))

    def write_outbox(self, data, timeout=None):
        """Copies `data` to the front of this thread's outbox."""
        with memoryview(data).cast("B") as source:
            if len(source):
                with self.outbox(len(source), timeout) as target:
                    target[: len(source)] = source

    def wait(self, segment, offset, length, timeout=None):
        """Waits until a message in a segment has `length` bytes or is complete. Returns the bridge's Answer."""
        return self._connection().request(numbers.OP_AWAIT, a=segment, b=offset, c=length, timeout=timeout)

    def mark(self, name):
        """Stamps a name on the timeline."""
        self._connection().request(numbers.OP_MARK, payload=name.encode())

    def next(self, timeout=None):
        """Waits for the next invocation. Returns (its number, the event's bytes)."""
        connection = self._connection()
        answer = connection.request(numbers.OP_NEXT, timeout=timeout)
        return answer.id, bytes(connection.bytes_of(answer))

    def respond(self, invocation, *, flags=0, payload=b"", length=0, timeout=None):
        """One piece of an invocation's answer; `length` bytes of it from the front of the outbox."""
        self._connection().request(
            numbers.OP_RESPOND, id=invocation, flags=flags, payload=payload, b=length, timeout=timeout
        )

    def _reply(self, operation, timeout, **fields):
        connection = self._connection()
        answer = connection.request(operation, timeout=timeout, **fields)
        return Reply(self, connection, answer, timeout)

    def _connection(self):
        connections = _connections()
        connection = connections.get(self._path)
        if connection is not None and not connection.closed:
            return connection
        connection = Connection(self._path, CONNECT_TIMEOUT)
        name = "headstart-python {} ({} {}.{}.{})".format(VERSION, sys.implementation.name, *sys.version_info[:3])
        answer = connection.request(numbers.OP_HELLO, a=os.getpid(), payload=name.encode(), timeout=CONNECT_TIMEOUT)
        connection.instance_id = answer.payload.decode(errors="replace")
        connections[self._path] = connection
        return connection


def _connections():
    """This thread's connections, by the socket's path: all its Instances of one socket share one."""
    try:
        return _local.connections
    except AttributeError:
        _local.connections = {}
        return _local.connections


def _forked():
    """The parent goes on using its connections; in the child they are only closed."""
    for connection in _connections().values():
        connection.close()


os.register_at_fork(after_in_child=_forked)

"""Connections that were handed over."""

import collections
import socket

from headstart.errors import from_answer

TCP, SPLICED, TLS = 1, 2, 3
"""The TCP socket itself; a socketpair that the bridge splices to it; one behind which the bridge does TLS."""

ConnStatus = collections.namedtuple("ConnStatus", "state error received sent")
ConnStatus.__doc__ = """`state` is "open", "ended" or "broken", `error` the exception of what broke it, else None.

`received` and `sent` are bytes from the server and to it.
"""

_STATES = ("open", "ended", "broken")


class Conn(socket.socket):
    """A connected stream socket. What a socketpair cannot do as TCP does is made up for.

    A reset is no end of the stream: reading then raises what broke the connection. `getpeername` tells the server's address,
    and TCP's own options are taken and have no effect.
    """

    kind = TCP
    number = 0
    _instance = None
    _peer = None

    @property
    def carried(self):
        """Whether it is a socketpair, and the bridge moves the bytes."""
        return self.kind != TCP

    @classmethod
    def of(cls, instance, answer, descriptor):
        """From the bridge's answer and the fd beside it, which is the socket's from now on."""
        family = -1 if answer.status == TCP else socket.AF_UNIX
        kind = -1 if answer.status == TCP else socket.SOCK_STREAM
        conn = cls(family, kind, fileno=descriptor)
        conn.kind, conn.number, conn._instance = answer.status, answer.segment, instance
        conn._peer = _address(answer.payload.decode(errors="replace"))
        return conn

    def recv(self, size, *flags):
        data = super().recv(size, *flags)
        if not data and size:
            self._ended()
        return data

    def recv_into(self, buffer, nbytes=0, *flags):
        count = super().recv_into(buffer, nbytes, *flags)
        if not count and memoryview(buffer).nbytes:
            self._ended()
        return count

    def getpeername(self):
        return self._peer if self.carried else super().getpeername()

    def setsockopt(self, level, *option):
        if not self.carried or level != socket.IPPROTO_TCP:
            super().setsockopt(level, *option)

    def status(self):
        """A ConnStatus. Not of a TCP socket itself, which tells by its own errors."""
        return self._instance.conn_status(self.number)

    def _ended(self):
        """The stream has ended: raises what broke it, if it did not end by itself."""
        if self.carried and self._instance is not None:
            error = self.status().error
            if error is not None:
                raise error


def status_of(answer):
    """The ConnStatus that the bridge answered."""
    state = _STATES[min(answer.status, 2)]
    error = None
    if state == "broken":
        error = from_answer(answer.id, answer.payload.decode(errors="replace"))
    return ConnStatus(state, error, answer.length, answer.total)


def _address(text):
    """("1.2.3.4", 80) of "1.2.3.4:80", and four parts for IPv6, as sockets tell it; "" where there is none."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        return ""
    return (host[1:-1], int(port), 0, 0) if host.startswith("[") else (host, int(port))

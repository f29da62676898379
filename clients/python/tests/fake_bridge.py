"""The other end of the application's socket, for tests: real packets, real fds, answers as a test says."""

import array
import contextlib
import os
import socket
import struct
import tempfile
import threading

from headstart import _generated as numbers

HEADER = struct.Struct("<HHIIIQQQQIIQ")
CODES = {code: number for number, (code, _, _) in numbers.ERRORS.items()}


class Request:
    def __init__(self, packet):
        fields = HEADER.unpack_from(packet)
        self.version, self.operation, self.sequence, self.flags, self.length, self.id = fields[:6]
        self.a, self.b, self.c, self.deadline = fields[6:10]
        self.payload = packet[HEADER.size :]


def answer(request, payload=b"", *, flags=0, id=None, segment=0, offset=0, length=0, error="ok", status=0, total=0):
    """Packs an answer to `request`."""
    id = request.id if id is None else id
    code = CODES[error] if isinstance(error, str) else error
    head = (numbers.VERSION, request.operation, request.sequence, flags, len(payload), id)
    return HEADER.pack(*head, segment, offset, length, code, status, total) + payload


def memfd(data):
    """An fd of memory with these bytes."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    return descriptor


class FakeBridge:
    """Serves a socket. `handle(request, peer)` gets every request but hello; what it returns is sent.

    It returns a packet, a tuple (packet, [fds]), whose fds are closed after sending, or None to send nothing. `news` does
    the same for requests for news of segments; without it there is none.
    """

    def __init__(self, handle, news=lambda request, peer: None):
        self._handle, self._news = handle, news
        self._folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self._folder.name, "app.sock")
        self.hellos = []
        self.requests = []
        self.peers = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes accept(2), which close alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            self.cut(peer)
        self._folder.cleanup()

    @staticmethod
    def cut(peer):
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, contextlib.suppress(OSError):
            while packet := peer.recv(65536):
                request = Request(packet)
                if request.operation == numbers.OP_HELLO:
                    self.hellos.append(request)
                    peer.send(answer(request, b"i-test", total=1 << 20))
                    continue
                if request.operation == numbers.OP_SEGMENT and request.a == 0:
                    told = self._news(request, peer)
                    if told is None and request.c == 1:
                        told = answer(request, b"there is none", error="deadline")
                    self._send(peer, told)
                    continue
                self.requests.append(request)
                self._send(peer, self._handle(request, peer))

    @staticmethod
    def _send(peer, result):
        if result is None:
            return
        packet, descriptors = result if isinstance(result, tuple) else (result, [])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            peer.sendmsg([packet], ancillary)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def open_fds():
    return len(os.listdir("/proc/self/fd"))

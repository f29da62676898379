import os
import socket
import threading
import unittest
from unittest import mock

import storage
from headstart import Instance, fnv1a64
from headstart._generated import FLAG_FD, FLAG_INLINE, OP_CALL, OP_GET_CONN, OP_OUTBOX
from headstart.conn import TCP
from storage import _address as address
from storage._http import HttpError
from storage._library import Storage
from tests.fake_bridge import FakeBridge, answer, memfd
from tests.test_storage import Store

URL = "http://store:9000/results/r.json?X-Amz-Signature=abc"
WHERE = "tcp://store:9000"
STORED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Bridge:
    """A bridge that hands over a connection to a server which answers so: one answer a request, b"" ends it."""

    def __init__(self, answers=None, call=200):
        self._answers, self._call, self.requests = answers, call, []
        self._box = memfd(bytes(4096))
        self.bridge = FakeBridge(self._handle)
        self.asked, self.storage = [], Storage(instance=Instance(self.bridge.path))
        self._server = None

    def __enter__(self):
        self.bridge.__enter__()
        return self

    def __exit__(self, *error):
        self.storage = None  # with its connection
        self.bridge.__exit__(*error)
        os.close(self._box)
        if self._server is not None:
            self._server.join(5)

    def _handle(self, request, _):
        if request.operation == OP_OUTBOX:
            return answer(request, segment=9, length=4096, flags=FLAG_FD), [os.dup(self._box)]
        if request.operation == OP_CALL:
            self.asked.append((request.payload.decode().strip(), os.pread(self._box, request.b, request.a)))
            if isinstance(self._call, str):
                return answer(request, b"", error=self._call)
            return answer(request, b"<Code>Refused</Code>", flags=FLAG_INLINE, status=self._call)
        assert request.operation == OP_GET_CONN
        self.asked.append((request.id, request.payload.decode()))
        if self._answers is None:
            return answer(request, b"", error="miss")
        ours, theirs = socket.socketpair()
        self._server = threading.Thread(target=self._serve, args=(ours,), daemon=True)
        self._server.start()
        packet = answer(request, b"10.0.0.7:9000", segment=3, status=TCP, flags=FLAG_FD)
        return packet, [theirs.detach()]

    def _serve(self, connection):
        with connection:
            for reply in self._answers:
                said = connection.recv(65536)
                while b"\r\n\r\n" not in said or len(said.partition(b"\r\n\r\n")[2]) < 4:
                    said += connection.recv(65536)
                self.requests.append(said)
                if reply == b"":
                    return
                connection.sendall(reply)


class HandedOverTest(unittest.TestCase):
    def test_stores_on_the_connection_and_keeps_it(self):
        with Bridge([STORED, STORED]) as bridge:
            bridge.storage.upload_url(URL, b"made")
            bridge.storage.upload_url(URL, b"more")
            self.assertEqual(bridge.asked, [(fnv1a64(f"CONNECT {WHERE}"), WHERE)])
        head, _, body = bridge.requests[0].partition(b"\r\n\r\n")
        self.assertEqual(body, b"made")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"PUT /results/r.json?X-Amz-Signature=abc HTTP/1.1")
        self.assertIn(b"host: store:9000", lines)
        self.assertIn(b"content-length: 4", lines)

    def test_the_bridge_stores_when_there_is_no_connection_or_it_died(self):
        for answers in (None, [b""], [b"SSH-2.0\r\n\r\n"], [STORED[:-2]]):
            with Bridge(answers) as bridge:
                bridge.storage.upload_url(URL, b"made")
                self.assertEqual(bridge.asked[1:], [(f"PUT {URL}", b"made")])

    def test_a_refusal_is_raised_and_not_tried_again(self):
        refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 25\r\n\r\n<Code>AccessDenied</Code>"
        moved = b"HTTP/1.1 307 Moved\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n"
        for raw, kind, what in ((refused, storage.Forbidden, "403 AccessDenied"), (moved, storage.StorageError, "307")):
            with Bridge([raw]) as bridge:
                with self.assertRaisesRegex(kind, what) as raised:
                    bridge.storage.upload_url(URL, b"made")
                self.assertNotIn("Signature", str(raised.exception))
                self.assertEqual(len(bridge.asked), 1)

    def test_what_the_bridge_cannot_store_is_raised(self):
        for call, what in ((500, "500 Refused"), ("connectFailed", "connectFailed"), ("egressDenied", "egressDenied")):
            with Bridge(None, call) as bridge, self.assertRaisesRegex(OSError, what):
                bridge.storage.upload_url(URL, b"made")


class DirectTest(unittest.TestCase):
    def test_stores_by_itself(self):
        with Store() as store, mock.patch.dict(os.environ, {"HEADSTART_DIRECT": "1"}):
            library = Storage()
            library.upload_url(f"{store.endpoint}/results/r?x=1", b"made")
            library.upload_url(f"{store.endpoint}/results/r?x=1", b"made")
            self.assertEqual(store.connections, 1)
            self.assertFalse(any("authorization" in line for line in store.heads[0]))

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with mock.patch.dict(os.environ, {"HEADSTART_DIRECT": "1"}):
            with self.assertRaisesRegex(HttpError, "cannot connect"):
                Storage().upload_url(f"http://127.0.0.1:{port}/r", b"")


class UrlTest(unittest.TestCase):
    def test_splits(self):
        for url, expected in {
            "http://h:1/b/k?q=1": (False, "h:1", "/b/k?q=1"),
            "https://h/": (True, "h", "/"),
            "http://[::1]:8/x": (False, "[::1]:8", "/x"),
        }.items():
            self.assertEqual(address.split(url), expected)

    def test_refuses(self):
        for url in ("", "http://h", "ftp://h/x", "http:///x", "http://u:p@h/x", "http://h/a b", "http://h/a\r\nx: y"):
            with self.assertRaises(ValueError, msg=url):
                address.split(url)

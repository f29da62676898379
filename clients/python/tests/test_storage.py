import io
import os
import socket
import threading
import unittest
from unittest import mock

import storage
import storage.counter
from headstart import BridgeLost, Instance, fnv1a64
from headstart._generated import FLAG_DONE, FLAG_FD, FLAG_INLINE, FLAG_LENGTH_KNOWN, OP_CALL, OP_OUTBOX, OP_RECV_MSG
from storage import _address as address
from storage._http import HttpError
from storage._library import Storage
from storage._s3 import Client, authorization
from tests.fake_bridge import FakeBridge, answer, memfd

NO_SUCH_KEY = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>"


def bridge_with(claim, call=None):
    """A bridge that answers claims and calls so; both are functions of the request."""

    def handle(request, _):
        return {OP_RECV_MSG: claim, OP_CALL: call}[request.operation](request)

    return FakeBridge(handle)


def inline(data, status=200):
    return lambda request: answer(request, data, flags=FLAG_INLINE, status=status)


def fails(code):
    return lambda request: answer(request, b"", error=code)


class BridgeTest(unittest.TestCase):
    def test_claims_by_the_hash_of_what_it_wants(self):
        with bridge_with(inline(b"ahead")) as bridge:
            self.assertEqual(Storage(instance=Instance(bridge.path)).download("models", "/a b/é.onnx"), b"ahead")
            (request,) = bridge.requests
            self.assertEqual(request.payload.decode(), "GET s3://models/a%20b/%C3%A9.onnx")
            self.assertEqual(request.id, fnv1a64(request.payload))

    def test_does_the_call_when_the_initscript_did_not_succeed(self):
        for claim in (fails("miss"), fails("diverged"), fails("connectionReset"), inline(b"no", status=500)):
            with bridge_with(claim, inline(b"by call")) as bridge:
                self.assertEqual(Storage(instance=Instance(bridge.path)).download("models", "k"), b"by call")
                self.assertEqual(bridge.requests[1].payload, b"GET s3://models/k\n\n")

    def test_what_the_store_refuses_is_raised(self):
        for status, kind, builtin in (
            (404, storage.NotFound, FileNotFoundError),
            (403, storage.Forbidden, PermissionError),
        ):
            with bridge_with(fails("miss"), inline(NO_SUCH_KEY, status=status)) as bridge:
                for method in ("download", "download_stream"):
                    with self.assertRaisesRegex(kind, f"GET s3://models/k: {status} NoSuchKey No such key.") as caught:
                        getattr(Storage(instance=Instance(bridge.path)), method)("models", "k")
                    self.assertIsInstance(caught.exception, builtin)

    def test_streams_what_is_still_coming(self):
        def claim(request):
            flags = FLAG_FD | FLAG_LENGTH_KNOWN | FLAG_DONE
            return answer(request, segment=1, length=4, total=4, flags=flags, status=200), [memfd(b"data")]

        with bridge_with(claim) as bridge:
            with Storage(instance=Instance(bridge.path)).download_stream("models", "k") as stream:
                self.assertEqual(stream.read(), b"data")

    def test_counts_its_downloads(self):
        with bridge_with(inline(b"x")) as bridge:
            counted = storage.counter.new(instance=Instance(bridge.path))
            counted.download("inputs", "a")
            counted.download("models", "b")
            self.assertEqual(
                [(request.id, request.payload) for request in bridge.requests],
                [(0, b"GET s3://inputs/a"), (1, b"GET s3://models/b")],
            )

    def test_uploads_go_through_the_outbox(self):
        box = memfd(bytes(4096))
        sent = []

        def handle(request, _):
            if request.operation == OP_OUTBOX:
                return answer(request, segment=9, length=4096, flags=FLAG_FD), [os.dup(box)]
            sent.append((request.payload, os.pread(box, request.b, request.a)))
            return answer(request, flags=FLAG_INLINE, status=200)

        with FakeBridge(handle) as bridge:
            library = Storage(instance=Instance(bridge.path))
            library.upload("results", "r", b"bytes")
            library.upload_stream("results", "r", io.BytesIO(b"stream"))
        self.assertEqual(sent, [(b"PUT s3://results/r\n\n", b"bytes"), (b"PUT s3://results/r\n\n", b"stream")])
        os.close(box)

    def test_a_lost_bridge_without_credentials_is_the_error(self):
        with mock.patch.dict(os.environ), self.assertRaises(BridgeLost):
            os.environ.pop("AWS_ACCESS_KEY_ID", None)
            Storage(instance=Instance("/nonexistent")).download("models", "k")

    def test_a_lost_bridge_with_credentials_is_done_without(self):
        with Store({"/models/k": b"direct"}) as store:
            library = Storage(instance=Instance("/nonexistent"), client=store.client())
            self.assertEqual(library.download("models", "k"), b"direct")


class Store:
    """An HTTP server that answers as told: a body by path, or a list of raw answers, one for each request."""

    def __init__(self, objects=(), raw=()):
        self._objects, self._raw = dict(objects), iter(list(raw))
        self.heads, self.connections = [], 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def client(self):
        return Client(self.endpoint, "access", "secret")

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, peer.makefile("rb") as file:
            while head := self._read_head(file):
                self.heads.append(head)
                verb, path, _ = head[0].split()
                length = next((int(line[15:]) for line in head if line.startswith("content-length:")), 0)
                sent = file.read(length)
                if verb == "PUT":
                    self._objects[path] = sent
                raw = next(self._raw, None)
                if raw is None:
                    body = self._objects.get(path)
                    status = b"200 OK" if body is not None else b"404 Not Found"
                    body = NO_SUCH_KEY if body is None else b"" if verb == "PUT" else body
                    raw = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
                peer.sendall(raw)
                if raw == b"" or b"close" in raw.split(b"\r\n\r\n")[0]:
                    return

    @staticmethod
    def _read_head(file):
        lines = []
        while (line := file.readline().decode().rstrip("\r\n")) or not lines:
            if not line:
                return None
            lines.append(line)
        return lines


class DirectTest(unittest.TestCase):
    def test_uses_the_environment_and_keeps_its_connection(self):
        body = os.urandom(3_000_000)
        with Store({"/models/a%20b": body, "/models/empty": b""}) as store:
            environment = {
                "HEADSTART_DIRECT": "1",
                "HEADSTART_S3_ENDPOINT": store.endpoint,
                "AWS_ACCESS_KEY_ID": "access",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "eu-west-1",
            }
            with mock.patch.dict(os.environ, environment):
                library = Storage()
                self.assertEqual(library.download("models", "a b"), body)
                self.assertIsInstance(library.download("models", "a b"), memoryview)
                self.assertEqual(library.download("models", "empty"), b"")
                with library.download_stream("models", "a b") as stream:
                    self.assertEqual(stream.read(10) + stream.read(), body)
                library.upload("results", "r", b"made")
                library.upload_stream("results", "s", io.BytesIO(b"streamed"))
                self.assertEqual(library.download("results", "r"), b"made")
                self.assertEqual(library.download("results", "s"), b"streamed")
                with self.assertRaises(storage.NotFound):
                    library.download("models", "absent")
                self.assertEqual(library.download("models", "empty"), b"")
            self.assertEqual(store.connections, 1)
            self.assertIn("user-agent: headstart-python-direct", store.heads[0])
            self.assertTrue(any("/eu-west-1/s3/aws4_request" in line for line in store.heads[0]))

    def test_a_forked_child_does_not_use_its_parents_connection(self):
        with Store({"/b/k": b"x" * 100}) as store:
            client = store.client()
            client.get("b", "k")
            child = os.fork()
            if child == 0:
                os._exit(0 if client.get("b", "k") == b"x" * 100 else 1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertEqual(client.get("b", "k"), b"x" * 100)
            self.assertEqual(store.connections, 2)

    def test_threads_share_a_client(self):
        with Store({"/b/k": b"x" * 100_000}) as store:
            client, results = store.client(), []
            threads = [threading.Thread(target=lambda: results.append(client.get("b", "k"))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            self.assertEqual(results, [b"x" * 100_000] * 8)

    def test_no_credentials(self):
        with mock.patch.dict(os.environ, {"HEADSTART_DIRECT": "1"}):
            os.environ.pop("AWS_ACCESS_KEY_ID", None)
            with self.assertRaisesRegex(storage.StorageError, "AWS_ACCESS_KEY_ID"):
                Storage().download("models", "k")

    def test_a_connection_that_the_server_closed_in_the_meantime(self):
        with Store({"/b/k": b"x"}, raw=[b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b""]) as store:
            client = store.client()
            self.assertEqual(client.get("b", "k"), b"x")
            self.assertEqual(client.get("b", "k"), b"x")
            self.assertEqual(store.connections, 2)

    def test_tries_again_after_what_passes(self):
        busy = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n"
        cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx: close\r\n\r\n123"
        with Store({"/b/k": b"x"}, raw=[busy, cut]) as store:
            self.assertEqual(store.client().get("b", "k"), b"x")
            self.assertEqual(len(store.heads), 3)

    def test_gives_up(self):
        busy = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n"
        with Store(raw=[busy] * 5) as store:
            with self.assertRaisesRegex(storage.StorageError, "503"):
                store.client().get("b", "k")
            self.assertEqual(len(store.heads), 3)

    def test_bodies_in_chunks_and_to_the_connections_end(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: v\r\n\r\n"
        to_end = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"
        with Store(raw=[chunked, chunked, to_end]) as store:
            client = store.client()
            self.assertEqual(client.get("b", "k"), b"abcde")
            with client.get_stream("b", "k") as stream:
                self.assertEqual(stream.read(), b"abcde")
            self.assertEqual(client.get("b", "k"), b"to the end")
            self.assertEqual(store.connections, 1)

    def test_answers_that_make_no_sense(self):
        for raw in (
            b"SSH-2.0 close\r\n\r\n",
            b"HTTP/1.1 abc close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nclose\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\nx: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: close\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: close\r\n\r\n-5\r\n",
            b"close" * 20_000,
        ):
            with Store(raw=[raw] * 3) as store, self.assertRaises(HttpError):
                store.client().get("b", "k", timeout=5)

    def test_a_server_that_does_not_answer(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "a", "s")
            with self.assertRaises(HttpError):
                client.get("b", "k", timeout=0.2)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with self.assertRaisesRegex(HttpError, "cannot connect"):
            Client(f"http://127.0.0.1:{port}", "a", "s").get("b", "k")


class AddressTest(unittest.TestCase):
    def test_keys_are_encoded_once_as_the_bridge_does(self):
        for key, encoded in {
            "a b+c/d": "a%20b%2Bc/d",
            "/k": "k",
            "é?#": "%C3%A9%3F%23",
            "%2e": "%252e",
            "~-._": "~-._",
        }.items():
            self.assertEqual(address.encode(key), encoded)

    def test_endpoints(self):
        for text, expected in {
            "http://h:9000": (False, "h", 9000),
            "https://s3.eu-west-1.amazonaws.com/": (True, "s3.eu-west-1.amazonaws.com", 443),
            "http://127.0.0.1": (False, "127.0.0.1", 80),
            "http://[::1]:9000": (False, "::1", 9000),
            "https://[::1]": (True, "::1", 443),
        }.items():
            self.assertEqual(address.endpoint(text), expected)
        for text in ("", "h:9000", "ftp://h", "http://", "http://:80", "http://h:x", "http://h/path"):
            with self.assertRaises(ValueError):
                address.endpoint(text)


class SignatureTest(unittest.TestCase):
    """The examples of AWS's documentation, "Signature Calculations for the Authorization Header"."""

    EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")

    def sign(self, verb, path, payload, **extra):
        date = "20130524T000000Z"
        headers = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": date, "x-amz-content-sha256": payload}
        headers.update((name.replace("_", "-"), value) for name, value in extra.items())
        return authorization(verb, path, headers, payload, date, *self.KEYS)

    def test_get_object(self):
        self.assertEqual(
            self.sign("GET", "/test.txt", self.EMPTY, range="bytes=0-9"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        )

    def test_put_object(self):
        payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
        extra = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x_amz_storage_class": "REDUCED_REDUNDANCY"}
        signed = self.sign("PUT", "/test%24file.text", payload, **extra)
        self.assertTrue(signed.endswith("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))


if __name__ == "__main__":
    unittest.main()

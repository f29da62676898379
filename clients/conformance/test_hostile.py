"""What no bridge sends, sent to every client: each refuses it, closes what came with it, and goes on with a new connection."""

import os
import queue
import struct
import sys
import tempfile
import time
import unittest

PYTHON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python")
sys.path[:0] = [PYTHON, os.path.join(PYTHON, "tests")]

import probes
from fake_bridge import FakeBridge, answer, memfd
from headstart import _generated as numbers

WHOLE = numbers.FLAG_DONE | numbers.FLAG_LENGTH_KNOWN
MAPPED = WHOLE | numbers.FLAG_FD
INLINE = WHOLE | numbers.FLAG_INLINE
PAGE = b"x" * 4096


def changed(packet, at, form, value):
    """A packet with one of its numbers changed."""
    changed = bytearray(packet)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def pipe():
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def good(request):
    return answer(request, b"hello", flags=INLINE, length=5, total=5)


def mapped(request, **fields):
    return answer(request, **{"segment": 1, "length": 10, "total": 10, "flags": MAPPED, **fields})


# What is sent in answer to a claim, and what the program may make of it.
CASES = {
    "nothing but an end": (lambda _: b"", {"bridgeLost"}),
    "no answer": (lambda _: None, {"deadline"}),
    "less than a header": (lambda request: good(request)[:63], {"protocol"}),
    "another version": (lambda request: changed(good(request), 0, "<H", 2), {"protocol"}),
    "an answer to something else": (lambda request: changed(good(request), 2, "<H", numbers.OP_CALL), {"protocol"}),
    "an answer to the request before": (lambda request: changed(good(request), 4, "<I", 0), {"protocol"}),
    "a payload that is shorter than it says": (lambda request: changed(good(request), 12, "<I", 6), {"protocol"}),
    "a payload that is longer than it says": (lambda request: good(request) + b"x", {"protocol"}),
    "a packet that is too long": (lambda request: answer(request, b"x" * 5000, flags=INLINE), {"protocol"}),
    "an fd that was not announced": (lambda request: (good(request), [memfd(PAGE)]), {"protocol"}),
    "an announced fd that is not there": (mapped, {"protocol"}),
    "two fds": (lambda request: (mapped(request), [memfd(PAGE), memfd(PAGE)]), {"protocol"}),
    "more fds than there is room for": (
        lambda request: (mapped(request), [memfd(PAGE) for _ in range(100)]),
        {"protocol"},
    ),
    "a pipe for a segment": (lambda request: (mapped(request), [pipe()]), {"protocol"}),
    "a segment of no bytes": (lambda request: (mapped(request), [memfd(b"")]), {"protocol"}),
    "a segment that was never sent": (lambda request: mapped(request, segment=7, flags=WHOLE), {"protocol"}),
    "bytes of no segment": (lambda request: answer(request, length=9, total=9, flags=WHOLE), {"protocol"}),
    "bytes behind the segment's end": (
        lambda request: (mapped(request, offset=4090, length=10), [memfd(PAGE)]),
        {"protocol"},
    ),
    "an offset that overflows": (
        lambda request: (mapped(request, offset=(1 << 64) - 4, length=10), [memfd(PAGE)]),
        {"protocol"},
    ),
    "a length that overflows": (
        lambda request: (mapped(request, offset=8, length=(1 << 64) - 4, total=(1 << 64) - 4), [memfd(PAGE)]),
        {"protocol"},
    ),
    "a total behind the segment's end": (
        lambda request: (mapped(request, length=10, total=1 << 40, flags=MAPPED & ~numbers.FLAG_DONE), [memfd(PAGE)]),
        {"protocol"},
    ),
    "an error that nobody knows": (lambda request: answer(request, b"?", error=9999), {"internal"}),
    "an error with an fd": (
        lambda request: (mapped(request, error="miss"), [memfd(PAGE)]),
        {"miss", "protocol"},
    ),
    "an error that is no text": (lambda request: answer(request, b"\xff\xfe\0", error="miss"), {"miss"}),
    "the word that the client is wrong": (lambda request: answer(request, b"", error="protocol"), {"protocol"}),
}


class Bridge:
    """Gives a probe one event after the other, each with one claim, which is answered as the case says."""

    def __init__(self, claimed):
        self.claimed = claimed
        self.lines = queue.Queue()
        self._cases = iter(CASES)
        self._case = None
        self._text = b""

    def handle(self, request, _peer):
        if request.operation == numbers.OP_NEXT:
            self._case = next(self._cases, None)
            if self._case is None:
                return answer(request, b"no more", error="instanceClosed")
            event = b"{}\n---\nrecv\tx\t\twhole\t1000\n"
            return answer(request, event, flags=INLINE, id=1, length=len(event), total=len(event))
        if request.operation == numbers.OP_RECV_MSG:
            return self.claimed(self._case, request)
        if request.operation == numbers.OP_RESPOND:
            if request.flags & numbers.FLAG_INLINE:
                self._text += request.payload
            if request.flags & (numbers.FLAG_END | numbers.FLAG_ERROR):
                self.lines.put((self._case, self._text.decode() or request.payload.decode(errors="replace")))
                self._text = b""
        return answer(request)


class HostileTest(unittest.TestCase):
    def test_c(self):
        self.play("c")

    def test_node(self):
        self.play("node")

    def test_python(self):
        self.play("python")

    def test_rust(self):
        self.play("rust")

    def play(self, language):
        bridge = Bridge(lambda case, request: CASES[case][0](request))
        with tempfile.TemporaryDirectory() as folder, FakeBridge(bridge.handle) as fake:
            probe = probes.start(language, folder, fake.path)
            try:
                fds = []
                for _ in CASES:
                    case, text = self.answered(bridge, probe, folder)
                    self.assertIn(text.strip(), {f"error {code}" for code in CASES[case][1]}, case)
                    fds.append(len(os.listdir(f"/proc/{probe.pid}/fd")))
                # Files that a runtime opens by and by are few; 100 fds of one case would be seen.
                self.assertLessEqual(max(fds[1:]) - fds[0], 2, fds)
                self.assertEqual(probe.wait(10), 0, output(folder))
            finally:
                probe.kill()
                probe.wait()

    def answered(self, bridge, probe, folder):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                return bridge.lines.get(timeout=0.2)
            except queue.Empty:
                if probe.poll() is not None:
                    break
        self.fail(f"no answer; status {probe.poll()}: {output(folder)}")


def output(folder):
    with open(os.path.join(folder, "output")) as file:
        return file.read()[-2000:]


if __name__ == "__main__":
    unittest.main()

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from pathlib import Path

from headstart._generated import (
    FLAG_BEGIN,
    FLAG_DONE,
    FLAG_END,
    FLAG_ERROR,
    FLAG_FD,
    FLAG_INLINE,
    FLAG_LENGTH_KNOWN,
    OP_NEXT,
    OP_OUTBOX,
    OP_RESPOND,
)
from tests.fake_bridge import FakeBridge, answer, memfd

PACKAGES = str(Path(__file__).resolve().parents[1])


class Platform:
    """Gives events one after the other and puts the answers together."""

    def __init__(self, events, refuse=None):
        self.answers = []
        self.slow = iter(["deadline"])
        self._events = iter(enumerate(events, 1))
        self._refuse = refuse
        self._box = memfd(bytes(1 << 20))
        self.bridge = FakeBridge(self.handle)

    def handle(self, request, peer):
        if request.operation == OP_NEXT:
            return self.next(request, peer)
        if request.operation == OP_OUTBOX:
            return answer(request, segment=9, length=1 << 20, flags=FLAG_FD), [os.dup(self._box)]
        if request.operation == OP_RESPOND:
            return self.respond(request)
        return answer(request)

    def next(self, request, peer):
        if next(self.slow, None):
            return answer(request, error="deadline")
        number, event = next(self._events, (0, None))
        if event is None:
            return answer(request, error="instanceClosed")
        if event == "die":
            return FakeBridge.cut(peer)
        if len(event) > 3000:
            flags = FLAG_FD | FLAG_DONE | FLAG_LENGTH_KNOWN
            return answer(request, id=number, segment=number, length=len(event), flags=flags), [memfd(event)]
        return answer(request, event, id=number, flags=FLAG_INLINE)

    def respond(self, request):
        if request.flags & FLAG_BEGIN:
            self.answers.append({"invocation": request.id, **json.loads(request.payload), "body": b""})
        elif request.flags & FLAG_ERROR:
            self.answers.append({"invocation": request.id, "error": request.payload.decode()})
        elif self._refuse:
            return answer(request, error=self._refuse)
        elif request.flags & FLAG_INLINE:
            self.answers[-1]["body"] += request.payload
        else:
            self.answers[-1]["body"] += os.pread(self._box, request.b, request.a)
        if request.flags & FLAG_END:
            self.answers[-1]["ended"] = True
        return answer(request)


def run(source, events, handler="function:handler", refuse=None):
    """Runs the loop over `events`. Returns (answers, finished process)."""
    platform = Platform(events, refuse)
    with tempfile.TemporaryDirectory() as folder, platform.bridge as bridge:
        Path(folder, "function.py").write_text(textwrap.dedent(source))
        environment = {**os.environ, "PYTHONPATH": PACKAGES, "HEADSTART_SOCKET": bridge.path}
        command = [sys.executable, "-m", "headstart.runtime", handler]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20)
        return platform.answers, process


class RuntimeTest(unittest.TestCase):
    def test_what_a_handler_may_return(self):
        source = """
            def handler(event):
                return {
                    "dict": {"a": 1}, "list": [1], "text": "é", "bytes": b"\\xff", "none": None, "number": 7,
                    "all": (201, {"X-A": "b"}, "made"), "typed": (200, [("Content-Type", "text/html")], "<p>"),
                    "stream": (str(n) for n in range(3)), "large": b"x" * 700_000,
                }[event["want"]]
        """
        wants = ["dict", "list", "text", "bytes", "none", "number", "all", "typed", "stream", "large"]
        answers, process = run(source, [json.dumps({"want": want}).encode() for want in wants])
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertTrue(all(answer["ended"] for answer in answers))
        self.assertEqual([answer["invocation"] for answer in answers], list(range(1, 11)))
        self.assertEqual(
            [answer["body"] for answer in answers],
            [b'{"a": 1}', b"[1]", "é".encode(), b"\xff", b"", b"7", b"made", b"<p>", b"012", b"x" * 700_000],
        )
        self.assertEqual(answers[0]["headers"], [["content-type", "application/json"]])
        self.assertEqual(answers[4]["headers"], [])
        self.assertEqual(answers[6]["status"], 201)
        self.assertIn(["X-A", "b"], answers[6]["headers"])
        self.assertEqual(answers[7]["headers"], [["Content-Type", "text/html"]])

    def test_events_that_are_no_json_and_events_in_a_segment(self):
        source = "def handler(event):\n    return type(event).__name__ + str(len(event))\n"
        answers, _ = run(source, [b"\xff\xfe", json.dumps(["x" * 5000]).encode(), b"y" * 5000])
        self.assertEqual([answer["body"] for answer in answers], [b"bytes2", b"list1", b"bytes5000"])

    def test_a_handler_that_raises_is_reported_and_the_next_event_is_served(self):
        source = """
            def handler(event):
                if event == 1:
                    raise ValueError("bad event")
                return "fine"
        """
        answers, process = run(source, [b"1", b"2"])
        self.assertIn("ValueError: bad event", answers[0]["error"])
        self.assertIn("line 4, in handler", answers[0]["error"])
        self.assertIn("ValueError: bad event", process.stderr)
        self.assertEqual(answers[1]["body"], b"fine")

    def test_a_stream_that_raises_before_its_first_piece_has_no_head(self):
        source = """
            def handler(event):
                raise RuntimeError("at once")
                yield b"never"
        """
        answers, _ = run(source, [b"1"])
        self.assertNotIn("status", answers[0])
        self.assertIn("at once", answers[0]["error"])

    def test_a_stream_that_raises_after_it_began(self):
        source = """
            def handler(event):
                yield b"first"
                raise RuntimeError("then nothing")
        """
        answers, _ = run(source, [b"1"])
        self.assertEqual(answers[0]["body"], b"first")
        self.assertNotIn("ended", answers[0])
        self.assertIn("then nothing", answers[1]["error"])

    def test_what_a_handler_may_not_return(self):
        for result in ("object()", "(200, 'x')", "(99, {}, 'x')", "[object()]", "(x for x in [1])"):
            answers, process = run(f"def handler(event):\n    return {result}\n", [b"1"])
            self.assertIn("TypeError", answers[-1]["error"], result)
            self.assertEqual(process.returncode, 0)

    def test_a_module_that_cannot_be_imported(self):
        for source, handler, message in (
            ("import nothing_of_that_name", "function:handler", "ModuleNotFoundError"),
            ("def other(event): pass", "function:handler", "has no function handler"),
            ("def handler(event): pass", "absent:handler", "No module named 'absent'"),
            ("def handler(event): pass", "function", "not of the form module:function"),
        ):
            answers, process = run(source, [b"1", b"2"], handler)
            self.assertIn(message, answers[0]["error"])
            self.assertIn(message, process.stderr)
            self.assertEqual((len(answers), process.returncode), (1, 1))

    def test_the_connection_is_there_before_the_module_is_imported(self):
        # The module finishes its import only once the bridge has seen the hello.
        with tempfile.TemporaryDirectory() as folder:
            gate = Path(folder, "gate")
            source = f"""
                import os, time
                begun = time.monotonic()
                while not os.path.exists({str(gate)!r}) and time.monotonic() < begun + 5: time.sleep(0.01)
                def handler(event): return str(os.path.exists({str(gate)!r}))
            """
            platform = Platform([b"1"])
            with platform.bridge as bridge:
                Path(folder, "function.py").write_text(textwrap.dedent(source))
                environment = {**os.environ, "PYTHONPATH": PACKAGES, "HEADSTART_SOCKET": bridge.path}
                command = [sys.executable, "-m", "headstart.runtime", "function:handler"]
                process = subprocess.Popen(command, cwd=folder, env=environment)
                for _ in range(500):
                    if bridge.hellos:
                        break
                    threading.Event().wait(0.01)
                self.assertEqual(bridge.requests, [])
                gate.touch()
                self.assertEqual(process.wait(10), 0)
            self.assertEqual(platform.answers[0]["body"], b"True")

    def test_the_caller_goes_away(self):
        source = """
            def handler(event):
                try:
                    yield b"x"
                    yield b"y"
                finally:
                    print("closed")
        """
        answers, process = run(source, [b"1", b"2"], refuse="cancelled")
        self.assertEqual(process.returncode, 0)
        self.assertEqual(process.stdout, "closed\nclosed\n")
        self.assertEqual(process.stderr, "")

    def test_the_bridge_dies(self):
        _, process = run("def handler(event): pass", [b"1", "die"])
        self.assertEqual(process.returncode, 1)
        self.assertRegex(process.stderr, "^headstart.runtime: bridgeLost: .*\n$")

    def test_no_bridge(self):
        environment = {**os.environ, "PYTHONPATH": PACKAGES, "HEADSTART_SOCKET": "/nonexistent/app.sock"}
        command = [sys.executable, "-m", "headstart.runtime", "function:handler"]
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(process.stderr, "^headstart.runtime: bridgeLost: cannot connect to /nonexistent/app.sock.*\n$")

    def test_a_try_out_without_headstart(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "function.py").write_text("def handler(event): return {'got': event}\n")
            Path(folder, "event.json").write_text('{"a": 1}')
            environment = {**os.environ, "PYTHONPATH": PACKAGES}
            command = [sys.executable, "-m", "headstart.runtime", "function:handler", "--event", "event.json"]
            process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20)
            self.assertEqual(process.stdout, '{"got": {"a": 1}}')

    def test_wrong_arguments(self):
        for arguments in ([], ["a:b", "--event"], ["a:b", "--what", "x"], ["--event", "a:b", "x"]):
            command = [sys.executable, "-m", "headstart.runtime", *arguments]
            environment = {**os.environ, "PYTHONPATH": PACKAGES}
            process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
            self.assertEqual((process.returncode, process.stderr.split()[0]), (2, "usage:"), arguments)


if __name__ == "__main__":
    unittest.main()

import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from pathlib import Path

from headstart._generated import (
    FLAG_DONE,
    FLAG_ERROR,
    FLAG_FD,
    FLAG_INLINE,
    FLAG_LENGTH_KNOWN,
    OP_CALL,
    OP_CHECKPOINT,
    OP_NEXT,
    OP_RESPOND,
)
from tests.fake_bridge import FakeBridge, answer, memfd

PACKAGES = str(Path(__file__).resolve().parents[1])


class Maker:
    """A bridge that makes a snapshot of a program: the program waits on its stdin, and goes on with one event."""

    def __init__(self):
        self.said = None
        self.printed = ""
        self.ready = threading.Event()
        self.answers = []
        self.events = iter([b"{}"])
        self.bridge = FakeBridge(self.handle)

    def handle(self, request, peer):
        if request.operation == OP_CHECKPOINT:
            self.said = (bool(request.flags & FLAG_ERROR), request.payload.decode())
            self.ready.set()
        if request.operation == OP_CALL:
            flags = FLAG_FD | FLAG_DONE | FLAG_LENGTH_KNOWN
            return answer(request, segment=1, length=4096, total=4096, flags=flags), [memfd(b"w" * 4096)]
        if request.operation == OP_NEXT:
            event = next(self.events, None)
            if event is None:
                return answer(request, error="instanceClosed")
            return answer(request, event, id=1, flags=FLAG_INLINE)
        if request.operation == OP_RESPOND:
            self.answers.append(request.payload)
        return answer(request)


class Snapshot(unittest.TestCase):
    def run_module(self, source, told=b"HEADSTART_INSTANCE=i-one\0"):
        maker = Maker()
        with maker.bridge, tempfile.TemporaryDirectory() as folder:
            Path(folder, "function.py").write_text(textwrap.dedent(source))
            environment = {
                **os.environ,
                "PYTHONPATH": PACKAGES,
                "HEADSTART_SOCKET": maker.bridge.path,
                "HEADSTART_SNAPSHOT": "1",
            }
            command = [sys.executable, "-m", "headstart.runtime", "function:handler"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as program:
                try:
                    self.assertTrue(maker.ready.wait(30))
                    # What it printed is out: else every instance would print it.
                    readable, _, _ = select.select([program.stdout], [], [], 0)
                    maker.printed = os.read(program.stdout.fileno(), 65536).decode() if readable else ""
                    out, err = program.communicate(told, timeout=30)
                finally:
                    program.kill()
        return maker, program.returncode, out.decode(), err.decode()

    def test_it_says_that_it_is_ready_and_goes_on_for_an_instance(self):
        maker, status, out, err = self.run_module("""
            import os, random
            from headstart import snapshot
            random.seed(1)
            before = random.getstate()
            print("loaded", os.environ.get("HEADSTART_INSTANCE"), end="")

            @snapshot.after_restore
            def begun():
                print("begun", os.environ["HEADSTART_INSTANCE"], "HEADSTART_SNAPSHOT" in os.environ)

            def handler(event):
                return {"reseeded": random.getstate() != before}
        """)
        self.assertEqual((status, maker.said), (0, (False, "")), err)
        self.assertEqual((maker.printed, out.splitlines()), ("loaded None", ["begun i-one False"]))
        self.assertIn({"reseeded": True}, [json.loads(piece) for piece in maker.answers if b"reseeded" in piece])
        # One connection before, closed; then the instance's own.
        self.assertEqual(len(maker.bridge.hellos), 2)

    def test_what_fails_to_load_is_told(self):
        maker, status, _, err = self.run_module("raise ValueError('no weights')")
        self.assertEqual(status, 1)
        self.assertTrue(maker.said[0] and "no weights" in maker.said[1], maker.said)
        self.assertIn("no weights", err)

    def test_bytes_of_the_bridge_that_are_kept_are_told(self):
        source = """
            from headstart import Instance
            weights = {}
            def handler(event): pass
        """
        maker, status, _, _ = self.run_module(source.format("Instance().call('GET', 's3://models/m').data"))
        self.assertEqual(status, 1)
        self.assertTrue(maker.said[0] and "bytes(data)" in maker.said[1], maker.said)
        maker, status, _, err = self.run_module(source.format("bytes(Instance().call('GET', 's3://models/m').data)"))
        self.assertEqual((status, maker.said), (0, (False, "")), err)


if __name__ == "__main__":
    unittest.main()

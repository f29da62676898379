"""Marks on the instance's timeline, for benchmarks: off unless HEADSTART_MARKS=1."""

import contextlib
import os

from headstart.client import Instance
from headstart.errors import HeadstartError

INPUTS_READY = "inputs ready"


class Marks:
    """Says when a function has what it asked for.

    What it reads before it first writes are its inputs: the last mark of an instance that serves one invocation is when the
    function's own work begins.
    """

    def __init__(self):
        self._writes = False

    def inputs_ready(self):
        if not self._writes and os.environ.get("HEADSTART_MARKS") == "1" and Instance.available():
            with contextlib.suppress(HeadstartError):  # A mark is not worth failing for.
                Instance().mark(INPUTS_READY)

    def outputs_begin(self):
        self._writes = True

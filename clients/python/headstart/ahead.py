"""Maps what the initscript sends while the program still imports, so that a claim finds it mapped."""

import os
import threading

from headstart import _generated as numbers
from headstart.connection import Connection
from headstart.errors import Deadline, HeadstartError
from headstart.segments import Segments

CONNECT_TIMEOUT = 5.0
# How long one request waits for news; then the next one does.
WAIT = 3600.0


def start(path):
    """Maps the segments of the instance behind `path` as they come, in a thread that ends with the instance."""
    segments = Segments.of(path)
    threading.Thread(target=_run, args=(path, segments), name="headstart-segments", daemon=True).start()


def _run(path, segments):
    try:
        connection = Connection(path, CONNECT_TIMEOUT)
        # The thread is not there in a forked child, its socket is.
        os.register_at_fork(after_in_child=connection.close)
        news = 0
        while True:
            try:
                news = connection.map_ahead(news, WAIT)
                segments.ahead = True
            except Deadline:
                if connection.closed:
                    return
    except HeadstartError:
        # The instance has ended, or its bridge: whoever claims hears of it.
        return
    finally:
        segments.ahead = False

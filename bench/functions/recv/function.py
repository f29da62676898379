"""Times the receipt of a finished reply."""

import time

from headstart import Instance

PAGE = 4096


def handler(event):
    instance = Instance()
    instance.recv_msg("complete")
    before = time.perf_counter_ns()
    body = instance.recv_msg("body")
    received = time.perf_counter_ns()
    body[::PAGE].tobytes()
    read = time.perf_counter_ns()
    return {"bytes": len(body), "recv_ms": (received - before) / 1e6, "first_read_ms": (read - received) / 1e6}

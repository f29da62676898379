"""Sleeps: {"sleep": seconds}."""

import time


def handler(event):
    seconds = event.get("sleep", 1)
    time.sleep(seconds)
    return {"result": seconds}

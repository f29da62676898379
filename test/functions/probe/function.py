"""Does what its event says: {"app": [step, …]}. Each step is a list, its name first; the answer is a list of what each gave."""

import os
import time

import storage

STARTED = time.monotonic_ns()


def handler(event):
    steps = event.get("app", [])
    if steps and steps[0][0] == "stream":
        return stream(*steps[0][1:])
    return {"process": STARTED, "steps": [STEPS[name](*arguments) for name, *arguments in steps]}


def stream(pieces, size, pause):
    for number in range(pieces):
        yield str(number % 10).encode() * size
        time.sleep(pause)


def download(bucket, key):
    try:
        data = storage.download(bucket, key)
    except OSError as error:
        return {"error": type(error).__name__}
    return {"bytes": len(data), "sum": sum(bytes(data[:1000])), "head": bytes(data[:20]).decode(errors="replace")}


def upload(bucket, key, text):
    storage.upload(bucket, key, text.encode())


def fail(text):
    raise ValueError(text)


def echo(value):
    return value


def memory(megabytes):
    block = bytearray(megabytes << 20)
    for page in range(0, len(block), 4096):
        block[page] = 1
    return len(block)


def reach(host, port):
    import socket

    try:
        socket.create_connection((host, port), 2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"


STEPS = {
    "download": download,
    "echo": echo,
    "exit": os._exit,
    "fail": fail,
    "memory": memory,
    "reach": reach,
    "sleep": time.sleep,
    "upload": upload,
}

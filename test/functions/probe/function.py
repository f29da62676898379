"""Does what its event says: {"app": [step, …]}. Each step is a list, its name first; the answer is a list of what each gave."""

import io
import os
import time

import storage
import storage.counter
from headstart import HeadstartError, Instance

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
    return fetch(storage, bucket, key)


def count(bucket, key):
    """A download that is named by its number."""
    return fetch(storage.counter, bucket, key)


def fetch(library, bucket, key):
    try:
        return described(library.download(bucket, key))
    except OSError as error:
        return failed(error)


def download_stream(bucket, key):
    """`first`: the bytes that were there at the first read."""
    try:
        with storage.download_stream(bucket, key) as stream:
            first = bytes(stream.view()) if hasattr(stream, "view") else stream.read(1 << 16)
            return {**described(first + stream.read()), "first": len(first)}
    except OSError as error:
        return failed(error)


def receive(id):
    try:
        return described(Instance().recv_msg(id, timeout=5))
    except OSError as error:
        return failed(error)


def upload(bucket, key, text, times=1):
    try:
        storage.upload(bucket, key, text.encode() * times)
    except OSError as error:
        return failed(error)


def upload_stream(bucket, key, text, times=1):
    storage.upload_stream(bucket, key, io.BytesIO(text.encode() * times))


def described(data):
    head = bytes(data[:20]).decode(errors="replace")
    return {"bytes": len(data), "sum": sum(bytes(data[:1000])), "head": head}


def failed(error):
    """An error of headstart by its code, one of the store by its class."""
    return {"error": error.code if isinstance(error, HeadstartError) else type(error).__name__}


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
    "count": count,
    "download": download,
    "download_stream": download_stream,
    "echo": echo,
    "exit": os._exit,
    "fail": fail,
    "memory": memory,
    "reach": reach,
    "receive": receive,
    "sleep": time.sleep,
    "upload": upload,
    "upload_stream": upload_stream,
}

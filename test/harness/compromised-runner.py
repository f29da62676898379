"""A runner that was taken over: it says to the host what no workerd would.

Listens at runner.sock in its working directory, answers the bridge's heartbeat, and attacks each stream that is opened to it.
The first argument names the attack.
"""

import os
import random
import socket
import struct
import sys
import threading
import time


def words(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def message(*values):
    """One segment with these words, the root pointer first."""
    return struct.pack("<II", 0, len(values)) + words(*values)


# Pointers to the struct right behind them: one word of data and one pointer, and only data.
BOTH = 1 << 32 | 1 << 48
DATA = 1 << 32
BOOTSTRAP, RETURN, FINISH, CALL = 8, 3, 4, 2


def bootstrap(number):
    return message(BOTH, BOOTSTRAP, BOTH, number, 0)


def finish(number):
    return message(BOTH, FINISH, DATA, number)


def answer(number):
    # Two words of data, one pointer.
    return message(BOTH, RETURN, 2 << 32 | 1 << 48, number, 0, 0)


def deep(number):
    """A call whose parameters are 50,000 pointers deep."""
    call = [number, 0, 0, 0, 0, 0]
    # Three words of data and three pointers: target, parameters, where the results go.
    params = [BOTH & ~(1 << 32) | 1 << 48] * 50_000
    return message(BOTH, CALL, 3 << 32 | 3 << 48, *call[:3], 0, 1 << 2 | 2 << 48, 0, *params, 0, 0)


def flood(one, count):
    return (b"".join(one(number) for number in range(start, start + 1000)) for start in range(0, count, 1000))


def chunks(size):
    while True:
        yield random.randbytes(size)


ATTACKS = {
    "questions": lambda: flood(bootstrap, 100_000),
    "messages": lambda: flood(finish, 100_000),
    "answers": lambda: [answer(12_345)],
    "huge": lambda: [struct.pack("<II", 0, 1 << 30)],
    "segments": lambda: [struct.pack("<I", 0xFFFF_FFFE)],
    "malformed": lambda: [message(0x0000_0001_0000_00FC, 0, 0)],
    "unknown": lambda: [message(BOTH, 0x7777, 0, 0)],
    "torn": lambda: [bootstrap(0), bootstrap(1)[:20]],
    "deep": lambda: [deep(number) for number in range(100)],
    "garbage": lambda: chunks(65_536),
    "silent": lambda: [],
}


def serve(stream, attack):
    head = b""
    while b"\r\n\r\n" not in head:
        received = stream.recv(4096)
        if not received:
            return
        head += received
    if head.startswith(b"GET /ping"):
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        stream.close()
        return
    stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for piece in ATTACKS[attack]():
        stream.sendall(piece)
    if attack == "torn":
        # It reads what came, for a socket closed with unread bytes is reset, and that is another end than this one.
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(65_536):
            pass
        stream.close()
        return
    # Never reads.
    time.sleep(3600)


def guarded(stream, attack):
    try:
        serve(stream, attack)
    except OSError:
        # The relay has ended it.
        pass


def main():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("runner.sock")
    os.chmod("runner.sock", 0o777)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=guarded, args=(stream, sys.argv[1]), daemon=True).start()


main()

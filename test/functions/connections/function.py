"""What a step of the event asks for, on connections that the initscript hands over: {"app": [[name, …], …]}."""

import struct
import time

from headstart import HeadstartError, Instance

instance = Instance()


def handler(event):
    return {"steps": [told(*step) for step in event.get("app", [])]}


def told(name, *fields):
    try:
        return STEPS[name](*fields)
    except HeadstartError as error:
        return {"error": error.code}
    except OSError as error:
        return {"error": type(error).__name__}


def line(conn, text):
    """Sends a line and reads one, byte by byte: nothing of what is behind it."""
    conn.sendall(text.encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        byte = conn.recv(1)
        if not byte:
            return "end"
        answer += byte
    return answer.decode().strip()


def stream(id, address, count):
    """Reads so many numbered bytes from a connection, then says something on it."""
    with instance.get_conn(id, address, timeout=5) as conn:
        data = bytearray(count)
        view, have = memoryview(data), 0
        while have < count and (got := conn.recv_into(view[have:])):
            have += got
        right = have == count and data == struct.pack(f"<{count // 4}I", *range(count // 4))
        return {"kind": conn.kind, "bytes": have, "right": right, "peer": conn.getpeername(), "said": line(conn, "echo x")}


def broken(id, address, say):
    """Says a line and reads until the end: what that was."""
    with instance.get_conn(id, address, timeout=5) as conn:
        conn.sendall(say.encode() + b"\n")
        while conn.recv(65536):
            pass
        return "end"


def pass_on(id, address, new):
    conn = instance.get_conn(id, address, timeout=5)
    said = line(conn, "echo app")
    instance.transfer_conn(new, address, conn)
    return said


def send(id, times):
    instance.send_msg(id, b"z" * times)


def receive(id):
    return bytes(instance.recv_msg(id, timeout=5)).decode()


STEPS = {"broken": broken, "pass": pass_on, "receive": receive, "send": send, "sleep": time.sleep, "stream": stream}

"""A TCP server. A line is a request: "greet", "data" (what its initscript fetched), "pid", "crash N", or anything, which is echoed.

Its settings come from its initscript: {"greeting", "key", "after": seconds until it listens, "exit": a status to end with at once,
"file": made when it listens, "message": sent then, "silent": it does not listen, "stubborn": it ignores SIGTERM}.
"""

import json
import os
import signal
import socketserver
import sys
import threading
import time

from headstart import Instance

PORT = 7000

instance = Instance()
settings = json.loads(bytes(instance.recv_msg("settings")) or b"{}")
open_connections = set()


def data():
    return bytes(instance.recv_msg(f"GET s3://inputs/{settings['key']}")) if "key" in settings else b""


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        open_connections.add(self)
        try:
            for line in self.rfile:
                self.wfile.write(answer(line.decode().split()) + b"\n")
        except OSError:
            pass
        finally:
            open_connections.discard(self)


def answer(words):
    match words:
        case ["greet"]:
            return settings.get("greeting", "hello").encode()
        case ["data"]:
            return fetched
        case ["pid"]:
            return str(time.monotonic_ns()).encode() + b" " + instance.connect().encode()
        case ["crash", status]:
            os._exit(int(status))
        case _:
            return " ".join(words).encode()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True


def leave(_signal, _frame):
    if settings.get("stubborn"):
        return
    for connection in list(open_connections):
        connection.wfile.write(b"bye\n")
    print("left", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, leave)
print("begins", flush=True)
if "exit" in settings:
    print("cannot go on", file=sys.stderr, flush=True)
    sys.exit(settings["exit"])
fetched = data()
time.sleep(settings.get("after", 0))
if settings.get("silent"):
    threading.Event().wait()
server = Server(("127.0.0.1", PORT), Handler)
if "file" in settings:
    open(settings["file"], "w").close()
if "message" in settings:
    instance.send_msg(settings["message"], b"")
server.serve_forever()

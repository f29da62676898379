"""A TCP server that speaks in lines, a thread a connection. Prints its port, then a line for each connection's end.

With arguments CERTIFICATE KEY it speaks TLS.
`echo X`: X · `stream N`: "ok", and right behind it N bytes that tell their place · `drip`: "ok", and bytes for ever
`leave`: "bye", and the end (as TLS says it) · `cut`: the end without a word · `reset`: a reset
"""

import socket
import ssl
import struct
import sys
import threading
import time


def numbered(count):
    """Bytes that tell their place: the numbers 0, 1, 2, … in four bytes each."""
    return b"".join(struct.pack("<I", number) for number in range(count // 4))


tls = None
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:])


def serve(connection):
    with connection:
        ended = "end"
        try:
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            for line in connection.makefile("r"):
                word, _, rest = line.strip().partition(" ")
                if word == "echo":
                    connection.sendall(rest.encode() + b"\n")
                elif word == "stream":
                    connection.sendall(b"ok\n" + numbered(int(rest)))
                elif word == "drip":
                    connection.sendall(b"ok\n")
                    while True:
                        connection.sendall(bytes(1000))
                        time.sleep(0.005)
                elif word == "leave":
                    connection.sendall(b"bye\n")
                    if tls:
                        connection.unwrap()
                    break
                elif word == "cut":
                    break
                elif word == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        except OSError:
            ended = "reset"
    print(ended, flush=True)


with socket.create_server(("0.0.0.0", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(accepted,), daemon=True).start()

"""An unmodified program's use of Python's own sockets: sockets.py HOW HOST PORT."""

import asyncio
import select
import socket
import sys


def blocking(address, timeout=5):
    return socket.create_connection(address, timeout)


def nonblocking(address):
    it = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    it.setblocking(False)
    number = it.fileno()
    it.connect_ex(address)
    select.select([], [it], [], 5)
    assert it.fileno() == number
    assert not it.getblocking()
    it.setblocking(True)
    return it


def mapped(address):
    # As programs do that have sockets for IPv4 and IPv6 alike.
    it = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    it.connect(("::ffff:" + address[0], address[1]))
    return it


def talk(it, text):
    it.sendall(text.encode() + b"\n")
    return it.makefile().readline().rstrip("\n")


def tell(it):
    print(talk(it, "hello"))
    it = it.dup()
    print("peer", "{}:{}".format(*it.getpeername()[:2]))
    it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    it.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    error = it.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    no_delay = int(it.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    kind = it.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    other = socket.socket(fileno=it.detach())
    print("error", error, "nodelay", no_delay, other.family.name, other.type.name, kind)


async def in_loop(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"hello\n")
    print((await reader.readline()).decode().rstrip("\n"))
    it = writer.get_extra_info("socket")
    print("peer", "{}:{}".format(*writer.get_extra_info("peername")))
    no_delay = int(it.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    print("error", it.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "nodelay", no_delay, end=" ")
    print(it.family.name, it.type.name, it.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
    writer.close()


def twice(address):
    print(talk(blocking(address), "a"))
    print(talk(blocking(address), "b"))
    try:
        blocking(address, 1).close()
        print("connected")
    except OSError:
        print("OSError")


how, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if how == "asyncio":
    asyncio.run(in_loop(host, port))
elif how == "twice":
    twice((host, port))
else:
    tell({"blocking": blocking, "mapped": mapped, "nonblocking": nonblocking}[how]((host, port)))

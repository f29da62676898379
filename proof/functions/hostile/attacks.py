"""Hostile applications: each is a function of the event, and answers how far it came."""

import array
import ctypes
import fcntl
import mmap
import os
import random
import resource
import signal
import socket
import struct
import threading
import time

from headstart import HeadstartError, Instance, fnv1a64

SOCKET = "/run/headstart/app.sock"


def handler(event):
    return {"did": ATTACKS[event["attack"]](event)}


def connect(timeout=5):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(timeout)
    sock.connect(SOCKET)
    return sock


def header(op, sequence=1, flags=0, length=0, id=0, a=0, b=0, c=0, deadline=1000, version=1):
    return struct.pack("<HHIIIQQQQIIQ", version, op, sequence, flags, length, id, a, b, c, deadline, 0, 0)


def random_frames(event):
    numbers = random.Random(event.get("seed", 1))
    answered = 0
    for _ in range(400):
        with connect() as sock:
            try:
                for _ in range(3):
                    packet = bytearray(numbers.randbytes(numbers.choice((0, 1, 63, 64, 65, 200, 4096))))
                    if numbers.random() < 0.7:
                        fields = {name: numbers.getrandbits(64) for name in ("id", "a", "b", "c")}
                        head = header(numbers.randrange(20), flags=numbers.getrandbits(10), deadline=1, **fields)
                        packet = bytearray(head) + packet[:3000]
                        packet[12:16] = struct.pack("<I", numbers.choice((0, len(packet) - 64, 0xFFFFFFFF)))
                    sock.send(packet)
                    sock.settimeout(0.05)
                    answered += bool(sock.recv(8192))
            except OSError:
                pass
    return f"{answered} answers"


def send_fds(event):
    """Files that nobody asked for beside every packet."""
    for _ in range(200):
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        try:
            with connect() as sock:
                beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
                sock.sendmsg([header(1, length=1) + b"x"], beside)
                sock.recv(8192)
        except OSError:
            pass
        finally:
            for file in files:
                os.close(file)
    return "sent"


def slow_reads(event):
    """Requests without end whose answers nobody reads."""
    socks = [connect() for _ in range(32)]
    sent = 0
    for sock in socks:
        sock.settimeout(0.1)
        try:
            for sequence in range(2000):
                sock.send(header(9, sequence, length=3) + b"abc")
                sent += 1
        except OSError:
            pass
    return f"{sent} sent"


def connection_flood(event):
    socks = []
    refused = 0
    for _ in range(2000):
        try:
            sock = connect(0.2)
            sock.send(header(1, length=1) + b"x")
            if not sock.recv(8192):
                raise OSError
            socks.append(sock)
        except OSError:
            refused += 1
            if refused > 50:
                break
    return f"{len(socks)} open"


def segment(event):
    """The fd and the length of what the initscript fetched."""
    sock = connect()
    sock.send(header(1, length=1) + b"x")
    sock.recv(8192)
    sock.send(header(2, 2, id=fnv1a64("GET s3://inputs/big"), deadline=5000))
    packet, ancillary, _, _ = sock.recvmsg(8192, socket.CMSG_SPACE(64))
    fields = struct.unpack("<HHIIIQQQQIIQ", packet[:64])
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return struct.unpack("i", data[:4])[0], fields[7], fields[8]
    raise RuntimeError(f"no segment: {fields}")


def change_segment(event):
    """Truncates, grows, writes, punches holes into, maps writable and reopens what it was given to read."""
    fd, _, length = segment(event)
    libc = ctypes.CDLL(None, use_errno=True)
    done = []

    def tried(name, change):
        try:
            change()
            done.append(name)
        except (OSError, ValueError):
            pass

    tried("truncate", lambda: os.ftruncate(fd, 0))
    tried("grow", lambda: os.ftruncate(fd, length * 2))
    tried("write", lambda: os.pwrite(fd, b"x" * 100, 0))
    tried("punch", lambda: checked(libc.fallocate(fd, 3, 0, 4096)))
    tried("reopen", lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x", 0))
    if event.get("map"):
        tried("map", lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).__setitem__(0, 1))
    with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) as view:
        intact = view[:16] != b"x" * 16
    return {"changed": done, "intact": intact}


def checked(status):
    if status != 0:
        raise OSError(ctypes.get_errno(), "failed")


def others(event):
    """What belongs to other instances: their sockets, their messages, their segments."""
    found = []
    for folder in ("/run/headstart", "/run", "/proc/1/root/run/headstart", "/var/lib/headstart"):
        try:
            names = os.listdir(folder)
            found += [name for name in names if name.startswith("i-") or name in ("bridge.sock", "relay.sock")]
        except OSError:
            pass
    instance = Instance()
    for name in event.get("ids", ["result", "weights"]):
        try:
            instance.recv_msg(name, timeout=0.2)
            found.append(name)
        except HeadstartError:
            pass
    with connect() as sock:
        sock.send(header(1, length=1) + b"x")
        sock.recv(8192)
        for number in range(1, 200):
            sock.send(header(3, number, a=number, c=1, deadline=1))
            code = struct.unpack("<I", sock.recv(8192)[48:52])[0]
            if code == 0:
                found.append(f"segment {number}")
    return found


def fork_bomb(event):
    made = 0
    for _ in range(100_000):
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            try:
                while True:
                    os.fork()
            except OSError:
                pass
            while True:
                threading.Event().wait(60)
        made += 1
    return f"{made} made"


def memory_bomb(event):
    blocks = []
    while True:
        blocks.append(bytearray(os.urandom(1 << 20)) * 16)


def spin(event):
    for _ in range(8):
        threading.Thread(target=busy, daemon=True).start()
    busy()


def busy():
    while True:
        sum(range(100_000))


F_SETPIPE_SZ = 1031


def user_quotas(event):
    """What the kernel counts by user: how many of each it got, at most `most`, which it then holds for so many seconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})

    def large_pipe():
        try:
            return fcntl.fcntl(os.pipe()[0], F_SETPIPE_SZ, 1 << 20) > 0
        except OSError:
            return False

    thread = ctypes.c_ulong(threading.get_ident())
    takes = {
        "inotify": lambda: libc.inotify_init1(0) >= 0,
        "pipes": large_pipe,
        # To this thread, which has them blocked.
        "signals": lambda: libc.pthread_sigqueue(thread, signal.SIGRTMIN, ctypes.c_void_p()) == 0,
    }
    got = dict.fromkeys(takes, 0)
    for name, take in takes.items():
        while got[name] < event["most"] and take():
            got[name] += 1
    time.sleep(event.get("hold", 0))
    return got


def log_flood(event):
    line = "x" * 3000
    for _ in range(40_000):
        print(line)
    return "printed"


def reach_out(event):
    """Addresses that no application may reach."""
    reached = []
    for host, port in event["targets"]:
        try:
            socket.create_connection((host, port), 1).close()
            reached.append(f"{host}:{port}")
        except OSError:
            pass
    return reached


def calls(event):
    """Calls that no rule allows, and malformed ones."""
    instance = Instance()
    allowed = []
    for verb, url in (
        ("GET", "s3://secrets/any"),
        ("DELETE", "s3://inputs/big"),
        ("GET", "http://169.254.169.254/latest/meta-data"),
        ("GET", "http://127.0.0.1:22/"),
        ("GET", "s3://inputs/../secrets/any"),
        ("GET", "s3://inputs/%2e%2e/secrets/any"),
        ("GET", "file:///etc/passwd"),
        ("", ""),
    ):
        try:
            allowed.append(f"{verb} {url}: {instance.call(verb, url, timeout=2).status}")
        except (HeadstartError, ValueError):
            pass
    return [it for it in allowed if not it.endswith(("403", "404"))]


ATTACKS = {
    "calls": calls,
    "change segment": change_segment,
    "connection flood": connection_flood,
    "fork bomb": fork_bomb,
    "log flood": log_flood,
    "memory bomb": memory_bomb,
    "others": others,
    "random frames": random_frames,
    "reach out": reach_out,
    "send fds": send_fds,
    "slow reads": slow_reads,
    "spin": spin,
    "user quotas": user_quotas,
}

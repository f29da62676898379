"""The clients' probe in Python: see ../README.md."""

import os
import threading
import time

from headstart import HeadstartError, Instance

instance = Instance()


def handler(event):
    _, _, steps = event.partition(b"\n---\n")
    lines = []
    for line in steps.decode().split("\n"):
        name, *fields = line.split("\t")
        if name == "event":
            lines.append(f"ok {len(event)} {sum(event)}")
        elif name == "answer":
            return b"x" * int(fields[0])
        elif name == "status":
            return int(fields[0]), {}, "\n".join(lines) + "\n"
        elif name == "fail":
            raise RuntimeError(fields[0])
        elif name in STEPS:
            lines.extend(STEPS[name](*fields))
    return "".join(f"{line}\n" for line in lines)


def told(function):
    """What the step gives, or its error."""

    def step(*fields):
        try:
            return [function(*fields)]
        except HeadstartError as error:
            return [f"error {error.code}"]

    return step


def number(id):
    return int(id[1:]) if id.startswith("#") else id


def described(reply):
    early = reply.total is not None and len(reply.wait(0)) < reply.total
    data = reply.data
    where = f" at {reply.offset} of {reply.file}" if reply.file else ""
    return f"ok {len(data)} {sum(data)} {reply.status} {'early' if early else 'whole'}{where}"


@told
def recv(id, content="", how="whole", milliseconds="5000"):
    return described(instance.claim(number(id), content, how == "progressive", int(milliseconds) / 1000))


@told
def call(request, length):
    verb, url = request.split(" ", 1)
    return described(instance.call(verb, url, body=b"b" * int(length), timeout=10))


@told
def churn(request, times):
    verb, url = request.split(" ", 1)
    for _ in range(int(times)):
        instance.call(verb, url, timeout=10).data
    return f"ok {times}"


@told
def threads(count, prefix):
    together, right = threading.Barrier(int(count)), []

    def receive(number):
        together.wait()
        instance.recv_msg(f"{prefix}{number}", timeout=10)
        right.append(number)

    running = [threading.Thread(target=receive, args=(number,)) for number in range(int(count))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return f"ok {len(right)}"


def fork(id, other):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, "\n".join(recv(id)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        first = lines.read()
    os.waitpid(child, 0)
    return [first, *recv(other)]


@told
def mark(name):
    instance.mark(name)
    return "ok"


@told
def send(id, length):
    instance.send_msg(number(id), b"m" * int(length))
    return "ok"


@told
def conn(id, address, text):
    with instance.get_conn(number(id), address, timeout=5) as it:
        it.sendall(f"{text}\n".encode())
        line = it.makefile().readline().rstrip("\n")
        return f"ok {it.kind} {line}"


@told
def hand_on(id, address, new):
    instance.transfer_conn(number(new), address, instance.get_conn(number(id), address, timeout=5))
    return "ok"


@told
def broken(id, address, text):
    with instance.get_conn(number(id), address, timeout=5) as it:
        it.sendall(f"{text}\n".encode())
        try:
            while it.recv(100):
                pass
        except HeadstartError:
            pass
        state, error, *_ = it.status()
        return f"ok {['open', 'ended', 'broken'].index(state)} {error.code if error else 'ok'}"


def sleep(milliseconds):
    time.sleep(int(milliseconds) / 1000)
    return []


STEPS = {
    "broken": broken,
    "call": call,
    "churn": churn,
    "conn": conn,
    "fork": fork,
    "mark": mark,
    "pass": hand_on,
    "recv": recv,
    "send": send,
    "sleep": sleep,
    "threads": threads,
}

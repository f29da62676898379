"""Receives what the initscript sends, or does it by itself, and waits at the step that its event names until the gate lets it go on."""

import hashlib
import json
import time

import storage
from headstart import HeadstartError, Instance


# The sandbox is there, and the program not yet: time enough for what is done to it then.
time.sleep(0.5)


def handler(event):
    instance = Instance()

    def at(step):
        if step == event["hold"]:
            instance.call("GET", f"{event['gate']}/hold/{step.replace(' ', '%20')}", timeout=10).data

    data = storage.download("inputs", "big")
    note = receive(instance, event)
    at("message received")
    echo = converse(instance, event, at)
    answer = json.dumps({"sum": hashlib.sha256(data).hexdigest(), "note": note, "echo": echo}, separators=(",", ":"))
    middle = len(answer) // 2
    yield answer[:middle]
    at("answer half sent")
    yield answer[middle:]


def receive(instance, event):
    try:
        return bytes(instance.recv_msg("note", timeout=5)).decode()
    except HeadstartError:
        return event["note"]


def converse(instance, event, at):
    try:
        with instance.get_conn("echo", event["echo"], timeout=2) as conn:
            at("connection handed over")
            conn.settimeout(5)
            conn.sendall(b"ping\n")
            with conn.makefile("r") as lines:
                answer = lines.readline().strip()
        if answer:
            return answer
    except (HeadstartError, OSError):
        pass
    return bytes(instance.call("GET", f"{event['gate']}/echo", timeout=5).data).decode()

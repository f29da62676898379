"""The library itself: takes the task that the initscript claimed, else the bridge claims one, else it does by itself."""

import json
import os

from headstart.client import Instance
from headstart.errors import BridgeLost, HeadstartError
from headstart.ids import fnv1a64
from tasks._sqs import Client, parse
from tasks.errors import QueueError, from_answer

ONE = {"MaxNumberOfMessages": 1}


class Task:
    """A claimed task: `id`, `queue`, and `body` as text."""

    __slots__ = ("_receipt", "_tasks", "body", "id", "queue")

    def __init__(self, tasks, queue, id, body, receipt):
        self._tasks, self.queue, self.id, self.body, self._receipt = tasks, queue, id, body, receipt

    def done(self, timeout=None):
        """Takes the task out of the queue."""
        self._tasks.act("DELETE", "DeleteMessage", self.queue, {"ReceiptHandle": self._receipt}, timeout)


class Tasks:
    """`name` gives the id under which the initscript sends what it claimed, from the claim's content.

    `instance` and `client` are for tests; by default they are what the environment says.
    """

    def __init__(self, name=fnv1a64, instance=None, client=None):
        self._name, self._instance, self._client = name, instance, client

    def claim(self, queue, timeout=None):
        """Claims one task. None when there is none (within the queue's own wait time).

        What an initscript asked for and did not get is asked for again. If the queue had given a task nevertheless,
        that comes back after its visibility timeout, as the task of any consumer that died: it is not lost.
        """
        instance = self._bridge()
        content = f"RECEIVE sqs://{queue}/ReceiveMessage"
        if instance is not None:
            try:
                reply = instance.claim(self._name(content), content, timeout=timeout)
                if reply.status < 400:
                    return self._task(queue, reply.data)
            except HeadstartError:
                # A miss, or the call behind it failed.
                pass
        return self._task(queue, self.act("RECEIVE", "ReceiveMessage", queue, ONE, timeout))

    def act(self, verb, action, queue, members, timeout):
        """Does an action of the queue, by the bridge where there is one. Returns the answer's bytes."""
        instance = self._bridge()
        if instance is not None:
            what = f"sqs://{queue}/{action}"
            try:
                reply = instance.call(verb, what, body=json.dumps(members).encode(), timeout=timeout)
            except BridgeLost:
                if self._client is None and not Client.configured():
                    raise
            else:
                if reply.status >= 400:
                    raise from_answer(reply.status, parse(reply.data, what, reply.status), f"{verb} {what}")
                return reply.data
        if self._client is None:
            self._client = Client.from_environment()
        return self._client.act(action, queue, members, timeout)

    def _task(self, queue, answer):
        what = f"RECEIVE sqs://{queue}"
        messages = parse(answer, what).get("Messages") or []
        if not messages:
            return None
        try:
            fields = [messages[0][name] for name in ("MessageId", "Body", "ReceiptHandle")]
        except (TypeError, KeyError, IndexError):
            fields = [None]
        if not all(isinstance(field, str) for field in fields):
            raise QueueError(200, what, "", "the answer has no task where it says that there is one")
        return Task(self, queue, *fields)

    def _bridge(self):
        if self._instance is None and os.environ.get("HEADSTART_DIRECT") != "1" and Instance.available():
            # Two threads may both come here: then one of the two is used, which does not matter.
            self._instance = Instance()
        return self._instance

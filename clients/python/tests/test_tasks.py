import json
import os
import socket
import unittest
from unittest import mock

import tasks
from headstart import BridgeLost, HeadstartError, Instance, fnv1a64
from headstart._generated import FLAG_FD, FLAG_INLINE, OP_CALL, OP_OUTBOX, OP_RECV_MSG
from storage._http import HttpError
from tasks._library import Tasks
from tasks._sqs import Client
from tests.fake_bridge import FakeBridge, answer, memfd
from tests.test_storage import Store

CLAIM = "RECEIVE sqs://jobs/ReceiveMessage"
ONE = json.dumps({"Messages": [{"MessageId": "m1", "Body": "paint it", "ReceiptHandle": "r1"}]}).encode()


class Queue:
    """A bridge that answers claims and calls so, functions of the request; `called` are heads and bodies of calls."""

    def __init__(self, claim, call=None):
        self._answers, self._box, self.called, self.claimed = (claim, call), memfd(bytes(4096)), [], []
        self.bridge = FakeBridge(self._handle)
        self.tasks = Tasks(instance=Instance(self.bridge.path))

    def __enter__(self):
        self.bridge.__enter__()
        return self

    def __exit__(self, *error):
        self.bridge.__exit__(*error)
        os.close(self._box)

    def _handle(self, request, _):
        claim, call = self._answers
        if request.operation == OP_OUTBOX:
            return answer(request, segment=9, length=4096, flags=FLAG_FD), [os.dup(self._box)]
        if request.operation == OP_RECV_MSG:
            self.claimed.append((request.id, request.payload.decode()))
            return claim(request)
        assert request.operation == OP_CALL
        self.called.append((request.payload.decode().strip(), json.loads(os.pread(self._box, request.b, request.a))))
        return call(request)


def inline(data, status=200):
    return lambda request: answer(request, data, flags=FLAG_INLINE, status=status)


def fails(code):
    return lambda request: answer(request, b"", error=code)


class BridgeTest(unittest.TestCase):
    def test_takes_what_the_initscript_claimed(self):
        with Queue(inline(ONE), inline(b"{}")) as queue:
            task = queue.tasks.claim("jobs")
            self.assertEqual((task.id, task.queue, task.body), ("m1", "jobs", "paint it"))
            self.assertEqual((queue.claimed, queue.called), ([(fnv1a64(CLAIM), CLAIM)], []))
            task.done()
            self.assertEqual(queue.called, [("DELETE sqs://jobs/DeleteMessage", {"ReceiptHandle": "r1"})])

    def test_has_the_bridge_claim_what_the_initscript_did_not(self):
        for claim in (fails("miss"), fails("diverged"), fails("connectionReset"), inline(b"{}", status=500)):
            with Queue(claim, inline(ONE)) as queue:
                self.assertEqual(queue.tasks.claim("jobs").id, "m1")
                self.assertEqual(queue.called, [(CLAIM, {"MaxNumberOfMessages": 1})])

    def test_an_empty_queue_has_no_task_and_is_not_asked_again(self):
        for empty in (b"{}", b'{"Messages":[]}', b'{"Messages":null}'):
            with Queue(inline(empty)) as queue:
                self.assertIsNone(queue.tasks.claim("jobs"))
                self.assertEqual(queue.called, [])

    def test_what_the_service_refuses_is_raised(self):
        missing = b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}'
        with Queue(fails("miss"), inline(missing, status=400)) as queue:
            with self.assertRaisesRegex(tasks.NoSuchQueue, "400 QueueDoesNotExist no such queue") as raised:
                queue.tasks.claim("jobs")
            self.assertIsInstance(raised.exception, FileNotFoundError)
        with Queue(fails("miss"), fails("egressDenied")) as queue:
            with self.assertRaisesRegex(HeadstartError, "egressDenied"):
                queue.tasks.claim("jobs")

    def test_answers_that_make_no_sense(self):
        for data in (
            b"",
            b"[]",
            b"<x/>",
            b'{"Messages":[1]}',
            b'{"Messages":5}',
            b'{"Messages":{"a":1}}',
            b'{"Messages":[{"Body":"x"}]}',
            b'{"Messages":[{"MessageId":"m","Body":1,"ReceiptHandle":"r"}]}',
        ):
            with Queue(inline(data)) as queue, self.assertRaises(tasks.QueueError):
                queue.tasks.claim("jobs")

    def test_a_lost_bridge_without_credentials_is_the_error(self):
        with mock.patch.dict(os.environ), self.assertRaises(BridgeLost):
            os.environ.pop("AWS_ACCESS_KEY_ID", None)
            Tasks(instance=Instance("/nonexistent")).claim("jobs")


def http(status, body, more=b""):
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n%s" % (status, more, len(body), body)


class DirectTest(unittest.TestCase):
    KEYS = {"HEADSTART_DIRECT": "1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}

    def test_claims_with_the_queues_url_and_takes_it_out(self):
        url = http(b"200 OK", b'{"QueueUrl":"http://h/1/jobs"}')
        with Store(raw=[url, http(b"200 OK", ONE), http(b"200 OK", b"{}")]) as service:
            with mock.patch.dict(os.environ, {**self.KEYS, "HEADSTART_SQS_ENDPOINT": service.endpoint}):
                task = Tasks().claim("jobs")
                self.assertEqual((task.id, task.body), ("m1", "paint it"))
                task.done()
            targets = [line for head in service.heads for line in head if line.startswith("x-amz-target")]
            actions = [line.rpartition(".")[2] for line in targets]
            self.assertEqual(actions, ["GetQueueUrl", "ReceiveMessage", "DeleteMessage"])
            self.assertTrue(any("/eu-west-1/sqs/aws4_request" in line for line in service.heads[1]))
            # A claim goes over a connection of its own.
            self.assertEqual(service.connections, 2)

    def test_an_endpoint_with_an_account_says_the_queues_url(self):
        with Store(raw=[http(b"200 OK", ONE)]) as service:
            Client(f"{service.endpoint}/123", "a", "s").act("ReceiveMessage", "jobs", {})
            self.assertEqual(len(service.heads), 1)

    def test_a_claim_is_never_sent_twice(self):
        for raw in (b"", http(b"503 Busy", b'{"__type":"Busy"}')):
            with Store(raw=[http(b"200 OK", b"{}"), raw, http(b"200 OK", ONE)]) as service:
                client = Client(f"{service.endpoint}/123", "a", "s")
                client.act("DeleteMessage", "jobs", {})
                with self.assertRaises((HttpError, tasks.QueueError)):
                    client.act("ReceiveMessage", "jobs", {})
                self.assertEqual(len(service.heads), 2)

    def test_errors(self):
        refused = http(b"403 Forbidden", b'{"__type":"x#AccessDenied","Message":"no"}')
        with Store(raw=[refused, http(b"502 Bad", b"<html>"), http(b"200 OK", b'{"QueueUrl":1}')]) as service:
            client = Client(service.endpoint, "a", "s")
            for what in ("403 AccessDenied no", "502 the answer is no JSON object", "tells no URL"):
                with self.assertRaisesRegex(tasks.QueueError, what):
                    client.act("ReceiveMessage", "jobs", {})

    def test_no_credentials(self):
        with mock.patch.dict(os.environ, {"HEADSTART_DIRECT": "1"}):
            os.environ.pop("AWS_ACCESS_KEY_ID", None)
            with self.assertRaisesRegex(tasks.QueueError, "AWS_ACCESS_KEY_ID"):
                Tasks().claim("jobs")

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with self.assertRaisesRegex(HttpError, "cannot connect"):
            Client(f"http://127.0.0.1:{port}/1", "a", "s").act("ReceiveMessage", "jobs", {})

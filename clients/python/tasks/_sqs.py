"""A client of our own for SQS (its JSON protocol), for where there is no bridge: SigV4, kept connections."""

import hashlib
import json
import time

from storage import _address as address
from storage import _environment as environment
from storage._http import Server
from storage._s3 import USER_AGENT, authorization
from tasks.errors import QueueError, from_answer

CONTENT_TYPE = "application/x-amz-json-1.0"
DEFAULT_TIMEOUT = 30.0
# What must not be sent twice: a lost answer may have had a task.
ONCE = {"ReceiveMessage"}


class Client:
    """One endpoint, "http://host:port"; with an account behind it, "…/123456789012", no queue's URL has to be asked for.

    Raises QueueError for what the service refuses, HttpError for the rest.
    """

    def __init__(self, endpoint, access_key, secret_key, region="us-east-1", session_token=None):
        scheme, separator, rest = endpoint.partition("://")
        authority, _, account = rest.rstrip("/").partition("/")
        self._base = f"{scheme}{separator}{authority}"
        tls, host, port = address.endpoint(self._base)
        self._server, self._host, self._session_token = Server(host, port, tls), authority, session_token
        self._keys = (access_key, secret_key, region)
        self._account, self._urls = account, {}

    configured = staticmethod(environment.configured)

    @classmethod
    def from_environment(cls):
        if not cls.configured():
            raise QueueError(0, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        return cls(*environment.of("sqs"))

    def act(self, action, queue, members, timeout=None):
        """Does an action of a queue. Returns the answer's bytes."""
        give_up = time.monotonic() + (DEFAULT_TIMEOUT if timeout is None else timeout)
        return self._post(action, queue, {**members, "QueueUrl": self._url(queue, give_up)}, give_up)

    def _url(self, queue, give_up):
        if self._account:
            return f"{self._base}/{self._account}/{queue}"
        if queue not in self._urls:
            answer = self._post("GetQueueUrl", queue, {"QueueName": queue}, give_up)
            url = parse(answer, f"GetQueueUrl sqs://{queue}").get("QueueUrl")
            if not isinstance(url, str):
                raise QueueError(200, f"GetQueueUrl sqs://{queue}", "", "the service tells no URL")
            self._urls[queue] = url
        return self._urls[queue]

    def _post(self, action, queue, members, give_up):
        body = json.dumps(members).encode()
        left = max(give_up - time.monotonic(), 0.001)
        once = action in ONCE
        response = self._server.request("POST", "/", self._headers(action, body), body, left, once)
        answer = response.read_all()
        if response.status >= 300:
            what = f"{action} sqs://{queue}"
            raise from_answer(response.status, parse(answer, what, response.status), what)
        return answer

    def _headers(self, action, body):
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        payload = hashlib.sha256(body).hexdigest()
        headers = {
            "content-type": CONTENT_TYPE,
            "host": self._host,
            "x-amz-date": date,
            "x-amz-target": f"AmazonSQS.{action}",
        }
        if self._session_token:
            headers["x-amz-security-token"] = self._session_token
        signature = authorization("POST", "/", headers, payload, date, *self._keys, service="sqs")
        return [*headers.items(), ("authorization", signature), ("user-agent", USER_AGENT)]


def parse(answer, what, status=200):
    """The members of an answer. Raises QueueError for what is no JSON object."""
    try:
        members = json.loads(bytes(answer))
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise QueueError(status, what, "", "the answer is no JSON object")
    return members



"""A client of our own for S3, for where there is no bridge: SigV4, kept connections, retries."""

import hashlib
import hmac
import time

from storage import _address as address
from storage import _environment as environment
from storage._http import HttpError, Server
from storage.errors import StorageError, from_answer

USER_AGENT = "headstart-python-direct"
ATTEMPTS = 3
FIRST_PAUSE = 0.05
DEFAULT_TIMEOUT = 30.0
RETRIED = {500, 502, 503, 504}


class Client:
    """One endpoint, buckets in the path. Raises StorageError for what the store refuses, HttpError for the rest."""

    def __init__(self, endpoint, access_key, secret_key, region="us-east-1", session_token=None):
        tls, host, port = address.endpoint(endpoint)
        self._server = Server(host, port, tls)
        self._host, self._session_token = endpoint.partition("://")[2].rstrip("/"), session_token
        self._access_key, self._secret_key, self._region = access_key, secret_key, region

    configured = staticmethod(environment.configured)

    @classmethod
    def from_environment(cls):
        if not cls.configured():
            raise StorageError(0, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        return cls(*environment.of("s3"))

    def get(self, bucket, key, timeout=None):
        """An object's bytes, as a memoryview."""
        return self._retry("GET", bucket, key, b"", timeout, read=lambda response: response.read_all())

    def get_stream(self, bucket, key, timeout=None):
        """An object as a binary file."""
        return self._retry("GET", bucket, key, b"", timeout, read=lambda response: response)

    def put(self, bucket, key, data, timeout=None):
        self._retry("PUT", bucket, key, data, timeout, read=lambda response: response.read_all())

    def delete(self, bucket, key, timeout=None):
        self._retry("DELETE", bucket, key, b"", timeout, read=lambda response: response.read_all())

    def list_page(self, bucket, query, timeout=None):
        """One page of a listing; `query` in canonical form."""
        return self._retry("GET", bucket, "", b"", timeout, read=lambda response: response.read_all(), query=query)

    def _retry(self, verb, bucket, key, body, timeout, read, query=""):
        """Requests an object (all these verbs are idempotent) until an attempt tells something, and reads the answer."""
        path = f"/{bucket}/{address.encode(key)}"
        target = f"{path}?{query}" if query else path
        what = f"{verb} s3:/{target}"
        payload = hashlib.sha256(body).hexdigest()
        give_up = time.monotonic() + (DEFAULT_TIMEOUT if timeout is None else timeout)
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or time.monotonic() > give_up
            try:
                headers = self._headers(verb, path, query, payload)
                response = self._server.request(verb, target, headers, body, max(give_up - time.monotonic(), 0.001))
                if response.status < 300:
                    return read(response)
                failure = from_answer(response.status, response.read_all(), what)
                if last or response.status not in RETRIED:
                    raise failure
            except HttpError:
                if last:
                    raise
            time.sleep(min(FIRST_PAUSE * 2 ** (attempt - 1), max(give_up - time.monotonic(), 0)))
        raise AssertionError("the last attempt returns or raises")

    def _headers(self, verb, path, query, payload):
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"host": self._host, "x-amz-content-sha256": payload, "x-amz-date": date}
        if self._session_token:
            headers["x-amz-security-token"] = self._session_token
        keys = (self._access_key, self._secret_key, self._region)
        signature = authorization(verb, path, headers, payload, date, *keys, query=query)
        return [*headers.items(), ("authorization", signature), ("user-agent", USER_AGENT)]


def authorization(verb, path, headers, payload, date, access_key, secret_key, region, query="", service="s3"):
    """AWS Signature Version 4 of a request: the value of its Authorization header.

    `query` is in canonical form, `headers` (lower-case names) are all signed, `payload` is the body's SHA-256 in hex, `date` like 20130524T000000Z.
    """
    names = sorted(headers)
    signed = ";".join(names)
    lines = [verb, path, query, *(f"{name}:{headers[name].strip()}" for name in names), "", signed, payload]
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in (date[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, digest])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={signed},Signature={signature}"

"""The library itself: takes results from the initscript, else asks the bridge, else asks the store."""

import os

from headstart.client import Instance
from headstart.errors import BridgeLost, HeadstartError
from headstart.ids import fnv1a64
from storage._address import url
from storage._s3 import Client
from storage.errors import Forbidden, NotFound, StorageError, from_answer

__all__ = ["Forbidden", "NotFound", "Storage", "StorageError"]


class Storage:
    """`name` gives the id under which the initscript sends a download, from its content ("GET s3://bucket/key").

    `instance` and `client` are for tests; by default they are what the environment says.
    """

    def __init__(self, name=fnv1a64, instance=None, client=None):
        self._name, self._instance, self._client = name, instance, client

    def download(self, bucket, key, timeout=None):
        """The object's bytes, read-only: a memoryview, of shared memory under headstart."""
        content = f"GET {url(bucket, key)}"
        instance = self._bridge()
        if instance is None:
            return self._direct().get(bucket, key, timeout)
        try:
            reply = instance.claim(self._name(content), content, timeout=timeout)
            if reply.status < 400:
                return reply.data
        except HeadstartError:
            # A miss, or the call behind it failed: this program does the call itself.
            pass
        try:
            return checked(instance.call("GET", url(bucket, key), timeout=timeout), content).data
        except BridgeLost:
            if not self._has_client():
                raise
            return self._direct().get(bucket, key, timeout)

    def download_stream(self, bucket, key, timeout=None):
        """The object as a binary file that can be read while its bytes come. read() raises what ends them early."""
        content = f"GET {url(bucket, key)}"
        instance = self._bridge()
        if instance is None:
            return self._direct().get_stream(bucket, key, timeout)
        try:
            reply = instance.claim(self._name(content), content, progressive=True, timeout=timeout)
            if reply.status < 400:
                return reply.stream()
        except HeadstartError:
            pass
        try:
            return checked(instance.call("GET", url(bucket, key), progressive=True, timeout=timeout), content).stream()
        except BridgeLost:
            if not self._has_client():
                raise
            return self._direct().get_stream(bucket, key, timeout)

    def upload(self, bucket, key, data, timeout=None):
        """Stores bytes. What was fetched ahead of this key is void from now on."""
        instance = self._bridge()
        if instance is None:
            self._direct().put(bucket, key, data, timeout)
        else:
            checked(instance.call("PUT", url(bucket, key), body=data, timeout=timeout), f"PUT {url(bucket, key)}")

    def upload_stream(self, bucket, key, stream, timeout=None):
        """Stores what a binary file has from here to its end. It is read into memory first: S3 wants its length."""
        self.upload(bucket, key, stream.read(), timeout)

    def _bridge(self):
        if self._instance is None and not direct() and Instance.available():
            # Two threads may both come here: then one of the two is used, which does not matter.
            self._instance = Instance()
        return self._instance

    def _direct(self):
        if self._client is None:
            self._client = Client.from_environment()
        return self._client

    def _has_client(self):
        return self._client is not None or Client.configured()


def direct():
    return os.environ.get("HEADSTART_DIRECT") == "1"


def checked(reply, what):
    if reply.status >= 400:
        raise from_answer(reply.status, reply.data, what)
    return reply

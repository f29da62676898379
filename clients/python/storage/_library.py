"""The library itself: takes results from the initscript, else asks the bridge, else asks the store."""

import contextlib
import os

from headstart.client import Instance
from headstart.errors import BridgeLost, HeadstartError
from headstart.ids import fnv1a64
from storage import _listing as listing
from storage._address import url
from storage._place import Places
from storage._s3 import Client
from storage.errors import Forbidden, NotFound, StorageError, from_answer

__all__ = ["Forbidden", "NotFound", "Storage", "StorageError"]

# Bytes that are written to a file at a time.
PIECE = 1 << 20


class Storage:
    """`name` gives the id under which the initscript sends a download, from its content ("GET s3://bucket/key").

    `instance` and `client` are for tests; by default they are what the environment says.
    """

    def __init__(self, name=fnv1a64, instance=None, client=None):
        self._name, self._instance, self._client = name, instance, client
        # Buckets that this program changed: what the initscript listed of them may be older than that.
        self._changed = set()
        self._places = Places()

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

    def download_file(self, bucket, key, path, timeout=None):
        """Writes the object to a file, while its bytes come. When that fails there is no such file."""
        try:
            try:
                _save(self.download_stream(bucket, key, timeout), path)
            except HeadstartError:
                # What the initscript fetched ended early: once more, and by this program's own call.
                with open(path, "wb") as file:
                    file.write(self.download(bucket, key, timeout))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def list_keys(self, bucket, prefix="", timeout=None):
        """All keys that begin with `prefix`, in the store's order, from as many pages as it takes."""
        keys, token = [], None
        while True:
            page, following = listing.parse(self._page(bucket, listing.query(prefix, token), timeout))
            keys += page
            if following is None:
                return keys
            if following == token:
                raise StorageError(0, f"LIST s3://{bucket}/{prefix}", "", "the store repeats a page")
            token = following

    def delete(self, bucket, key, timeout=None):
        """Removes an object; one that is not there is removed already."""
        self._changed.add(bucket)
        instance = self._bridge()
        if instance is None:
            self._direct().delete(bucket, key, timeout)
        else:
            checked(instance.call("DELETE", url(bucket, key), timeout=timeout), f"DELETE {url(bucket, key)}")

    def upload(self, bucket, key, data, timeout=None):
        """Stores bytes. What was fetched ahead of this key is void from now on."""
        self._changed.add(bucket)
        instance = self._bridge()
        if instance is None:
            self._direct().put(bucket, key, data, timeout)
        else:
            checked(instance.call("PUT", url(bucket, key), body=data, timeout=timeout), f"PUT {url(bucket, key)}")

    def upload_stream(self, bucket, key, stream, timeout=None):
        """Stores what a binary file has from here to its end. It is read into memory first: S3 wants its length."""
        self.upload(bucket, key, stream.read(), timeout)

    def upload_url(self, url, data, timeout=None):
        """Stores bytes where a URL gives leave to, as presigned ones do.

        It goes over the connection that the initscript handed over, where there is one. What was fetched ahead of that
        place stays as it was: this program is not told which key it is.
        """
        self._places.put(self._bridge(), url, data, timeout)

    def _page(self, bucket, query, timeout):
        """One page of a listing, as the store sends it."""
        instance = self._bridge()
        if instance is None:
            return self._direct().list_page(bucket, query, timeout)
        address = f"{url(bucket, '')}?{query}"
        content = f"GET {address}"
        if bucket not in self._changed:
            with contextlib.suppress(HeadstartError):
                reply = instance.claim(self._name(content), content, timeout=timeout)
                if reply.status < 400:
                    return reply.data
        try:
            return checked(instance.call("GET", address, timeout=timeout), content).data
        except BridgeLost:
            if not self._has_client():
                raise
            return self._direct().list_page(bucket, query, timeout)

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


def _save(stream, path):
    """Writes all that a stream has to a file: from the segment itself, where it is one."""
    view = getattr(stream, "view", None)
    with stream, open(path, "wb", buffering=0) as file:
        while piece := (view or stream.read)(PIECE):
            with memoryview(piece) as rest:
                written = 0
                while written < len(rest):
                    written += file.write(rest[written:])


def direct():
    return os.environ.get("HEADSTART_DIRECT") == "1"


def checked(reply, what):
    if reply.status >= 400:
        raise from_answer(reply.status, reply.data, what)
    return reply

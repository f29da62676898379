"""The storage class of the published benchmark functions (SeBS), over this package.

    from . import storage              # what a function's package finds when it has no such module of its own

    client = storage.storage.get_instance()
    client.download(bucket, key, "/tmp/photo.jpeg")

Uploads store under a name made unique and return it. Errors are this package's StorageErrors.
"""

import os

from storage._library import Storage
from storage.marks import Marks


class storage:  # noqa: N801 - the published name
    """Made by get_instance(), once for a process; threads may share it."""

    instance = None

    def __init__(self, library=None):
        self._library, self._marks = library or Storage(), Marks()

    @classmethod
    def get_instance(cls):
        if cls.instance is None:
            cls.instance = cls()
        return cls.instance

    @staticmethod
    def unique_name(name):
        """ "photo.jpeg" → "photo.1f2e3d4c.jpeg"."""
        stem, extension = os.path.splitext(name)
        return f"{stem}.{os.urandom(4).hex()}{extension}"

    def download(self, bucket, key, path):
        """Writes the object to a file."""
        self._library.download_file(bucket, key, path)
        self._marks.inputs_ready()

    def download_stream(self, bucket, key):
        """The object's bytes as a read-only memoryview, which has no copy in this process."""
        data = self._library.download(bucket, key)
        self._marks.inputs_ready()
        return data

    def download_directory(self, bucket, prefix, path):
        """Writes each object whose key begins with `prefix` to path/key, one after the other."""
        for key in self._library.list_keys(bucket, prefix):
            target = below(path, key)
            if key.endswith("/"):
                os.makedirs(target, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self._library.download_file(bucket, key, target)
        self._marks.inputs_ready()

    def upload(self, bucket, key, path):
        """Stores a file. Returns the key that it has."""
        with open(path, "rb") as file:
            return self.upload_stream(bucket, key, file)

    def upload_stream(self, bucket, key, stream):
        """Stores what a binary file (or bytes) has. Returns the key that it has."""
        self._marks.outputs_begin()
        stored = self.unique_name(key)
        data = stream.read() if hasattr(stream, "read") else stream
        self._library.upload(bucket, stored, data)
        return stored


def below(folder, key):
    """Where a key's file lies in a folder. Raises ValueError for a key that leads out of it."""
    parts = key.strip("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"the key {key!r} is no path below a folder")
    return os.path.join(folder, *parts)

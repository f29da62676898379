"""Errors of the store."""

import errno
import re


class StorageError(OSError):
    """The store refused. `status` is the HTTP status, `code` the store's own name for it, or ""."""

    number = errno.EIO

    def __init__(self, status, what, code="", message=""):
        self.status, self.code = status, code
        super().__init__(self.number, f"{what}: {' '.join(filter(None, [str(status), code, message]))}")


class NotFound(StorageError, FileNotFoundError):
    """There is no such object, or no such bucket."""

    number = errno.ENOENT


class Forbidden(StorageError, PermissionError):
    """The credentials do not allow it."""

    number = errno.EACCES


def from_answer(status, body, what):
    """The exception for an answer with status ≥ 400, whose body is S3's XML, or anything."""
    kind = {404: NotFound, 403: Forbidden}.get(status, StorageError)
    return kind(status, what, _element(body, b"Code"), _element(body, b"Message"))


def _element(body, name):
    found = re.search(b"<" + name + b">([^<]{0,300})</", bytes(body[:4096]))
    return found.group(1).decode(errors="replace") if found else ""

"""Errors of the queue's service."""

import errno


class QueueError(OSError):
    """The service refused, or its answer is none.

    `status` is the HTTP status, `code` the service's own name for it, or "".
    """

    number = errno.EIO

    def __init__(self, status, what, code="", message=""):
        self.status, self.code = status, code
        super().__init__(self.number, f"{what}: {' '.join(filter(None, [str(status), code, message]))}")


class NoSuchQueue(QueueError, FileNotFoundError):
    """There is no such queue."""

    number = errno.ENOENT


def from_answer(status, members, what):
    """The exception for an answer with status ≥ 400 and these members."""
    code = str(members.get("__type", "")).rpartition("#")[2][:100]
    missing = "NonExistentQueue" in code or "QueueDoesNotExist" in code
    kind = NoSuchQueue if missing else QueueError
    return kind(status, what, code, str(members.get("message", members.get("Message", "")))[:300])

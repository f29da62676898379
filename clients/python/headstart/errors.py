"""Errors of headstart: one class, with subclasses for those that programs tell apart."""

from headstart._generated import ERRORS

_NUMBERS = {code: number for number, (code, _, _) in ERRORS.items()}


class HeadstartError(OSError):
    """`code` is its name in schema/errors.capnp, `errno` its number for the C library, `hint` how to mend it."""

    code = "internal"

    def __init__(self, message, code=None):
        if code is not None:
            self.code = code
        _, errno, self.hint = ERRORS[_NUMBERS[self.code]]
        super().__init__(errno, message)

    def __str__(self):
        return f"{self.code}: {self.strerror}"

    def __reduce__(self):
        return type(self), (self.strerror, self.code)


class Miss(HeadstartError):
    """The initscript does not send this: do the call."""

    code = "miss"


class Diverged(HeadstartError):
    """The initscript sent something else under this id."""

    code = "diverged"


class AlreadyClaimed(HeadstartError):
    """A message is received once."""

    code = "alreadyClaimed"


class ConnectionReset(HeadstartError, ConnectionResetError):
    """The server has closed or reset the connection."""

    code = "connectionReset"


class Voided(HeadstartError):
    """It was fetched ahead, but is out of date now."""

    code = "voided"


class Deadline(HeadstartError, TimeoutError):
    """What was waited for did not come in time."""

    code = "deadline"


class Cancelled(HeadstartError):
    """The caller of the function went away."""

    code = "cancelled"


class InstanceClosed(HeadstartError):
    """No more invocations will come."""

    code = "instanceClosed"


class BridgeLost(HeadstartError, ConnectionError):
    """There is no bridge, or it went away."""

    code = "bridgeLost"


class ProtocolError(HeadstartError):
    """The bridge does not follow the protocol."""

    code = "protocol"


_CLASSES = {kind.code: kind for kind in HeadstartError.__subclasses__()}


def from_answer(number, message):
    """The exception for an error code off the wire."""
    code = ERRORS[number][0] if number in ERRORS else "internal"
    if number not in ERRORS:
        message = f"error {number}, which this client does not know: {message}"
    return _CLASSES.get(code, HeadstartError)(message, code)

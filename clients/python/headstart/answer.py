"""What goes into a handler and what comes out of it."""

import json

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


def parse(data):
    """The event as a handler gets it: parsed, if it is JSON; else its bytes."""
    try:
        return json.loads(data)
    except ValueError:
        return data


def normalise(result):
    """Returns (status, headers, pieces) of a handler's result.

    bytes and str are the body; a dict, list, number or bool its JSON; None an empty body; (status, headers, body) all
    three, headers a dict or a list of pairs; any other iterable is sent piece by piece. Raises TypeError for anything
    else.
    """
    status, headers = 200, []
    if isinstance(result, tuple):
        if len(result) != 3 or not isinstance(result[0], int) or not 100 <= result[0] <= 599:
            raise TypeError("a handler returns a body, or a tuple (status, headers, body)")
        status, headers, result = result
        pairs = headers.items() if hasattr(headers, "items") else headers
        headers = [(str(name), str(value)) for name, value in pairs]
    kind, pieces = body(result)
    if kind is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers = [*headers, ("content-type", kind)]
    return status, headers, pieces


def body(result):
    """Returns (content type or None, pieces)."""
    if result is None:
        return None, []
    if isinstance(result, str):
        return TEXT, [result.encode()]
    if isinstance(result, (bytes, bytearray, memoryview)):
        return BYTES, [result]
    if isinstance(result, (dict, list, int, float, bool)):
        return JSON, [json.dumps(result).encode()]
    if hasattr(result, "__iter__"):
        return BYTES, result
    raise TypeError(f"a handler cannot return a {type(result).__name__}")


def as_bytes(piece):
    """A piece of a streamed answer. Raises TypeError if it is neither bytes nor text."""
    return piece.encode() if isinstance(piece, str) else memoryview(piece)


def head(status, headers):
    """The head of an answer as `respond` sends it."""
    return json.dumps({"status": status, "headers": headers}).encode()

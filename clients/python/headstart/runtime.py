"""The handler loop: `python3 -m headstart.runtime module:handler`.

Connects first, so that the platform sees the program early, then imports the module, then takes events and answers them
with what the handler returns. `--event FILE` calls the handler once, without headstart, and prints its answer.
`--package FOLDER` makes a folder a package and takes the module from it: for functions that say `from . import storage`.

    def handler(event):      # parsed JSON, or bytes if it is none
        return {"ok": True}  # see docs/python.md for what else
"""

import importlib
import os
import sys

from headstart import answer
from headstart._generated import FLAG_BEGIN, FLAG_END, FLAG_ERROR, FLAG_INLINE
from headstart._protocol import MAX_PAYLOAD
from headstart.client import Instance
from headstart.errors import BridgeLost, Cancelled, Deadline, HeadstartError, InstanceClosed
from headstart.stack import roomy

NEXT_TIMEOUT = 60.0
# Longer pieces of an answer go through the outbox, this much at a time.
OUTBOX_BYTES = 256 * 1024


USAGE = "usage: python3 -m headstart.runtime [--package FOLDER] MODULE:FUNCTION [--event FILE]"


def main(arguments):
    # Not argparse: importing it takes as long as all of this package.
    folder = None
    if len(arguments) > 2 and arguments[0] == "--package":
        _, folder, *arguments = arguments
    if len(arguments) not in (1, 3) or arguments[0].startswith("-") or arguments[1:2] not in ([], ["--event"]):
        print(USAGE, file=sys.stderr)
        return 2
    name, *_, event = [*arguments, None] if len(arguments) == 1 else arguments
    sys.stdout.reconfigure(line_buffering=True)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if event is not None:
        return try_out(name, event, folder)
    instance = Instance()
    try:
        instance.connect()
        if "HEADSTART_SNAPSHOT" in os.environ:
            return serve_restored(instance, name, folder)
        instance.map_ahead()
        return serve(instance, *prepare(name, folder))
    except HeadstartError as error:
        print(f"headstart.runtime: {error} ({error.hint})", file=sys.stderr)
        return 1


def load(name, folder=None):
    """Imports `module:function`, as a part of the package that `folder` is made where it is given.

    Raises whatever the module raises, or SystemExit with what is wrong with the name.
    """
    module_name, separator, function_name = name.partition(":")
    if not (module_name and separator and function_name):
        raise SystemExit(f"headstart.runtime: {name!r} is not of the form module:function")
    if folder is not None:
        # Not at every program's start.
        from headstart import package

        module_name = f"{package.make(folder)}.{module_name}"
    handler = getattr(importlib.import_module(module_name), function_name, None)
    if "urllib.request" in sys.modules:
        from headstart import urls

        urls.watch()
    if not callable(handler):
        raise SystemExit(f"headstart.runtime: {module_name} has no function {function_name}")
    return handler if folder is None else lambda event: handler(package.event_for(event))


def prepare(name, folder=None):
    """Returns the handler and None, or None and how loading it failed."""
    try:
        return load(name, folder), None
    except (Exception, SystemExit) as error:
        return None, describe(error)


def serve_restored(instance, name, folder=None):
    """Has this program stopped when the module is loaded, and answers events where it goes on. Returns the exit status."""
    from headstart import snapshot

    handler, failure = prepare(name, folder)
    snapshot.take(instance, None if failure is None else failure.decode(errors="replace"))
    instance.connect()
    instance.map_ahead()
    return serve(instance, handler, None)


def serve(instance, handler, failure):
    """Answers events until there are no more. Returns the exit status."""
    while True:
        try:
            invocation, data = instance.next(timeout=NEXT_TIMEOUT)
        except Deadline:
            continue
        except InstanceClosed:
            return 0
        if failure is not None:
            instance.respond(invocation, flags=FLAG_ERROR, payload=failure)
            return 1
        invoke(instance, handler, invocation, data)


def invoke(instance, handler, invocation, data):
    """Calls the handler and sends its answer, or how it failed. The caller's going away is not an error."""
    try:
        status, headers, pieces = answer.normalise(handler(answer.parse(data)))
        send(instance, invocation, status, headers, pieces)
    except Cancelled:
        return
    except (BridgeLost, InstanceClosed):
        raise
    except Exception as error:
        try:
            instance.respond(invocation, flags=FLAG_ERROR, payload=describe(error))
        except Cancelled:
            return


def send(instance, invocation, status, headers, pieces):
    """The head leaves with the first piece: what fails before that is an error for the caller."""
    try:
        rest = iter(pieces)
        first = next(rest, None)
        instance.respond(invocation, flags=FLAG_BEGIN, payload=answer.head(status, headers))
        if first is not None:
            send_piece(instance, invocation, answer.as_bytes(first))
        for piece in rest:
            send_piece(instance, invocation, answer.as_bytes(piece))
        instance.respond(invocation, flags=FLAG_INLINE | FLAG_END)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def send_piece(instance, invocation, piece):
    with memoryview(piece).cast("B") as view:
        if len(view) <= MAX_PAYLOAD:
            instance.respond(invocation, flags=FLAG_INLINE, payload=view)
            return
        for start in range(0, len(view), OUTBOX_BYTES):
            part = view[start : start + OUTBOX_BYTES]
            instance.write_outbox(part)
            instance.respond(invocation, length=len(part))


def describe(error):
    """Prints the traceback for the logs. Returns its end as the payload of an error."""
    import traceback

    if isinstance(error, SystemExit):
        text = str(error)
    else:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    print(text.rstrip("\n"), file=sys.stderr, flush=True)
    return text.encode(errors="replace")[-MAX_PAYLOAD:]


def try_out(name, path, folder=None):
    with open(path, "rb") as file:
        data = file.read()
    status, headers, pieces = answer.normalise(load(name, folder)(answer.parse(data)))
    print(status, *(f"{name}: {value}" for name, value in headers), sep="\n", file=sys.stderr)
    for piece in pieces:
        sys.stdout.buffer.write(answer.as_bytes(piece))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(roomy(main, sys.argv[1:]))

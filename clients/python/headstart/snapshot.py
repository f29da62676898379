"""Being stopped when the program is ready, and going on for one instance, any number of times (docs/snapshots.md).

The handler loop does it where the function's isolation is "snapshot". Whatever the module keeps that no two instances may
share (a seed, an id, the time of its start) is made anew by what it gives `after_restore`.
"""

import gc
import os
import sys

from headstart.errors import HeadstartError

VARIABLE = "HEADSTART_SNAPSHOT"
# Bytes that random generators are seeded with.
SEED_BYTES = 64

_callbacks = []


def wanted():
    """Whether this program is to be stopped when it is ready."""
    return VARIABLE in os.environ


def after_restore(callback):
    """Has `callback()` called in each instance, before its first event. Returns it, so it can be a decorator."""
    _callbacks.append(callback)
    return callback


def take(instance, failure=None):
    """Says that the program is ready, and returns in an instance. With a failure, which says why it never will be, at once."""
    if failure is None and (kept := instance.mapped()):
        failure = f"the program still refers to {kept} segments of the bridge's memory: keep a copy, bytes(data)"
    # Else every instance would print it.
    sys.stdout.flush()
    sys.stderr.flush()
    _shrink()
    instance.checkpoint(failure)
    instance.close()
    if failure is not None:
        raise HeadstartError(failure, "snapshotFailed")
    _go_on(_all_of(0))


def _shrink():
    """Gives back what the program has freed: each restore reads all that is left."""
    gc.collect()
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):
        # No glibc: the snapshot is larger.
        return


def _all_of(descriptor):
    """Waits for the descriptor's bytes, to their end: they come when the program goes on."""
    pieces = []
    while piece := os.read(descriptor, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def _go_on(told):
    from headstart.segments import Segments

    for pair in told.split(b"\0"):
        name, separator, value = pair.partition(b"=")
        if separator:
            os.environb[name] = value
    os.environ.pop(VARIABLE, None)
    # The numbers of segments begin anew.
    Segments.forget()
    _reseed()
    for callback in _callbacks:
        callback()


def _reseed():
    """The generators that are loaded go on from the same state in every instance; those of the kernel do not."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "ssl" in modules:
        modules["ssl"].RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)
    if "numpy.random" in modules:
        modules["numpy.random"].seed()

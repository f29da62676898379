"""The storage library with results named by a counter: the n-th download is message n, from 0.

The simplest naming (the paper's Figure 4): the initscript sends what the application downloads, in the same order. One
that sends something else is found out, for a claim says what it expects, and the application goes on by itself.

    import storage.counter as storage
"""

import itertools

from storage._library import Storage


def new(**options):
    """A Storage that counts by itself."""
    numbers = itertools.count()
    return Storage(name=lambda _content: next(numbers), **options)


_default = new()

download = _default.download
download_stream = _default.download_stream
upload = _default.upload
upload_stream = _default.upload_stream

"""urllib's plain GETs, taken from the initscript or done by the bridge: for functions that fetch what a URL names.

`watch()` changes urllib.request's handlers for HTTP themselves, so that openers of the function's own do the same.
"""

import os
import sys

from headstart.client import Instance
from headstart.errors import HeadstartError
from headstart.ids import fnv1a64

# Headers that do not change what is asked for.
HARMLESS = {"user-agent", "accept", "connection", "host"}


def watch():
    """To be called when a function's modules are imported; does nothing when they do not use urllib.request."""
    request = sys.modules.get("urllib.request")
    if request is None or getattr(request, "_headstart", False):
        return
    request._headstart = True
    for kind, method in (("HTTPHandler", "http_open"), ("HTTPSHandler", "https_open")):
        handler = getattr(request, kind, None)
        if handler is not None:
            setattr(handler, method, _ahead_of(getattr(handler, method)))


def _ahead_of(open_itself):
    def open_url(handler, request):
        from storage.marks import Marks

        response = None if _is_direct() or not _is_plain(request) else _fetch(request)
        if response is None:
            response = open_itself(handler, request)
        return _when_closed(response, Marks().inputs_ready)

    return open_url


def _is_direct():
    return os.environ.get("HEADSTART_DIRECT") == "1" or not Instance.available()


def _is_plain(request):
    names = {name.lower() for name, _ in request.header_items()}
    return request.get_method() == "GET" and request.data is None and names <= HARMLESS


def _fetch(request):
    """The answer, or None for what urllib has to do itself: what is redirected, refused or cannot be had."""
    instance, url = Instance(), request.full_url.partition("#")[0]
    content = f"GET {url}"
    for ask in (
        lambda: instance.claim(fnv1a64(content), content, progressive=True),
        lambda: instance.call("GET", url, progressive=True),
    ):
        try:
            reply = ask()
        except HeadstartError:
            continue
        if reply.status < 300 or reply.status >= 400:
            return _response(reply, request.full_url)
    return None


def _response(reply, url):
    from email.message import Message
    from urllib.response import addinfourl

    headers = Message()
    if reply.total is not None:
        headers["content-length"] = str(reply.total)
    response = addinfourl(reply.stream(), headers, url, reply.status)
    response.msg = ""
    return response


def _when_closed(response, then):
    close = response.close

    def close_and_tell():
        close()
        then()

    response.close = close_and_tell
    return response

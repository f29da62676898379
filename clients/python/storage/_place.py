"""Stores bytes at URLs that tell where and by whose leave, as presigned ones do: that needs no credentials.

The initscript hands the connection over: as the hash of "CONNECT tcp://host:port", tcps for https.
"""

from headstart.errors import BridgeLost, HeadstartError
from headstart.ids import fnv1a64
from storage import _address as address
from storage._http import HttpError, Server
from storage.errors import from_answer

DEFAULT_TIMEOUT = 30.0


class Places:
    """Servers by their origin, with the connections to them."""

    def __init__(self):
        # A server under the bridge has what was handed over, one that the program reaches by itself what it dials.
        self._handed, self._own = {}, {}

    def put(self, instance, url, data, timeout=None):
        """Stores bytes at a URL: on the connection that was handed over, else the bridge does; without one, by itself.

        Raises StorageError for what the server refuses, HttpError or HeadstartError when it cannot be reached.
        """
        tls, authority, target = address.split(url)
        what = f"PUT {url.partition('?')[0]}"  # without what the query gives leave by
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout

        def over(server):
            _check(server.request("PUT", target, [("host", authority)], data, timeout), what)

        if instance is not None:
            try:
                return over(self._handed_over(instance, tls, authority, timeout))
            except (HttpError, HeadstartError):
                # None was handed over, or it is dead. A PUT may be done twice.
                pass
            try:
                reply = instance.call("PUT", url, body=data, timeout=timeout)
            except BridgeLost:
                pass
            else:
                return _refused(reply.status, reply.data, what)
        return over(self._dialled(tls, authority))

    def _handed_over(self, instance, tls, authority, timeout):
        """The server with the connection that the initscript handed over. Raises Miss, …"""
        _, host, port = address.endpoint(f"{'https' if tls else 'http'}://{authority}")
        server = self._handed.get((tls, authority))
        if server is None:
            name = f"[{host}]" if ":" in host else host
            where = f"{'tcps' if tls else 'tcp'}://{name}:{port}"
            # The bridge does the TLS of such a connection.
            server = Server(host, port, dials=False)
            server.adopt(instance.get_conn(fnv1a64(f"CONNECT {where}"), where, timeout=timeout))
            self._handed[tls, authority] = server
        return server

    def _dialled(self, tls, authority):
        _, host, port = address.endpoint(f"{'https' if tls else 'http'}://{authority}")
        return self._own.setdefault((tls, authority), Server(host, port, tls))


def _check(response, what):
    _refused(response.status, response.read_all(), what)


def _refused(status, body, what):
    """Raises StorageError for an answer that is no success; a redirect is none."""
    if not 200 <= status < 300:
        raise from_answer(status, body, what)

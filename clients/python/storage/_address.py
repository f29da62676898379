"""Addresses of objects. Not urllib.parse: importing that takes longer than all of this package."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


def url(bucket, key):
    """The canonical address of an object, "s3://bucket/key": what ids and contents are made of."""
    return f"s3://{bucket}/{encode(key)}"


def encode(key):
    """A key as it stands in a path: percent-encoded once, slashes kept, without a slash before it."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in key.lstrip("/").encode())


def split(url):
    """Returns (is it https, authority, target) of "http://host:port/path?query". Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    if not slash or "@" in authority or not all("!" <= character <= "~" for character in url) or "#" in url:
        raise ValueError(f"a URL has the form http://host:port/path, not {url[:100]!r}")
    return endpoint(f"{scheme}{separator}{authority}")[0], authority, f"/{target}"


def endpoint(text):
    """Returns (is it https, host, port) of "http://host:port". Raises ValueError."""
    scheme, separator, rest = text.partition("://")
    authority = rest.rstrip("/")
    host, colon, port = authority.rpartition(":") if authority[-1:] != "]" else (authority, "", "")
    if not colon:
        host, port = authority, "443" if scheme == "https" else "80"
    if scheme not in ("http", "https") or not separator or not host.strip("[]") or not port.isdigit() or "/" in host:
        raise ValueError(f"an endpoint has the form http://host:port, not {text!r}")
    return scheme == "https", host.strip("[]"), int(port)

"""ListObjectsV2: its query in canonical form, and what its answer says."""

import re

from storage._address import encode
from storage.errors import StorageError

_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def query(prefix, token=None):
    """The parameters as they are signed: sorted by name, encoded once. What initscripts make, too."""
    pairs = [("list-type", "2"), ("prefix", prefix)]
    if token is not None:
        pairs.insert(0, ("continuation-token", token))
    return "&".join(f"{name}={encode_value(value)}" for name, value in pairs)


def encode_value(value):
    """As a key, but with its slashes encoded, also those at its front."""
    return "%2F".join(encode(part) for part in value.split("/"))


def parse(answer):
    """Returns (keys, the token of the next page or None). Raises StorageError for what is no listing."""
    text = bytes(answer)
    if b"<ListBucketResult" not in text[:1024]:
        raise StorageError(0, "LIST", "", f"the store's answer begins with {text[:60]!r}")
    keys = [_text(key) for key in re.findall(rb"<Key>([^<]*)</Key>", text)]
    if b"<IsTruncated>true</IsTruncated>" not in text:
        return keys, None
    token = re.search(rb"<NextContinuationToken>([^<]+)</NextContinuationToken>", text)
    if token is None:
        raise StorageError(0, "LIST", "", "the store has more keys and does not say where")
    return keys, _text(token.group(1))


def _text(raw):
    """Character data of XML, its references replaced."""
    return re.sub(r"&(#x?[0-9a-fA-F]{1,6}|[a-z]{2,4});", _character, raw.decode(errors="replace"))


def _character(found):
    name = found.group(1)
    if not name.startswith("#"):
        return _ENTITIES.get(name, found.group())
    try:
        return chr(int(name[2:], 16) if name[1] == "x" else int(name[1:]))
    except ValueError:
        return found.group()

"""Ids of messages: unsigned 64-bit numbers; a text stands for its FNV-1a hash."""

_OFFSET_BASIS = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1


def fnv1a64(text):
    """FNV-1a, 64 bits, of a text's UTF-8 bytes or of bytes."""
    value = _OFFSET_BASIS
    for byte in text.encode() if isinstance(text, str) else text:
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def number(id):
    """The number of an id, which is a number or a text. Raises ValueError for a number out of range."""
    if isinstance(id, str):
        return fnv1a64(id)
    if not 0 <= id <= _MASK:
        raise ValueError(f"an id is an unsigned 64-bit number, not {id}")
    return id

"""What `from . import storage` gives in a function's package that has no such module."""

from storage.published import storage

__all__ = ["storage"]

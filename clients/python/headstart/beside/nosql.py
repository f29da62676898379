"""What `from . import nosql` gives in a function's package that has no such module."""

from storage.table import nosql

__all__ = ["nosql"]

"""The key-value class of the published benchmark functions (SeBS), over objects.

    from . import nosql

    client = nosql.nosql.get_instance()
    client.insert("carts", ("cart_id", "c1"), ("product_id", "p1"), {"price": 3})

An item is one object, table/primary/secondary.json, in the bucket (and below the prefix) that HEADSTART_NOSQL names:
"s3://tables" unless told otherwise. An update reads, changes and writes: two at one time to one item may lose one.
"""

import json
import os

from storage._library import NotFound, Storage
from storage.marks import Marks

DEFAULT_PLACE = "s3://tables"


class nosql:  # noqa: N801 - the published name
    """Made by get_instance(), once for a process. A key is a pair (its name, its value); an item is a dict with both.

    get and update raise KeyError for an item that is not there.
    """

    instance = None

    def __init__(self, library=None, place=None):
        self._library, self._marks = library or Storage(), Marks()
        place = place or os.environ.get("HEADSTART_NOSQL") or DEFAULT_PLACE
        scheme, separator, rest = place.partition("://")
        self._bucket, _, prefix = rest.strip("/").partition("/")
        if scheme != "s3" or not separator or not self._bucket:
            raise ValueError(f"HEADSTART_NOSQL has the form s3://bucket/prefix, not {place!r}")
        self._prefix = f"{prefix}/" if prefix else ""

    @classmethod
    def get_instance(cls):
        if cls.instance is None:
            cls.instance = cls()
        return cls.instance

    def insert(self, table_name, primary_key, secondary_key, data):
        """Stores an item, in the place of one that has these keys."""
        self._marks.outputs_begin()
        item = {**data, primary_key[0]: primary_key[1], secondary_key[0]: secondary_key[1]}
        self._library.upload(self._bucket, self._key(table_name, primary_key, secondary_key), json.dumps(item).encode())

    def get(self, table_name, primary_key, secondary_key):
        item = self._item(self._key(table_name, primary_key, secondary_key))
        self._marks.inputs_ready()
        return item

    def update(self, table_name, primary_key, secondary_key, updates):
        """Changes some of an item's attributes."""
        item = self.get(table_name, primary_key, secondary_key)
        self.insert(table_name, primary_key, secondary_key, {**item, **updates})

    def query(self, table_name, primary_key, _secondary_key_name=None):
        """All items with this primary key, by their secondary keys."""
        keys = self._library.list_keys(self._bucket, f"{self._prefix}{escape(table_name)}/{escape(primary_key[1])}/")
        items = [self._item(key) for key in keys]
        self._marks.inputs_ready()
        return items

    def delete(self, table_name, primary_key, secondary_key):
        self._marks.outputs_begin()
        self._library.delete(self._bucket, self._key(table_name, primary_key, secondary_key))

    def _item(self, key):
        try:
            return json.loads(bytes(self._library.download(self._bucket, key)))
        except NotFound:
            raise KeyError(key) from None

    def _key(self, table, primary, secondary):
        return f"{self._prefix}{escape(table)}/{escape(primary[1])}/{escape(secondary[1])}.json"


def escape(value):
    """A value as one segment of a key: letters, digits, "-" and "_" stand for themselves, other bytes are "=XX"."""
    plain = "".join(
        character if character.isascii() and (character.isalnum() or character in "-_") else _escaped(character)
        for character in str(value)
    )
    return plain or "="


def _escaped(character):
    return "".join(f"={byte:02X}" for byte in character.encode())

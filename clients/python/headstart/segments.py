"""The segments of an instance that this process has mapped. All its connections share them."""

import collections
import mmap
import os
import threading
import weakref

# Populating brings the pages in at once; where that is unknown, page faults do.
_AHEAD = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


class Mapping(mmap.mmap):
    """A segment's bytes. It stays mapped for as long as somebody refers to it or to a view of it."""

    segment = 0
    # How many bodies in it are this program's. The bridge hears of them when it is unmapped.
    bodies = 0
    unmapped = None

    def __del__(self):
        if self.unmapped is not None and self.bodies:
            self.unmapped.append((self.segment, self.bodies))


class Segments:
    """Mappings by the segment's number; `of` gives the one table of an instance's socket in this process."""

    _tables = {}

    def __init__(self):
        # Whether some were mapped before they were claimed, and more will be: then a claim wants no fd.
        self.ahead = False
        self._lock = threading.Lock()
        self._mapped = weakref.WeakValueDictionary()
        # Mapped, and nothing in them claimed so far: nobody else refers to them.
        self._unclaimed = {}
        self._unmapped = collections.deque()

    @classmethod
    def of(cls, path):
        key = (path, os.getpid())
        table = cls._tables.get(key)
        if table is None:
            # A forked child's are its own: what it has of its parent's is the parent's to give back.
            for other in [other for other in list(cls._tables) if other[1] != key[1]]:
                cls._tables.pop(other, None)
            table = cls._tables.setdefault(key, cls())
        return table

    @classmethod
    def forget(cls):
        """The instance is another: what is mapped, or was, is nothing of its."""
        cls._tables.clear()

    def mapped(self):
        """How many are mapped."""
        with self._lock:
            return len(self._mapped)

    def claim(self, segment, descriptor=None):
        """The mapping of a segment, in which one body more is this program's. None when it has neither that nor an fd.

        Raises what mmap does for an fd that is no memory.
        """
        with self._lock:
            mapping = self._unclaimed.pop(segment, None)
            if mapping is None:
                mapping = self._mapped.get(segment)
            if mapping is None:
                if descriptor is None:
                    return None
                mapping = Mapping(descriptor, 0, access=mmap.ACCESS_READ)
                self._enter(segment, mapping)
            mapping.bodies += 1
            return mapping

    def map_ahead(self, segment, descriptor):
        """Maps a segment that something will be claimed in, with its pages."""
        mapping = Mapping(descriptor, 0, flags=_AHEAD, prot=mmap.PROT_READ)
        with self._lock:
            if segment not in self._mapped:
                self._enter(segment, mapping)
                self._unclaimed[segment] = mapping

    def drop(self, segment):
        """Nothing in a segment will ever be claimed."""
        with self._lock:
            self._unclaimed.pop(segment, None)

    def next_unmapped(self):
        """A segment that nobody refers to any more and how many bodies in it were this program's, or None."""
        try:
            return self._unmapped.popleft()
        except IndexError:
            return None

    def _enter(self, segment, mapping):
        mapping.segment, mapping.unmapped = segment, self._unmapped
        self._mapped[segment] = mapping

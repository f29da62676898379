"""Keeps files in the machine's memory, for the benchmarks: some machines take from it what was not read for half a minute.

    python3 bench/keep.py

Reads paths, one a line, of files or of folders with all that is in them; prints a line for each when it is there. All of it may
go when this ends. Needs root.
"""

import ctypes
import os
import stat
import sys

MCL_FUTURE = 2
MAP_SHARED = 1
PROT_READ = 1
MAP_FAILED = ctypes.c_void_p(-1).value

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]


def main():
    # What is mapped from now on is read, and stays.
    if libc.mlockall(MCL_FUTURE) != 0:
        raise OSError(ctypes.get_errno(), "mlockall")
    for line in sys.stdin:
        for path in files(line.rstrip("\n")):
            keep(path)
        print(flush=True)


def files(path):
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def keep(path):
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # gone, or a link to nothing
    try:
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_size > 0:
            place = libc.mmap(None, found.st_size, PROT_READ, MAP_SHARED, file, 0)
            if place == MAP_FAILED:
                raise OSError(ctypes.get_errno(), f"mmap {path}")
    finally:
        os.close(file)


if __name__ == "__main__":
    main()

"""Reads a PyTorch checkpoint of the format before 1.6 without PyTorch.

Such a file is five pickles one after the other (magic number, protocol version, system information, the state dict, the
names of the storages) and then each storage's bytes: its number of elements as an int64, then the elements. The state
dict's tensors refer to storages by name. The unpickler knows the four names that such a file needs and refuses all
others, so that nothing in the file can run.
"""

import collections
import pickle
import struct
from dataclasses import dataclass

import numpy

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

DTYPES = {"FloatStorage": numpy.dtype("<f4"), "LongStorage": numpy.dtype("<i8")}


@dataclass
class _Tensor:
    storage: str
    offset: int
    shape: tuple
    stride: tuple


class _Unpickler(pickle.Unpickler):
    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: _Tensor(storage, offset, shape, stride)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}, which is not expected in one")

    def persistent_load(self, pid):
        kind, dtype, key, _device, count, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"the checkpoint refers to a {kind!r}, which is not expected in one")
        self.storages[key] = (dtype, count)
        return key


def read(path):
    """Returns {name: numpy array} of the checkpoint's tensors, all copied into memory of their own."""
    with open(path, "rb") as file:
        if _Unpickler(file).load() != MAGIC_NUMBER or _Unpickler(file).load() != PROTOCOL_VERSION:
            raise ValueError(f"{path} is no PyTorch checkpoint of the format before 1.6")
        _Unpickler(file).load()
        state = _Unpickler(file)
        tensors = state.load()
        data = {}
        for key in _Unpickler(file).load():
            dtype, count = state.storages[key]
            (stored,) = struct.unpack("<q", file.read(8))
            if stored != count:
                raise ValueError(f"{path}: storage {key} has {stored} elements instead of {count}")
            data[key] = numpy.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: _array(tensor, data[tensor.storage]) for name, tensor in tensors.items()}


def _array(tensor, storage):
    span = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride)) + 1
    if 0 in tensor.shape or tensor.offset < 0 or tensor.offset + span > len(storage):
        raise ValueError("the checkpoint has a tensor that lies outside of its storage")
    strides = tuple(step * storage.itemsize for step in tensor.stride)
    return numpy.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()

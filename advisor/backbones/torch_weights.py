"""Read the tensors of a PyTorch state dict without PyTorch and without running anything in the file.

The format is the one that `torch.save` wrote before version 1.6: five pickles in a row (magic number,
protocol version, system information, the object, the storage keys), then for each storage its
number of elements (int64) and its raw bytes. See `torch.serialization._legacy_load`.

A pickle can name any callable, so the unpickler below resolves four names only, each to a harmless
stand-in of ours; anything else is refused before it is called.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor.errors import InputError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's numbers will be found, once the raw bytes at the end of the file are read."""

    key: str
    dtype: np.dtype
    elements: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, stride: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


class _StateDictUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a plain state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, elements, *_view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"unknown persistent object {kind!r}")
        return _Storage(str(key), dtype, int(elements))


def read_state_dict(path: Path, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read a state dict in the format that PyTorch used before 1.6.

    Args:
        path: the file.
        sha256: the expected SHA-256 of the file in hexadecimal; checked before anything is parsed.

    Returns:
        Name to array, in the shapes that PyTorch uses (convolutions are [out, in, height, width]).

    Raises:
        InputError: the file is missing, has another checksum, or holds anything but tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}; reinstall them") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path} is not the file that was published (SHA-256 differs); reinstall it")
    stream = io.BytesIO(content)
    try:
        magic, protocol, _system, tensors, keys = (_StateDictUnpickler(stream).load() for _ in range(5))
        if magic != _MAGIC_NUMBER or protocol != _PROTOCOL_VERSION:
            raise pickle.UnpicklingError("not a PyTorch file of the format before 1.6")
        return _read_tensors(stream, tensors, keys)
    except Exception as error:  # a hostile or truncated pickle can raise nearly anything
        raise InputError(f"{path} is not a plain PyTorch state dict ({error}); use another file") from error


def _read_tensors(stream: io.BytesIO, tensors: dict[str, _Tensor], keys: list[str]) -> dict[str, np.ndarray]:
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        elements = int(np.frombuffer(stream.read(8), "<i8")[0])
        dtype = dtypes[key]
        storages[key] = np.frombuffer(stream.read(elements * dtype.itemsize), dtype, count=elements)
    arrays = {}
    for name, tensor in tensors.items():
        flat = storages[tensor.storage.key]
        # The file's own strides: TensorFlow-born convolutions are stored height, width, in, out.
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)
        )
        if min(tensor.offset, *tensor.shape, *tensor.stride, last, len(flat) - 1 - last) < 0:
            raise pickle.UnpicklingError(f"{name} reaches outside its storage")
        strides = [step * flat.itemsize for step in tensor.stride]
        arrays[name] = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()
    return arrays

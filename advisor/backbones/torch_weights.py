"""Read the tensors of a PyTorch state dict without PyTorch and without running anything in the file.

There are two formats. Before version 1.6 `torch.save` wrote five pickles in a row (magic number,
protocol version, system information, the object, the storage keys), then for each storage its
number of elements (int64) and its raw bytes; see `torch.serialization._legacy_load`. Since then it
writes a zip archive with one pickle, `data.pkl`, and the raw bytes of each storage in a member
`data/KEY`; see `torch.serialization._load`.

A pickle can name any callable, so the unpickler below resolves a few names only, each to a harmless
stand-in of ours; anything else is refused before it is called. It can also ask for memory that the file
does not fill: so its opcodes are read first and only those that `torch.save` writes are admitted, and no
tensor may be larger than the storage that it lies in.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor.errors import InputError, one_line

SUFFIXES = (".pth", ".pt")  # the endings by which files of PyTorch's go

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_TYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
}

# The largest state dicts that these networks have: ResNet18 has 47 MB, in double precision twice that.
MOST_BYTES = 1_000_000_000
MOST_DESCRIPTION = 16_000_000  # bytes of the pickle that lists the tensors; ResNet18's has 10 KB
# What `torch.save` writes for names, numbers, tuples, dictionaries, storages and tensors.
_OPCODES = re.compile(
    "PROTO|FRAME|STOP|MARK|POP|GLOBAL|STACK_GLOBAL|REDUCE|BUILD|NEWOBJ|BINPERSID|MEMOIZE|(LONG_)?BIN(PUT|GET)"
    "|NONE|NEWTRUE|NEWFALSE|BININT[12]?|LONG1|BINFLOAT|(SHORT_)?BIN(UNICODE|STRING)|(EMPTY_)?TUPLE|TUPLE[123]"
    "|EMPTY_LIST|APPENDS?|EMPTY_DICT|SETITEMS?"
)
# What makes the things in it that it may use again. No tuples: nested, each used twice, they never end.
_USED_AGAIN = re.compile("GLOBAL|STACK_GLOBAL|(SHORT_)?BIN(UNICODE|STRING)|REDUCE|EMPTY_DICT|EMPTY_LIST")


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's numbers will be found, once the raw bytes at the end of the file are read."""

    key: str
    dtype: np.dtype
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A part of a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, stride: tuple, *_: Any) -> _Tensor:
    """Stand in for the function of PyTorch's that makes a tensor out of a storage."""
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


class _StateDictUnpickler(pickle.Unpickler):
    """Resolves the few names that a plain state dict needs, and no other."""

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
            raise pickle.UnpicklingError("an unknown persistent object")
        return _Storage(key, dtype, elements)


def content_of(path: Path, remedy: str) -> bytes:
    """The bytes of a file with the weights of a network.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, for the message.

    Raises:
        InputError: it is missing, no plain file, too large, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no file; give the file with the weights")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{path} has more than {MOST_BYTES:,} bytes; no network that reads it needs so many"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}; {remedy}") from error


def read_state_dict(path: Path, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read a state dict as `torch.save(model.state_dict(), path)` writes it.

    Args:
        path: the file.
        sha256: the expected SHA-256 of the file in hexadecimal; checked before anything is parsed.

    Returns:
        Name to array, in the shapes that PyTorch uses (convolutions are [out, in, height, width]).

    Raises:
        InputError: The file is missing, has another checksum, or holds anything but tensors.
    """
    content = content_of(path, "reinstall them")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{path} is not the file that was published (SHA-256 differs); reinstall it")
    read = _read_zip if content.startswith(b"PK") else _read_legacy
    try:
        tensors, storages = read(content)
        return _arrays(tensors, storages, len(content))
    except Exception as error:  # a hostile or truncated pickle can raise nearly anything
        raise InputError(
            f"{path} is not a plain PyTorch state dict ({one_line(error)}); use another file"
        ) from error


def _read_legacy(content: bytes) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """Read the format before 1.6: tensors by their names, and storages [elements] by their keys."""
    stream = io.BytesIO(content)
    magic, protocol, _system, tensors, keys = (_unpickled(stream) for _ in range(5))
    if magic != _MAGIC_NUMBER or protocol != _PROTOCOL_VERSION:
        raise pickle.UnpicklingError("not a PyTorch file of the format before 1.6")
    dtypes = _storage_types(tensors)
    storages = {}
    for key in keys:
        elements = int(np.frombuffer(stream.read(8), "<i8")[0])
        if elements < 0:
            raise pickle.UnpicklingError("a storage of negative size")
        dtype = dtypes[key]
        storages[key] = np.frombuffer(stream.read(elements * dtype.itemsize), dtype, count=elements)
    return tensors, storages


def _read_zip(content: bytes) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """Read the format since 1.6: tensors by their names, and storages [elements] by their keys."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        # PyTorch stores without compression, so all members together are no larger than the file.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise pickle.UnpicklingError("a member is compressed")
        if sum(info.file_size for info in archive.infolist()) > len(content):
            raise pickle.UnpicklingError("its members are larger than the file")
        description = next((name for name in members if name.endswith("/data.pkl")), None)
        if description is None:
            raise pickle.UnpicklingError("a zip archive without data.pkl")
        folder = description.removesuffix("data.pkl")
        if members.get(f"{folder}byteorder") and archive.read(f"{folder}byteorder") != b"little":
            raise pickle.UnpicklingError("written on a big-endian machine")
        tensors = _unpickled(io.BytesIO(archive.read(description)))
        storages = {
            key: np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
            for key, dtype in _storage_types(tensors).items()
        }
    return tensors, storages


def _unpickled(stream: io.BytesIO) -> Any:
    """Load the next pickle in the stream, after a look at its opcodes."""
    start = stream.tell()
    ahead = io.BytesIO(stream.getbuffer()[start : start + MOST_DESCRIPTION])
    made = ""
    remembered: dict[Any, str] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(ahead), 1):
        if not _OPCODES.fullmatch(opcode.name):
            raise pickle.UnpicklingError(f"{opcode.name} is not part of a plain state dict")
        if (
            opcode.name.endswith("BINPUT") and int(argument or 0) > count
        ):  # memory is taken for all below, too
            raise pickle.UnpicklingError("it remembers more than it holds")
        if opcode.name.endswith("BINPUT") or opcode.name == "MEMOIZE":
            remembered[len(remembered) if opcode.name == "MEMOIZE" else argument] = made
        elif opcode.name.endswith("BINGET") and not _USED_AGAIN.fullmatch(remembered.get(argument, "")):
            raise pickle.UnpicklingError("it uses again what is no name")
        else:
            made = opcode.name
    return _StateDictUnpickler(stream).load()


def _storage_types(tensors: dict[str, _Tensor]) -> dict[str, np.dtype]:
    """Check that there are tensors under names and nothing else, and give the types of their storages."""
    if not isinstance(tensors, dict):
        raise pickle.UnpicklingError("not a dictionary of tensors")
    for name, tensor in tensors.items():
        if not (isinstance(name, str) and isinstance(tensor, _Tensor)):
            raise pickle.UnpicklingError("it holds something that is not a tensor")
        storage, numbers = tensor.storage, (tensor.offset, *tensor.shape, *tensor.stride)
        if not (isinstance(storage, _Storage) and isinstance(storage.key, str)):
            raise pickle.UnpicklingError(f"{name} has no storage")
        if not all(type(number) is int for number in numbers):  # a text can be multiplied, too
            raise pickle.UnpicklingError(f"{name} has no shape of whole numbers")
    return {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}


def _arrays(tensors: dict[str, _Tensor], storages: dict[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """Copy the tensors out of their storages.

    All numbers must be finite, and all arrays together no larger than twice the file, which has `most` bytes.
    """
    arrays = {}
    taken = 0
    for name, tensor in tensors.items():
        flat = storages[tensor.storage.key]
        # The file's own strides: TensorFlow-born convolutions are stored height, width, in, out.
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)
        )
        if min(tensor.offset, *tensor.shape, *tensor.stride, last, len(flat) - 1 - last) < 0:
            raise pickle.UnpicklingError(f"{name} reaches outside its storage")
        taken += math.prod(tensor.shape) * flat.itemsize
        if math.prod(tensor.shape) > len(flat) or taken > 2 * most:
            raise pickle.UnpicklingError(f"{name} is larger than its storage")
        strides = [step * flat.itemsize for step in tensor.stride]
        arrays[name] = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()
        with np.errstate(over="ignore"):  # in single precision, in which we compute
            if not np.isfinite(arrays[name].astype(np.float32)).all():
                raise pickle.UnpicklingError(f"{name} is not finite")
    return arrays

"""Arrays in .npz files of strangers: none is read before its size is known, and nothing in them can run."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from advisor.errors import one_line
from advisor.system.storage import open_plain

LONGEST_READ = 1_000_000  # bytes; the list of members of the largest network has a tenth of that


def read_arrays(path: Path, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays that `numpy.savez` wrote, by name.

    Args:
        path: the file.
        most_bytes: that all arrays together may have in memory.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be read.
        ValueError: what is wrong with it, to be put behind its name: no such file, damaged, larger, or
            with arrays of Python objects.
    """
    arrays: dict[str, np.ndarray] = {}
    with open_plain(path) as plain:
        try:
            with zipfile.ZipFile(_ShortReads(plain)) as archive:
                for member in archive.infolist():
                    with archive.open(member) as file:
                        most_bytes -= _claimed(file, member.file_size)
                    if most_bytes < 0:
                        raise ValueError("is larger than its place needs")
                for member in archive.infolist():
                    with archive.open(member) as file:
                        array = np.lib.format.read_array(file, allow_pickle=False)
                        arrays[member.filename.removesuffix(".npy")] = array
                if len(arrays) < len(archive.infolist()):
                    raise ValueError("holds two arrays of one name")
        except (OSError, MemoryError):
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise nearly anything for damaged files
            raise ValueError(f"cannot be read ({one_line(error)})") from None
    return arrays


def _claimed(file: IO[bytes], stored: int) -> int:
    """Bytes of an array in memory, by its header, if that is true to the `stored` bytes of its file.

    Raises:
        ValueError: it is not, or there are Python objects in it.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or size > stored or stored > size + LONGEST_READ:
        raise ValueError("it claims another size than it has")
    return size


class _ShortReads(io.BufferedIOBase):
    """A file that is not read in long pieces, as `zipfile` would do with an endless list of members."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int | None = -1) -> bytes:
        left = self.size - self.file.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > LONGEST_READ:
            raise ValueError("its list of members is too long")
        return self.file.read(max(wanted, 0))

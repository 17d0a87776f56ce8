"""NumPy archives as MedMNIST writes them: train_images, train_labels, and the same for val and test."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from advisor.data.containers.unpacking import Unpacking
from advisor.errors import one_line

if TYPE_CHECKING:
    import numpy as np

ENDINGS: tuple[str, ...] = (".npz",)
SPLITS = ("train", "val", "test")
LONGEST_LABELS = 100_000_000  # bytes
LARGEST_SIDE = 20_000  # pixels


def unpack(source: Path, into: Unpacking) -> None:
    """Write the pictures of an archive as PNG files, see `Container`. They are read one by one."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = {info.filename: info for info in archive.infolist()}
            splits = [split for split in SPLITS if f"{split}_images.npy" in names]
            if "train" not in splits:
                raise into.refuse(
                    "has no array train_images with train_labels, as MedMNIST writes them; call them so"
                )
            whole = sum(names[f"{split}_images.npy"].file_size for split in splits) // 1_000_000
            done = 0
            for split in splits:
                done = _unpack(archive, split, done, whole, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise into.refuse(f"is damaged or no .npz file ({one_line(error)}); get it anew") from None


def _unpack(archive: zipfile.ZipFile, split: str, done: int, whole: int, into: Unpacking) -> int:
    """Write one split; returns the bytes read so far."""
    import numpy as np
    from PIL import Image

    with _array(archive, f"{split}_labels", into) as (shape, dtype, content):
        size = math.prod(shape) * dtype.itemsize
        if not shape or len(shape) > 2 or dtype.hasobject or size > LONGEST_LABELS:
            raise into.refuse(f"has labels in {split}_labels that are no list of numbers or words")
        labels = np.frombuffer(content.read(size), dtype).reshape(shape[0], -1)
    with _array(archive, f"{split}_images", into) as (shape, dtype, content):
        grey_or_colour = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
        if not grey_or_colour or dtype != np.uint8 or max(shape[1:]) > LARGEST_SIDE:
            raise into.refuse(
                f"has no pictures in {split}_images: it is {dtype} {list(shape)}, and must be uint8 "
                "[n, height, width] or [n, height, width, 3]"
            )
        if shape[0] != len(labels):
            raise into.refuse(
                f"has {shape[0]:,} images and {len(labels):,} labels in {split}; give each image its label"
            )
        for number, row in enumerate(labels):
            pixels = np.frombuffer(content.read(math.prod(shape[1:])), np.uint8).reshape(shape[1:])
            file = io.BytesIO()
            Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(file, "PNG")
            name = f"{split}/{number:06}.png"
            into.put(name, io.BytesIO(file.getvalue()))
            names = ["label"] if len(row) == 1 else [f"label {at}" for at in range(len(row))]
            into.row({"path": name, **dict(zip(names, map(str, row.tolist()), strict=True)), "split": split})
            done += pixels.nbytes
            into.progress(done // 1_000_000, whole)
    return done


@contextmanager
def _array(
    archive: zipfile.ZipFile, name: str, into: Unpacking
) -> Iterator[tuple[tuple[int, ...], np.dtype, BinaryIO]]:
    """Shape, type and content of an array in an archive; never what would have to be unpickled."""
    import numpy as np

    with archive.open(f"{name}.npy") as content:
        try:
            version = np.lib.format.read_magic(content)
            header = np.lib.format
            read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
            shape, in_columns, dtype = read(content)
        except ValueError as error:
            raise into.refuse(f"has a damaged array {name} ({one_line(error)}); get it anew") from None
        if in_columns and len(shape) > 1:
            raise into.refuse(f"holds {name} column by column; save it with numpy.ascontiguousarray")
        yield shape, dtype, content  # type: ignore[misc]

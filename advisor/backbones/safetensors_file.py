"""Read the tensors of a .safetensors file: numbers behind a JSON header, and nothing that could run.

The format: eight bytes with the length of the header (little-endian), the header, and the numbers of all
tensors; for each tensor the header says its type, its shape and where it lies among the numbers
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from advisor.backbones.torch_weights import content_of
from advisor.errors import InputError, one_line

SUFFIX = ".safetensors"
MOST_DESCRIPTION = 16_000_000  # bytes of the header
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, by name.

    Args:
        path: the file.

    Returns:
        Arrays in the shapes that PyTorch uses; bfloat16 becomes float32.

    Raises:
        InputError: the file is missing, too large, damaged, or holds numbers that are not finite.
    """
    content = content_of(path, "get them again")
    try:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 or not 2 <= length <= min(MOST_DESCRIPTION, len(content) - 8):
            raise ValueError("its header does not fit into it")
        header = json.loads(content[8 : 8 + length])
        numbers = memoryview(content)[8 + length :]
        return {name: _array(name, told, numbers) for name, told in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no sound safetensors file ({one_line(error)}); get it again") from error


def _array(name: str, told: Any, numbers: memoryview) -> np.ndarray:
    """One tensor.

    Raises:
        ValueError: it does not lie where the header says, or is not finite.
        KeyError: it is of an unknown type, or not described.
        TypeError: its description is none.
    """
    kind, shape, (begin, end) = told["dtype"], told["shape"], told["data_offsets"]
    dtype = np.dtype(_TYPES[kind])
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"{name} has no shape of whole numbers")
    if not begin <= end <= len(numbers) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} does not fit into the file")
    values = np.frombuffer(numbers[begin:end], dtype).reshape(shape)
    if kind == "BF16":  # the upper half of a number in single precision
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        if not np.isfinite(values.astype(np.float32)).all():
            raise ValueError(f"{name} is not finite")
    return values.copy()

"""splits.csv of a run folder: which images a model has seen, so that nobody takes them for new."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.system.spreadsheet import original, safe_cell
from advisor.system.storage import open_plain, replacing
from recipes.runs import run_files

FILE = "splits.csv"
COLUMNS = ("path", "split", "sha256")
LARGEST = 150_000_000  # bytes; ImageNet's has 140 million
_CONTENT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Known:
    """An image of a run.

    Attributes:
        path: as the user knew it.
        split: one of `SPLITS`.
        content: the SHA-256 of its file, 32 bytes.
    """

    path: str
    split: str
    content: bytes


def write(data: Dataset, contents: Iterable[bytes], folder: Path) -> None:
    """Write splits.csv.

    Args:
        data: n images.
        contents: the SHA-256 of each file, n times 32 bytes.
        folder: of the run.

    Raises:
        OSError: it cannot be written.
    """
    with (
        replacing(folder / FILE) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for path, split, content in zip(data.paths, data.splits, contents, strict=True):
            table.writerow((safe_cell(data.shown(path)), SPLITS[split], content.hex()))


def read(folder: Path) -> tuple[Known, ...]:
    """What `write` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    with run_files.reading(folder, FILE), open_plain(folder / FILE) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise ValueError(f"has more than {LARGEST:,} bytes")
        text = io.TextIOWrapper(
            io.BufferedReader(file), newline="", encoding="utf-8", errors="surrogateescape"
        )
        rows = csv.reader(text, strict=True)
        try:
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError(f"has not the columns {', '.join(COLUMNS)}")
            return tuple(_known(row, rows.line_num) for row in rows)
        except csv.Error as error:
            raise ValueError(f"is no table ({error} in line {rows.line_num})") from None


def _known(row: list[str], line: int) -> Known:
    """A row of splits.csv.

    Raises:
        ValueError: it is none.
    """
    if len(row) != len(COLUMNS):
        raise ValueError(f"has {len(row)} columns in line {line}")
    path, split, content = row
    if split not in SPLITS or not _CONTENT.fullmatch(content):
        raise ValueError(f"holds no split and checksum in line {line}")
    return Known(original(path), sys.intern(split), bytes.fromhex(content))

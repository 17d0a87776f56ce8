"""What each confusion costs: a table that a person writes, with the true class in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from advisor.data.names import listed
from advisor.data.table_file import TableFile
from advisor.errors import InputError
from advisor.system.spreadsheet import original
from advisor.system.text import legible

NAMED = 5  # classes that a message names
MOST_BYTES = 50_000_000  # 1,000 classes have 1,000,000 cells


def read(file: str, class_names: Sequence[str]) -> np.ndarray:
    """The costs in a CSV file.

    The first line names, from the second column on, the classes that an image may be taken for; each other
    line begins with a true class. Classes may come in any order; numbers may be negative, for a gain.

    Args:
        file: its path.
        class_names: of the run, in the order of the model's outputs.

    Returns:
        float64 [classes, classes]: of taking an image of the class in the row for the one in the column.

    Raises:
        InputError: it cannot be read, or lacks a class, or a cell is no number.
    """
    table = _table(file)
    columns = _order(file, [original(name) for name in table.names[1:]], class_names, "the first line")
    found: list[str] = []
    rows: list[list[float]] = []
    for line, fields in table.rows():
        misfit = table.misfit(fields)
        if misfit:
            raise InputError(f"{file}, line {line}: {misfit}; give one number for each class")
        found.append(original(fields[0].strip()))
        rows.append([_number(file, line, field) for field in fields[1 : len(table.names)]])
    order = _order(file, found, class_names, "the first column")
    return np.array(rows)[np.ix_(order, columns)]


def _table(file: str) -> TableFile:
    path = Path(file).expanduser()
    try:
        if not path.is_file():
            raise InputError(f"{file} is no file; give --costs a CSV file with what each confusion costs")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{file} is too large for a table of costs; give one number for each two classes"
            )
        return TableFile.open(path)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; check its permissions") from None


def _order(file: str, found: Sequence[str], class_names: Sequence[str], where: str) -> list[int]:
    """The position in `found` of each class.

    Raises:
        InputError: they are not the same classes.
    """
    absent = [repr(name) for name in class_names if name not in found]
    foreign = [repr(legible(name)) for name in found if name not in class_names]
    if absent or foreign or len(found) != len(class_names):
        what = f"lacks {listed(absent, NAMED)}" if absent else "names a class twice"
        what = f"names {listed(foreign, NAMED)}, which the run does not know" if foreign else what
        raise InputError(f"{file}: {where} {what}; name each class of the run once")
    return [found.index(name) for name in class_names]


def _number(file: str, line: int, field: str) -> float:
    try:
        number = float(field)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{file}, line {line}: {legible(field)!r} is no number; say what that costs")
    return number

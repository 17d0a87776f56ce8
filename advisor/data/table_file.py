"""A table in a file to rows of text: commas, semicolons or tabs between the fields, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import InputError
from advisor.system.text import legible

ENDINGS = (".csv", ".tsv", ".jsonl")
DELIMITERS = (",", ";", "\t")
LONGEST_LINE = 1_000_000  # letters of JSON


def is_table(path: Path) -> bool:
    """Whether a file is called as tables are."""
    return path.name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class TableFile:
    """A table, read from its file each time.

    Attributes:
        path: the file.
        names: of its columns, as they stand there without spaces around.
        delimiter: between fields; empty for JSON lines.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str

    @staticmethod
    def open(path: Path) -> TableFile:
        """Find out what its columns are called.

        Raises:
            InputError: it is no table.
        """
        if path.name.lower().endswith(".jsonl"):
            names: dict[str, None] = {}
            for _, values in _objects(path):
                names.update(dict.fromkeys(values))
            return TableFile(path, tuple(names), "")
        headers = {}
        for delimiter in DELIMITERS:
            try:
                headers[delimiter] = _header(path, delimiter)
            except InputError as error:  # of quotes that do not fit to this delimiter
                refused = error
        if not headers:
            raise refused
        delimiter = max(headers, key=lambda one: len(headers[one]))
        return TableFile(path, headers[delimiter], delimiter)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows that are not blank, below the first line, each with the number of the line that it begins in.

        Raises:
            InputError: not UTF-8, or no table.
        """
        if not self.delimiter:
            for line, values in _objects(self.path):
                yield line, [values.get(name, "") for name in self.names]
            return
        with closing(_rows(self.path, self.delimiter)) as rows:
            next(rows, None)
            yield from rows

    def misfit(self, fields: list[str]) -> str:
        """Why a row does not fit under the first line; empty where it does, or only has empty fields more."""
        count = len(self.names)
        if len(fields) < count:
            return f"{len(fields)} fields, but the first line has {count}"
        if len(fields) > count and any(field.strip() for field in fields[count:]):
            what = {",": "commas", ";": "semicolons"}.get(self.delimiter, "tabs")
            return f"{len(fields)} fields, but the first line has {count}; put text with {what} in quotes"
        return ""


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    """The fields of the first line, were they separated by this."""
    with closing(_rows(path, delimiter)) as rows:
        return tuple(name.strip() for name in next(rows, (1, []))[1])


def _rows(path: Path, delimiter: str) -> Generator[tuple[int, list[str]]]:
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # Strict, else an open quote swallows all that follows.
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for fields in reader:
                if fields:
                    yield line + 1, fields
                line = reader.line_num
    except UnicodeDecodeError:
        raise InputError(f"{legible(str(path))} is not UTF-8 text; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(
            f"{legible(str(path))} is not a readable CSV file (line {line + 1}: {error}); "
            "save it as plain CSV, with both quotes around text that needs them"
        ) from None


def _objects(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The objects of JSON lines, their values as text as it stands there."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise ValueError("too long")
                if not line.strip():
                    continue
                values = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
                if not isinstance(values, dict):
                    raise ValueError("no object")
                yield number, {name.strip(): _as_text(value) for name, value in values.items()}
    except UnicodeDecodeError:
        raise InputError(f"{legible(str(path))} is not UTF-8 text; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(
            f"{legible(str(path))} is not readable (line {number}: {reason[:80]}); write one JSON object "
            'on each line, as {"path": "a.jpg", "label": "cat"}'
        ) from None


def _as_text(value: object) -> str:
    """A value as it was written; numbers are text already."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)

"""Labels that a person has corrected: a list that is applied to a data set without touching its files.

The list is the suspects.csv of `advisor audit` with its last column filled in, or any CSV file with the
columns `path` and `correction`. A path is only compared with those of the data set; nothing is opened by it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from advisor.data.checks import check, check_splits
from advisor.data.dataset import DROPPED, Dataset
from advisor.data.names import SPLITS, listed
from advisor.errors import InputError
from advisor.system.json_file import write_text
from advisor.system.spreadsheet import original, safe_cell
from advisor.system.storage import open_plain
from advisor.system.text import legible

COLUMNS = ("path", "label", "suggested", "probability", "correction")
KEEP, DROP, RELABEL = "keep", "drop", "relabel "
MOST_BYTES = 150_000_000  # as many as ImageNet's list would have
FILE = "corrections.csv"


@dataclass(frozen=True)
class Corrections:
    """What is to be corrected.

    Attributes:
        file: where it was read from.
        labels: by the path of an image, relative to its data set, the name of the class that it is in; None
            where it is to be left out.
    """

    file: str
    labels: Mapping[str, str | None]

    def apply(self, data: Dataset) -> Dataset:
        """The data set with corrected labels, and without what is to be left out.

        Test images stay and keep their labels: a model must not improve its mark by correcting the
        examination. `Dataset.corrected` has what is corrected of them.

        Raises:
            InputError: none of the images is there, or a class is not there or has too few images left.
        """
        corrected = self.corrected(data)
        found = {data.shown(path) for path in data.paths}
        absent = [path for path in self.labels if path not in found]
        if self.labels and len(absent) == len(self.labels):
            raise InputError(
                f"{self.file} corrects no image of {data.source}, but {legible(absent[0])}; give the "
                "suspects.csv of an audit of the same DATA"
            )
        is_test = data.splits == SPLITS.index("test")
        kept = np.flatnonzero(is_test | (corrected != DROPPED))
        changed = corrected != data.labels
        warnings = (*data.warnings, *self._told(corrected, changed, is_test, absent))
        labels = np.where(is_test, data.labels, corrected)
        data = replace(data, labels=labels, corrected=corrected, corrected_by=self.file, warnings=warnings)
        data = data.take(kept)
        check(data)
        check_splits(data)
        return data

    def corrected(self, data: Dataset) -> np.ndarray:
        """The labels of all images as corrected, int64 [n]; `DROPPED` where one is to be left out.

        Raises:
            InputError: a class is not there.
        """
        number = {name: label for label, name in enumerate(data.class_names)}
        labels = data.labels.copy()
        for position, path in enumerate(data.paths):
            name = self.labels.get(data.shown(path), "")
            if name is None:
                labels[position] = DROPPED
            elif name:
                if name not in number:
                    raise InputError(
                        f"{self.file}: {data.source} has no class {name!r}, as for {data.shown(path)}; "
                        f"relabel to one of {listed([repr(known) for known in data.class_names], 5)}"
                    )
                labels[position] = number[name]
        return labels

    def _told(
        self, corrected: np.ndarray, changed: np.ndarray, is_test: np.ndarray, absent: list[str]
    ) -> list[str]:
        """What was corrected, in a sentence, and what is not there, in another one."""
        dropped = int((changed & ~is_test & (corrected == DROPPED)).sum())
        relabelled = int((changed & ~is_test).sum()) - dropped
        said = f"corrected by {self.file}: {relabelled:,} relabelled, {dropped:,} left out"
        if (changed & is_test).any():
            said += f"; {int((changed & is_test).sum()):,} test images count with the labels that they had"
        told = [said]
        if absent:
            told.append(f"{self.file} corrects {len(absent):,} images that are not there: {listed(absent)}")
        return told

    def write(self, folder: Path) -> None:
        """Write corrections.csv into a folder: what was corrected, in the form that can be read again."""
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(("path", "correction"))
        table.writerows((safe_cell(path), correction) for path, correction in self.rows())
        write_text(folder / FILE, text.getvalue())

    def rows(self) -> list[tuple[str, str]]:
        """Each path with its correction as it stands in the last column."""
        return [(path, DROP if name is None else f"{RELABEL}{name}") for path, name in self.labels.items()]


def read(file: str) -> Corrections:
    """Read a list of corrections: CSV in UTF-8 with the columns `path` and `correction`.

    Raises:
        InputError: it cannot be read, or a row says something else than keep, relabel TO, drop or nothing.
    """
    shown = legible(file)
    try:
        with open_plain(Path(file).expanduser()) as source:
            content = source.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES:,} bytes")
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except FileNotFoundError:
        raise InputError(f"{shown} does not exist; give the suspects.csv of advisor audit") from None
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror or error}; check its permissions") from None
    except RuntimeError as error:  # of expanduser: no such user
        raise InputError(f"{shown} does not exist ({error}); give the file's full path") from None
    except UnicodeDecodeError:
        raise InputError(f"{shown} is not UTF-8 text; save it as CSV in UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{shown} is no readable CSV file ({error}); save it as plain CSV") from None
    return Corrections(shown, _labels(rows, shown))


def _labels(rows: list[list[str]], shown: str) -> dict[str, str | None]:
    """What the rows say, by path."""
    header = [name.strip().casefold() for name in rows[0]] if rows else []
    for column in ("path", "correction"):
        if header.count(column) != 1:
            raise InputError(
                f"{shown} needs one column {column!r}; give the suspects.csv of advisor audit with its last "
                "column filled in"
            )
    path_at, at = header.index("path"), header.index("correction")
    found: dict[str, str | None] = {}
    for line, row in enumerate(rows[1:], 2):
        said = row[at].strip() if at < len(row) else ""
        if said.casefold() in ("", KEEP) or path_at >= len(row):
            continue
        path, name = original(row[path_at]), said[len(RELABEL) :].strip() or None
        if said.casefold() != DROP and (said[: len(RELABEL)].casefold() != RELABEL or not name):
            raise InputError(
                f"{shown} line {line}: {legible(said[:40])!r} is no correction; write keep, drop, or "
                "relabel and the name of a class"
            )
        if found.setdefault(path, name) != name:
            raise InputError(f"{shown} line {line} corrects {legible(path)} in another way; keep one of them")
    return found

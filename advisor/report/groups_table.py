"""groups.csv of an audit: a table of all images that says what belongs together, to look at and to use."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from advisor.audit.audit import Audit
from advisor.data import containers
from advisor.data.names import SPLITS
from advisor.system import reproduction
from advisor.system.json_file import write_text
from advisor.system.spreadsheet import safe_cell

FILE, COLUMN = "groups.csv", "group"


def grouped(found: Audit) -> np.ndarray:
    """Which images belong together with others, bool [n]."""
    return np.bincount(found.groups)[found.groups] > 1


def write(found: Audit, folder: Path) -> None:
    """Write groups.csv; where no images belong together, remove that of an earlier audit.

    Args:
        found: what to write.
        folder: exists.
    """
    if not grouped(found).any():
        (folder / FILE).unlink(missing_ok=True)
        return
    data, text = found.data, io.StringIO(newline="")
    table = csv.writer(text)
    splits = ("split",) if data.given_splits else ()
    table.writerow(("path", "label", COLUMN, *splits))
    for at in np.argsort(found.groups, kind="stable").tolist():
        shown, split = found.shown(at), SPLITS[data.splits[at]]
        # A path may not act as a formula either, and has to stay one.
        path = shown if safe_cell(shown) == shown else f"./{shown}"
        own = (split if split in data.given_splits else "",) if splits else ()
        table.writerow((path, safe_cell(found.label(at)), found.groups[at], *own))
    write_text(folder / FILE, text.getvalue())


def command(found: Audit, folder: str) -> str:
    """The command that keeps together what belongs together."""
    data, source = found.data, Path(found.data.source)
    # An archive itself, for what was unpacked of it may be taken out of the cache.
    images = source if source.exists() and containers.is_container(source) else data.root
    return reproduction.command(
        "run",
        str(Path(folder) / FILE),
        auto=True,
        images=data.reading.images or str(images),
        group_column=COLUMN,
    )

"""A CSV file to its labelled files: which columns say what, and which rows say nothing clear."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from advisor.data.listing import Entry, Listing, Skipped
from advisor.data.names import OWN_NAMES, SPLIT_WORDS, listed
from advisor.errors import InputError
from advisor.system.text import legible

_LIKE_SPLIT = {"splits", "datasplit", "traintest", "subset", "partition", "set", "phase", "usage"}
# Of fastai's tables and the like: yes or no for one split. Not "valid", which may mean a sound image.
_FLAGS = {
    **dict.fromkeys(("istrain", "istraining", "istrainingimage"), "train"),
    **dict.fromkeys(("isval", "isvalid", "isvalidation"), "validation"),
    **dict.fromkeys(("istest", "istesting"), "test"),
}
_YES_OR_NO = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), True),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n", ""), False),
}
_MOST_VALUES = 20  # looked at in a column that may be a split: more than there are words in these tables


def read(path: Path) -> Listing:
    """List the files that a CSV file names: UTF-8, commas, the columns path and label, and a split or none.

    Rows with more or fewer fields than the first line are left out and named, not guessed at: a comma that
    should stand in quotes would make one class of two.

    Raises:
        InputError: it cannot be read, a column is missing or there twice, or what it says of splits is not
            clear.
    """
    listing = Listing(path.absolute().parent)
    shown = legible(str(path))
    columns = _Columns.of(path, listing.warnings)
    entries: dict[Entry, None] = {}
    with closing(_rows(path)) as rows:
        next(rows)
        for line, fields in rows:
            name, label = (
                fields[at].strip() if at < len(fields) else "" for at in (columns.path, columns.label)
            )
            reason = _misfit(fields, columns.count) if name and label else "path or label is empty"
            if not reason:
                entry = Entry(_located(listing.root, name), label, columns.split_of(fields, shown, line))
                reason = "the same row again" if entry in entries else ""
                entries[entry] = None
            if reason:
                listing.skipped.append(Skipped(f"{legible(path.name)} line {line}", reason))
    if not entries:
        first = "".join(f" (the first skipped: {it.path}: {it.reason})" for it in listing.skipped[:1])
        raise InputError(f"{shown} lists no images{first}; add lines of path,label")
    listing.entries.extend(entries)
    return listing


def _misfit(fields: list[str], count: int) -> str:
    """Why a row does not fit under the first line; empty where it does, or only has empty fields more."""
    if len(fields) < count:
        return f"{len(fields)} fields, but the first line has {count}"
    if len(fields) > count and any(field.strip() for field in fields[count:]):
        return f"{len(fields)} fields, but the first line has {count}; put text with commas in quotes"
    return ""


def _located(root: Path, name: str) -> str:
    """The file that a row names; with the backslashes of Windows read as slashes if only that is there."""
    path = os.path.join(root, name)
    if os.sep == "/" and "\\" in name:
        with_slashes = os.path.join(root, name.replace("\\", "/"))
        if not os.path.lexists(path) and os.path.lexists(with_slashes):
            return with_slashes
    return path


def _rows(path: Path) -> Generator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of the line that it begins in.

    Raises:
        InputError: not UTF-8, or no CSV.
    """
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)  # else an open quote swallows all that follows
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


@dataclass(frozen=True)
class _Columns:
    """Where the columns are.

    Attributes:
        count: of all.
        path: position.
        label: position.
        split: position of a column with train, val or test; None where there is none.
        flags: positions of columns with yes or no, each with the split that it tells.
    """

    count: int
    path: int
    label: int
    split: int | None
    flags: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, path: Path, warnings: list[str]) -> _Columns:
        """Look at the whole file: what a column is shows in its values."""
        shown = legible(str(path))
        with closing(_rows(path)) as rows:
            _, header = next(rows, (1, []))
            names = [name.strip() for name in header]
            known = [name.casefold() for name in names]
            for name in ("path", "label", "split"):
                if known.count(name) > 1:
                    raise InputError(f"{shown} has two columns {name!r}; remove or rename one of them")
            missing = {"path", "label"} - set(known)
            if missing:
                raise InputError(
                    f"{shown} has no column {sorted(missing)[0]!r}; its first line must be path,label "
                    "or path,label,split, with commas between them"
                )
            used = [known.index(name) for name in ("path", "label", "split") if name in known]
            others = [at for at in range(len(names)) if at not in used]
            values: dict[int, dict[str, None]] = {at: {} for at in others}
            for _, fields in rows if others else ():
                if not _misfit(fields, len(names)):
                    for at, found in values.items():
                        if len(found) < _MOST_VALUES:
                            found.setdefault(fields[at].strip().casefold())
        for at in [at for at in others if not names[at]]:
            if any(values[at]):
                names[at] = f"number {at + 1}"
            else:  # commas at the end of each line
                others.remove(at)
                del values[at]
        split = known.index("split") if "split" in known else None
        flags: tuple[tuple[int, str], ...] = ()
        if split is None:
            split, flags = _split_columns(shown, names, values)
            read_as = [names[at] for at in ([split] if split is not None else []) + [at for at, _ in flags]]
            if read_as:
                warnings.append(f"the splits are read from {_columns_in_words(read_as)}")
        unused = [names[at] for at in others if at != split and at not in dict(flags)]
        if unused:
            warnings.append(f"not used: {_columns_in_words(unused)} of {legible(path.name)}")
        return cls(len(names), known.index("path"), known.index("label"), split, flags)

    def split_of(self, fields: list[str], shown: str, line: int) -> str | None:
        """What a row says of its split.

        Raises:
            InputError: something unknown, or two splits.
        """
        if self.split is not None:
            word = fields[self.split].strip().casefold()
            if word and word not in SPLIT_WORDS:
                raise InputError(f"{shown} line {line}: unknown split {word[:40]!r}; use {OWN_NAMES}")
            return SPLIT_WORDS.get(word)
        if not self.flags:
            return None
        found = [split for at, split in self.flags if _YES_OR_NO[fields[at].strip().casefold()]]
        if len(found) > 1:
            raise InputError(
                f"{shown} line {line} is in two splits, {found[0]} and {found[1]}; keep one of them"
            )
        return found[0] if found else "train"


def _split_columns(
    shown: str, names: list[str], values: dict[int, dict[str, None]]
) -> tuple[int | None, tuple[tuple[int, str], ...]]:
    """The columns that say the split under other names than that: one with words, or some with yes and no.

    Raises:
        InputError: they say it in a way that is not clear; to go on without them would train on test images.
    """
    words, flags = [], []
    way_out = "say train, val or test in a column called split"
    for at, seen in values.items():
        name = re.sub(r"[\W_]", "", names[at].casefold())
        odd = next((value for value in seen if value and value not in SPLIT_WORDS), None)
        told = {SPLIT_WORDS[value] for value in seen if value in SPLIT_WORDS}
        if (name in _LIKE_SPLIT and any(seen)) or ("train" in told and len(told) > 1):
            if odd is not None:
                raise InputError(
                    f"{shown}: column {names[at]!r} looks like the split, but holds {odd[:40]!r}; {way_out}, "
                    f"or rename {names[at]!r} if it is something else"
                )
            words.append(at)
        elif name in _FLAGS:
            odd = next((value for value in seen if value not in _YES_OR_NO), None)
            if odd is not None:
                raise InputError(
                    f"{shown}: column {names[at]!r} holds {odd[:40]!r} where true or false belongs; {way_out}"
                )
            flags.append((at, _FLAGS[name]))
    several = [names[at] for at in words] + [names[at] for at, _ in flags]
    if len(words) > 1 or (words and flags) or len({split for _, split in flags}) < len(flags):
        raise InputError(f"{shown}: {_columns_in_words(several)} look like the split; {way_out}")
    if [split for _, split in flags] == ["train"]:
        raise InputError(
            f"{shown}: column {several[0]!r} says which images train, but not whether the others are "
            f"validation or test; {way_out}"
        )
    return (words[0] if words else None), tuple(flags)


def _columns_in_words(names: list[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {listed([repr(legible(name)) for name in names])}"

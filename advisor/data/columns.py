"""Which columns of a table say what: found out from what is in them, or as the user says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from advisor.data.image_files import ImageFiles
from advisor.data.names import OWN_NAMES, SPLIT_WORDS, listed
from advisor.data.reading import Reading
from advisor.data.table_file import TableFile
from advisor.errors import InputError
from advisor.system.text import legible

LABEL_NAMES = ("label", "labels", "class", "class_name", "classname", "category", "target")
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
_ONE, _ZERO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_MOST_VALUES = 2_000  # different ones that are looked at in a column; no more classes are found unasked
_MOST_NAMES = 50  # that are looked for among the images
_MOST_SPLITS = 20  # words in a column that may be a split; no table has as many


@dataclass
class _Seen:
    """What is in a column.

    Attributes:
        values: different ones, as many as are looked at, in the order of the rows.
        rows: that are not empty.
        first: the first values that are not empty.
    """

    values: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, value: str) -> None:
        self.rows += bool(value)
        if len(self.values) < _MOST_VALUES:
            self.values.setdefault(value)
        if value and len(self.first) < _MOST_NAMES:
            self.first.append(value)

    def words(self) -> list[str]:
        """The first values, in small letters."""
        return list(dict.fromkeys(value.casefold() for value in self.values))[:_MOST_SPLITS]

    @property
    def is_zero_or_one(self) -> bool:
        return 0 < len(self.values) <= 4 and {value.casefold() for value in self.values} <= _ONE | _ZERO

    @property
    def may_be_labels(self) -> bool:
        """Whether it has several values, and few for its rows."""
        different = sum(bool(value) for value in self.values)
        return 2 <= different <= self.rows / 2 and len(self.values) < _MOST_VALUES


@dataclass(frozen=True)
class Columns:
    """Where the columns are.

    Attributes:
        names: of all.
        path: position.
        label: position; of several the one with a 1 is the label.
        split: position of a column with train, val or test; None where there is none.
        flags: positions of columns with yes or no, each with the split that it tells.
        group: position of what belongs together; None where there is none.
    """

    names: tuple[str, ...]
    path: int
    label: tuple[int, ...]
    split: int | None
    flags: tuple[tuple[int, str], ...]
    group: int | None

    @staticmethod
    def of(file: TableFile, images: ImageFiles, reading: Reading, warnings: list[str]) -> Columns:
        """Look at the whole file: what a column is shows in its values.

        Args:
            file: the table.
            images: that it is about.
            reading: what the user says of the columns.
            warnings: to which is added what was found out, and what is not used.

        Raises:
            InputError: it is not clear.
        """
        shown = legible(str(file.path))
        finder = _Finder(shown, list(file.names), _look(file))
        path = finder.given("--path-column", reading.path_column, ("path",))
        found = path is None
        path = finder.path(images) if path is None else path
        group = finder.given("--group-column", reading.group_column, ())
        finder.taken |= {path} if group is None else {path, group}
        label = finder.given("--label-column", reading.label_column, ("label",))
        finder.taken |= set() if label is None else {label}
        split = finder.given("--split-column", reading.split_column, ("split",))
        flags: tuple[tuple[int, str], ...] = ()
        others = finder.name_the_nameless()
        if split is None:
            split, flags = _split_columns(shown, finder.names, {at: finder.seen[at].words() for at in others})
            read_as = [split] if split is not None else [at for at, _ in flags]
            if read_as:
                warnings.append(f"the splits are read from {finder.in_words(read_as)}")
        finder.taken |= {at for at, _ in flags} | (set() if split is None else {split})
        labels = (label,) if label is not None else finder.labels(file)
        if found:
            warnings.append(f"the images are read from {finder.in_words([path])}")
        if label is None:
            warnings.append(f"the labels are read from {finder.in_words(labels)}")
        finder.taken |= set(labels)
        unused = [at for at in others if at not in finder.taken]
        if unused:
            warnings.append(f"not used: {finder.in_words(unused)} of {legible(file.path.name)}")
        return Columns(file.names, path, labels, split, flags, group)

    @staticmethod
    def names_images(file: TableFile, images: ImageFiles) -> bool:
        """Whether any column names images that are there."""
        return any(_hits(seen, images) for seen in _look(file))

    def path_of(self, fields: Sequence[str]) -> str:
        """What a row calls its image."""
        return _at(fields, self.path)

    def label_of(self, fields: Sequence[str]) -> tuple[str, str]:
        """The class that a row says, and why it does not; one of them is empty, or both."""
        if len(self.label) == 1:
            return _at(fields, self.label[0]), ""
        ones = [self.names[at] for at in self.label if _at(fields, at).casefold() in _ONE]
        if len(ones) == 1:
            return ones[0], ""
        return "", f"it is in {'none' if not ones else len(ones)} of the classes, and must be in one"

    def group_of(self, fields: Sequence[str]) -> str | None:
        """What a row belongs to; nothing if it does not say so."""
        return (fields[self.group].strip() or None) if self.group is not None else None

    def split_of(self, fields: Sequence[str], shown: str, line: int) -> str | None:
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


def _at(fields: Sequence[str], column: int) -> str:
    """A field of a row; nothing where the row is too short."""
    return fields[column].strip() if column < len(fields) else ""


def _look(file: TableFile) -> list[_Seen]:
    """What is in each column."""
    seen = [_Seen() for _ in file.names]
    for _, fields in file.rows():
        if not file.misfit(fields):
            for column, value in zip(seen, fields, strict=False):
                column.add(value.strip())
    return seen


def _hits(seen: _Seen, images: ImageFiles) -> int:
    """How many of the first values of a column name images; none unless half of them do."""
    hits = sum(any(map(os.path.isfile, images.find(value))) for value in seen.first)
    return hits if 2 * hits >= len(seen.first) else 0


class _Finder:
    """Finds columns.

    Attributes:
        shown: the table.
        names: of the columns.
        seen: what is in them.
        taken: those that are known already.
    """

    def __init__(self, shown: str, names: list[str], seen: list[_Seen]) -> None:
        self.shown, self.names, self.seen = shown, names, seen
        self.taken: set[int] = set()

    def given(self, option: str, name: str | None, usual: tuple[str, ...]) -> int | None:
        """The column that the user names, or one that is called as usual; None where there is none.

        Raises:
            InputError: the user names one that is not there, or two are called so.
        """
        exact = [at for at, own in enumerate(self.names) if own == name]
        wanted = (name.strip().casefold(),) if name is not None else usual
        found = exact or [at for at, own in enumerate(self.names) if own.casefold() in wanted]
        if len(found) > 1:
            raise InputError(f"{self.shown} has two columns {wanted[0]!r}; remove or rename one of them")
        if name is not None and not found:
            raise InputError(
                f"{option} {name} is no column of {self.shown}; it has "
                f"{listed([repr(legible(own)) for own in self.names], 10)}"
            )
        return found[0] if found else None

    def path(self, images: ImageFiles) -> int:
        """The column that names images, where it is clear.

        Raises:
            InputError: none does, or several do.
        """
        hits = {
            at: _hits(seen, images)
            for at, seen in enumerate(self.seen)
            if self.names[at].casefold() not in LABEL_NAMES
        }
        named = [at for at, count in hits.items() if count and self.names[at]] or [
            at for at, count in hits.items() if count
        ]
        best = [at for at in named if hits[at] == max(hits[one] for one in named)]
        if not best:
            raise InputError(
                f"{self.shown} has no column 'path', and none whose values name images in "
                f"{legible(str(images.root))}; its first line must name the columns, as path,label; say "
                "where the images are with --images DIR, or which column names them with --path-column"
            )
        if len(best) > 1:
            raise InputError(
                f"{self.shown}: {self.in_words(best)} name images; say which with --path-column NAME"
            )
        return best[0]

    def labels(self, file: TableFile) -> tuple[int, ...]:
        """The column with the labels, or those of which one holds a 1, where it is clear.

        Raises:
            InputError: none is, or several may be.
        """
        rest = [at for at in range(len(self.names)) if at not in self.taken]
        called = [at for at in rest if self.names[at].casefold() in LABEL_NAMES]
        if len(called) == 1:
            return (called[0],)
        yes_or_no = tuple(at for at in rest if self.seen[at].is_zero_or_one)
        if not called and len(yes_or_no) > 1 and _are_one_hot(file, yes_or_no):
            return yes_or_no
        may_be = called or [at for at in rest if self.seen[at].may_be_labels]
        if len(may_be) == 1:
            return (may_be[0],)
        if not may_be:
            raise InputError(
                f"{self.shown} has no column 'label', and none with few different values; say which one "
                "holds the classes with --label-column NAME"
            )
        raise InputError(
            f"{self.shown}: {self.in_words(may_be)} may hold the labels; say which with --label-column NAME"
        )

    def name_the_nameless(self) -> list[int]:
        """Columns that are not known yet; those without a name get one, or are left out if they are empty."""
        found = []
        for at, name in enumerate(self.names):
            if at in self.taken or (not name and not any(self.seen[at].values)):
                continue
            self.names[at] = name or f"number {at + 1}"
            found.append(at)
        return found

    def in_words(self, at: Sequence[int]) -> str:
        """Columns by their names."""
        return _in_words([self.names[one] for one in at])


def _are_one_hot(file: TableFile, columns: tuple[int, ...]) -> bool:
    """Whether most rows have a 1 in exactly one of the columns."""

    def ones() -> Iterator[int]:
        for _, fields in file.rows():
            if not file.misfit(fields):
                yield sum(fields[at].strip().casefold() in _ONE for at in columns)

    counts = list(ones())
    return 2 * sum(count == 1 for count in counts) > len(counts)


def _split_columns(
    shown: str, names: Sequence[str], values: dict[int, list[str]]
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
        raise InputError(f"{shown}: {_in_words(several)} look like the split; {way_out}")
    if [split for _, split in flags] == ["train"]:
        raise InputError(
            f"{shown}: column {several[0]!r} says which images train, but not whether the others are "
            f"validation or test; {way_out}"
        )
    return (words[0] if words else None), tuple(flags)


def _in_words(names: list[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {listed([repr(legible(name)) for name in names])}"

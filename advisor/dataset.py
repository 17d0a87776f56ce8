"""DATA to a `Dataset`: which images, which labels, which splits, and what is wrong with them."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from advisor import images
from advisor.errors import InputError

SPLITS = ("train", "validation", "test")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
HELD_OUT = 0.1  # of all images, for each of validation and test where the user gave none
_NOT_DATA = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_ILLEGIBLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OWN_NAMES = "train, val (or valid, validation) and test"


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled images on disk.

    Attributes:
        source: what the user named.
        root: the folder that shown paths are relative to.
        paths: n absolute file names.
        labels: int64 [n], indices into `class_names`.
        class_names: in sorted order.
        splits: int64 [n], indices into `SPLITS`.
        identities: n strings that change when a file changes (size and time of modification).
        shorter_sides: int64 [n], pixels.
        given_splits: the splits that the user made; the others were drawn.
        skipped: files that are left out.
        warnings: what a person should know before they trust a result.
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    identities: tuple[str, ...]
    shorter_sides: np.ndarray
    given_splits: frozenset[str]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def indices(self, split: str) -> np.ndarray:
        """Positions of the images of one of `SPLITS`."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def counts(self) -> np.ndarray:
        """Images of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def shown(self, path: str) -> str:
        """A path as the user knows it: relative to the data where it lies inside."""
        return _relative(path, self.root)

    def fingerprint(self) -> str:
        """Changes when any image, label or split does. Hexadecimal, 16 characters."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for path, identity in zip(self.paths, self.identities, strict=True):
            digest.update(f"{self.shown(path)}\0{identity}\0".encode())
        digest.update(self.labels.tobytes() + self.splits.tobytes())
        return digest.hexdigest()[:16]

    def take(self, kept: np.ndarray) -> Dataset:
        """The images at these positions, with the same classes."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in kept),
            labels=self.labels[kept],
            splits=self.splits[kept],
            identities=tuple(self.identities[i] for i in kept),
            shorter_sides=self.shorter_sides[kept],
        )

    def without(self, unreadable: Sequence[Skipped]) -> Dataset:
        """Leave out files that turned out to be unreadable when they were decoded.

        Raises:
            InputError: too little is left, see `load`.
        """
        if not unreadable:
            return self
        left_out = {skipped.path for skipped in unreadable}
        kept = np.array([i for i, path in enumerate(self.paths) if path not in left_out], dtype=np.int64)
        shown = tuple(Skipped(self.shown(item.path), item.reason) for item in unreadable)
        rest = replace(self.take(kept), skipped=self.skipped + shown)
        _check(rest)
        _check_splits(rest)
        return rest


def load(source: str, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Find the images and labels that a user means by DATA.

    Args:
        source: a folder of class folders, a folder with train/ and others, a CSV file with the columns
            path, label and optionally split, `sklearn:digits`, or `tfds:NAME`.
        seed: draws the splits that the user did not make: stratified, 80/10/10.
        progress: called with files looked at and files in all.

    Raises:
        InputError: nothing there, fewer than two classes, or a class with fewer than two images.
    """
    root, entries, skipped = _entries(source)
    found = _inspect(entries, progress)
    skipped += [
        Skipped(_relative(e.path, root), f.reason) for e, f in zip(entries, found, strict=True) if f.reason
    ]
    readable = [(e, f) for e, f in zip(entries, found, strict=True) if not f.reason]
    class_names = tuple(sorted({entry.label for entry in entries}))
    number = {name: i for i, name in enumerate(class_names)}
    given = frozenset(entry.split for entry, _ in readable if entry.split)
    data = Dataset(
        source=legible(source),
        root=root,
        paths=tuple(entry.path for entry, _ in readable),
        labels=np.array([number[entry.label] for entry, _ in readable], dtype=np.int64),
        class_names=class_names,
        splits=np.array([SPLITS.index(entry.split or "train") for entry, _ in readable], dtype=np.int64),
        identities=tuple(file.identity for _, file in readable),
        shorter_sides=np.array([file.shorter_side for _, file in readable], dtype=np.int64),
        given_splits=given,
        skipped=tuple(skipped),
    )
    _check(data)
    return split(data, seed)


def split(data: Dataset, seed: int) -> Dataset:
    """Draw the splits that the user did not make, stratified, and keep copies out of the test split.

    Splits that were drawn before are drawn anew.

    Raises:
        InputError: a split comes out empty.
    """
    given = [SPLITS.index(name) for name in data.given_splits]
    kept = np.where(np.isin(data.splits, given), data.splits, SPLITS.index("train"))
    data = replace(data, splits=kept)
    copies = _copies(data)
    splits = _draw_missing_splits(data, copies, seed)
    data = replace(data, splits=splits, warnings=_suspicious_classes(data))
    return _keep_copies_out_of_test(data, copies)


def unlabelled(paths: Sequence[str], source: str) -> Dataset:
    """Images without labels, as a `Dataset` with one nameless class.

    Raises:
        InputError: none of them can be read.
    """
    entries = [_Entry(os.path.abspath(path), "") for path in paths]
    found = _inspect(entries, None)
    readable = [(e, f) for e, f in zip(entries, found, strict=True) if not f.reason]
    skipped = tuple(
        Skipped(legible(e.path), f.reason) for e, f in zip(entries, found, strict=True) if f.reason
    )
    if not readable:
        raise InputError(f"{source} holds no readable images; give image files or folders of them")
    return Dataset(
        source=source,
        root=Path(os.path.commonpath([os.path.dirname(entry.path) for entry, _ in readable])),
        paths=tuple(entry.path for entry, _ in readable),
        labels=np.zeros(len(readable), np.int64),
        class_names=("",),
        splits=np.full(len(readable), SPLITS.index("test")),
        identities=tuple(file.identity for _, file in readable),
        shorter_sides=np.array([file.shorter_side for _, file in readable]),
        given_splits=frozenset(("test",)),
        skipped=skipped,
    )


def load_test(source: str, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Labelled images to evaluate on: the test split if the user made one, else all; any number.

    Raises:
        InputError: nothing there that can be read.
    """
    root, entries, skipped = _entries(source)
    if any(entry.split == "test" for entry in entries):
        entries = [entry for entry in entries if entry.split == "test"]
    found = _inspect(entries, progress)
    readable = [(e, f) for e, f in zip(entries, found, strict=True) if not f.reason]
    skipped += [
        Skipped(_relative(e.path, root), f.reason) for e, f in zip(entries, found, strict=True) if f.reason
    ]
    if not readable:
        raise InputError(f"{legible(source)} holds no readable images; put images into its class folders")
    class_names = tuple(sorted({entry.label for entry, _ in readable}))
    return Dataset(
        source=legible(source),
        root=root,
        paths=tuple(entry.path for entry, _ in readable),
        labels=np.array([class_names.index(entry.label) for entry, _ in readable], dtype=np.int64),
        class_names=class_names,
        splits=np.full(len(readable), SPLITS.index("test")),
        identities=tuple(file.identity for _, file in readable),
        shorter_sides=np.array([file.shorter_side for _, file in readable], dtype=np.int64),
        given_splits=frozenset(("test",)) if entries[0].split else frozenset(),
        skipped=tuple(skipped),
    )


def content(path: str) -> str:
    """What a file is known by, under whatever name in whatever folder: SHA-256, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def sample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draw a stratified sample: sorted positions, int64 [min(size, len(labels))]."""
    return np.sort(_stratified_order(labels, seed)[:size])


# ---------------------------------------------------------------------------------------------------
# Where the images are


@dataclass(frozen=True)
class _Entry:
    path: str
    label: str
    split: str | None = None


def _entries(source: str) -> tuple[Path, list[_Entry], list[Skipped]]:
    if source.startswith("sklearn:"):
        from advisor.embedded import write_digits

        if source != "sklearn:digits":
            raise InputError(f"unknown data set {source!r}; the embedded one is sklearn:digits")
        return _folder_entries(write_digits())
    if source.startswith("tfds:"):
        from advisor.embedded import write_tfds

        return _folder_entries(write_tfds(source.removeprefix("tfds:")))
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _folder_entries(path)
        if path.is_file():
            if path.suffix.lower() != ".csv":
                raise InputError(
                    f"{source} is a file; give a folder of class folders, or a .csv with path,label"
                )
            return _csv_entries(path)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}; check its permissions") from error
    raise InputError(f"{source} does not exist; give a folder with one folder of images per class")


def _folder_entries(folder: Path) -> tuple[Path, list[_Entry], list[Skipped]]:
    folder = folder.absolute()
    top = _class_folders(folder)
    splits = {
        entry: SPLIT_FOLDERS[entry.name.lower()] for entry in top if entry.name.lower() in SPLIT_FOLDERS
    }
    classes: list[tuple[Path, str | None]] = []
    if "train" in splits.values():
        others = [entry.name for entry in top if entry not in splits]
        if others:
            raise InputError(
                f"{folder} holds both train/ and {others[0]}/; keep only {_OWN_NAMES} beside each other"
            )
        classes += [(entry, split) for part, split in splits.items() for entry in _class_folders(part)]
    else:
        classes += [(entry, None) for entry in top]
    if not classes:
        raise InputError(f"{folder} has no class folders; make one folder of images for each class in it")
    entries: list[_Entry] = []
    skipped: list[Skipped] = []
    for class_folder, split in classes:
        for path in _files_below(class_folder, skipped, folder):
            entries.append(_Entry(path, legible(class_folder.name), split))
    return folder, entries, skipped


def _class_folders(folder: Path) -> list[Path]:
    try:
        found = [entry for entry in folder.iterdir() if not _is_clutter(entry.name) and entry.is_dir()]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from error
    return sorted(found)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_DATA


def _files_below(folder: Path, skipped: list[Skipped], root: Path) -> list[str]:
    """All files in a class folder and the folders in it; each real folder once, so loops end."""
    paths: list[str] = []
    seen: set[str] = set()

    def cannot_read(error: OSError) -> None:
        if error.filename == str(folder):
            raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions, or remove it")
        skipped.append(Skipped(_relative(str(error.filename), root), error.strerror or "cannot be read"))

    # Folders that hold this one hold other classes, too: a link back to them must not be followed.
    above = Path(os.path.realpath(folder.parent))
    around = {above, *above.parents, *Path(os.path.realpath(folder)).parents}
    for current, folders, files in os.walk(folder, followlinks=True, onerror=cannot_read):
        real = os.path.realpath(current)
        if Path(real) in around:
            skipped.append(Skipped(_relative(current, root), "a link to a folder that it lies in"))
        if real in seen or Path(real) in around:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_clutter(name))
        paths += [os.path.join(current, name) for name in sorted(files) if not _is_clutter(name)]
    if not paths:
        skipped.append(Skipped(_relative(str(folder), root), "no files in it"))
    return paths


def _csv_entries(path: Path) -> tuple[Path, list[_Entry], list[Skipped]]:
    root = path.absolute().parent
    entries: dict[_Entry, None] = {}
    skipped: list[Skipped] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            missing = {"path", "label"} - set(columns)
            if missing:
                raise InputError(
                    f"{path} has no column {sorted(missing)[0]!r}; its first line must be path,label "
                    "or path,label,split"
                )
            for line, row in enumerate(reader, start=2):
                name, label = (row["path"] or "").strip(), (row["label"] or "").strip()
                split = (row.get("split") or "").strip().lower()
                if not name or not label:
                    skipped.append(Skipped(f"{path.name} line {line}", "path or label is empty"))
                    continue
                if split and split not in SPLIT_FOLDERS:
                    raise InputError(f"{path} line {line}: unknown split {split!r}; use {_OWN_NAMES}")
                entry = _Entry(os.path.join(root, name), label, SPLIT_FOLDERS.get(split))
                if entry in entries:
                    skipped.append(Skipped(f"{path.name} line {line}", "the same row again"))
                entries[entry] = None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path} is not a readable CSV file ({error}); save it as plain CSV") from None
    if not entries:
        raise InputError(f"{path} lists no images; add lines of path,label")
    return root, list(entries), skipped


def _relative(path: str, root: Path) -> str:
    try:
        return legible(str(Path(path).relative_to(root)))
    except ValueError:
        return legible(path)


def legible(name: str) -> str:
    """A name with line breaks, control characters and bytes that are no UTF-8 written as escapes."""
    return _ILLEGIBLE.sub(lambda found: ascii(found[0])[1:-1], name)


# ---------------------------------------------------------------------------------------------------
# What is wrong with them


@dataclass(frozen=True)
class _File:
    reason: str = ""
    identity: str = ""
    shorter_side: int = 0


def _inspect(entries: Sequence[_Entry], progress: Callable[[int, int], None] | None) -> list[_File]:
    """Look at each file's header, in threads."""
    found = []
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for done, file in enumerate(pool.map(_inspect_one, [e.path for e in entries], chunksize=64), 1):
            found.append(file)
            if progress and (done % 500 == 0 or done == len(entries)):
                progress(done, len(entries))
    return found


def _inspect_one(path: str) -> _File:
    try:
        status = os.stat(path)
        width, height = images.measure(path)
    except images.UnreadableImage as error:
        return _File(reason=str(error))
    except OSError as error:
        return _File(reason=error.strerror or "cannot be read")
    except ValueError as error:  # a zero byte in the path
        return _File(reason=str(error))
    return _File("", f"{status.st_size}:{status.st_mtime_ns}", min(width, height))


def _check(data: Dataset) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        InputError: no images, one class, a class with fewer than two images, or none to train on.
    """
    first = f" (the first skipped: {data.skipped[0].path}: {data.skipped[0].reason})" if data.skipped else ""
    if not len(data):
        raise InputError(f"{data.source} holds no readable images{first}; put images into its class folders")
    if len(data.class_names) < 2:
        raise InputError(
            f"{data.source} has one class only ({data.class_names[0]!r}); add a folder for a second class"
        )
    counts = data.counts()
    if counts.min() < 2:
        name, count = data.class_names[counts.argmin()], counts.min()
        raise InputError(
            f"class {name!r} has {count} readable image{'' if count == 1 else 's'}{first}; "
            "add images until it has at least 2, or remove the class"
        )
    if data.given_splits:
        training = np.bincount(data.labels[data.indices("train")], minlength=len(counts))
        if training.min() < 1:
            name = data.class_names[training.argmin()]
            raise InputError(
                f"class {name!r} has no images in the training split; add some, or remove the class"
            )


def _check_splits(data: Dataset) -> None:
    for split in SPLITS:
        if not len(data.indices(split)):
            raise InputError(
                f"the {split} split of {data.source} has no readable images of its own; add some"
            )


def _suspicious_classes(data: Dataset) -> tuple[str, ...]:
    """Classes that may be one class, and classes that a test would say nothing about."""
    warnings: list[str] = []
    seen: dict[str, str] = {}
    for name in data.class_names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if plain in seen:
            warnings.append(f"classes {seen[plain]!r} and {name!r} look alike; merge them if they are one")
        seen.setdefault(plain, name)
    for split in sorted(data.given_splits - {"train"}):
        present = set(data.labels[data.indices(split)])
        absent = [name for i, name in enumerate(data.class_names) if i not in present]
        if absent:
            warnings.append(f"the {split} split has no images of {_listed(absent)}")
    return tuple(warnings)


def _stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of which every beginning is a stratified sample (systematic sampling in each class).

    Image k of n in its class, in random order, gets the rank (k + u) / n with one random u in [0, 1)
    for the class: a share s of all images takes s * n of each class, up to one.
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        ranks[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(ranks, kind="stable")


def _draw_missing_splits(data: Dataset, copies: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Take validation and test images from the training images; copies go where the first of them goes."""
    labels, splits = data.labels, data.splits.copy()
    first = np.arange(len(data))
    for group in copies:
        for label in np.unique(labels[group]):
            same = group[(labels[group] == label) & (splits[group] == SPLITS.index("train"))]
            first[same] = same[:1]
    training = data.indices("train")
    drawn = training[first[training] == training]
    drawn = drawn[np.bincount(labels[drawn])[labels[drawn]] > 1]  # the only one of its class stays
    order = drawn[_stratified_order(labels[drawn], seed)]
    # Half of the images at most, so that the ranks above leave one of each class to train on.
    size = max(1, min(round(HELD_OUT * len(data)), len(order) // 4))
    for split in ("test", "validation"):
        if split not in data.given_splits:
            splits[order[:size]] = SPLITS.index(split)
            order = order[size:]
    splits[training] = splits[first[training]]
    return splits


def _keep_copies_out_of_test(data: Dataset, copies: Sequence[np.ndarray]) -> Dataset:
    """Byte-for-byte copies: name those with two labels; keep those of training images out of the rest."""
    labels, splits = data.labels, data.splits.copy()
    conflicts, moved, dropped = [], [], []
    for group in copies:
        if len(set(labels[group])) > 1:
            conflicts.append(" = ".join(data.shown(data.paths[i]) for i in group))
        first = splits[group].min()
        for i in group[splits[group] != first]:
            if SPLITS[splits[i]] in data.given_splits:
                dropped.append(i)
            else:
                moved.append(i)
                splits[i] = first
    warnings = list(data.warnings)
    if conflicts:
        warnings.append(f"{_some('the same image', conflicts)} in two classes: {conflicts[0]}")
    if dropped:
        names = [data.shown(data.paths[i]) for i in dropped]
        warnings.append(f"{_some('image', names)} left out, for training has a copy: {_listed(names)}")
    if moved:
        names = [data.shown(data.paths[i]) for i in moved]
        warnings.append(f"{_some('copy', names)} kept in the same split as the original: {_listed(names)}")
    data = replace(data, splits=splits, warnings=tuple(warnings))
    kept = np.setdiff1d(np.arange(len(data)), np.array(dropped, dtype=np.int64))
    data = data.take(kept) if dropped else data
    _check_splits(data)
    return data


def _some(what: str, items: Sequence[str]) -> str:
    return f"{len(items)}x {what}" if len(items) > 1 else what


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _copies(data: Dataset) -> list[np.ndarray]:
    """Groups of positions whose files hold the same bytes; only files of equal size are read."""
    by_size = defaultdict(list)
    for i, identity in enumerate(data.identities):
        by_size[identity.partition(":")[0]].append(i)
    by_content = defaultdict(list)
    for size, members in by_size.items():
        for i in members if len(members) > 1 else ():
            try:
                by_content[size, content(data.paths[i])].append(i)
            except OSError:
                continue  # it vanished; decoding will say so
    return [np.array(group) for group in by_content.values() if len(group) > 1]

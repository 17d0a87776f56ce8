"""DATA to a `Dataset`: which images, which labels, which splits, and what is wrong with them."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from advisor.data import folder, images, table
from advisor.data.listing import Entry, Listing, Skipped, relative
from advisor.data.names import SPLITS, legible, listed, look, natural_order, told_apart
from advisor.errors import InputError

HELD_OUT = 0.1  # of all images, for each of validation and test where the user gave none
LONG = 1.5  # times the shorter side: from here on the centre crop drops more than a third of the pixels
INSIST = "classes:"  # before a folder: each folder in it is a class, whatever it looks like


@dataclass(frozen=True)
class Dataset:
    """Labelled images on disk.

    Attributes:
        source: what the user named.
        root: the folder that shown paths are relative to.
        paths: n absolute file names.
        labels: int64 [n], indices into `class_names`.
        class_names: in natural order: 2 before 10.
        splits: int64 [n], indices into `SPLITS`.
        identities: n strings that change when a file changes (size and time of modification).
        shorter_sides: int64 [n], pixels.
        longer_sides: int64 [n], pixels.
        given_splits: the splits that the user made; the others were drawn.
        skipped: files that are left out.
        warnings: what a person should know before they trust a result.
        source_warnings: those of them that hold however the splits are drawn.
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    identities: tuple[str, ...]
    shorter_sides: np.ndarray
    longer_sides: np.ndarray
    given_splits: frozenset[str]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    source_warnings: tuple[str, ...] = ()

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
        return relative(path, self.root)

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
            longer_sides=self.longer_sides[kept],
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
        source: a folder of class folders, a folder with train/ and others, `classes:FOLDER` where each
            folder in it is a class whatever it looks like, a CSV file with the columns path, label and
            optionally split, `sklearn:digits`, or `tfds:NAME`.
        seed: draws the splits that the user did not make: stratified, 80/10/10.
        progress: called with files looked at and files in all.

    Raises:
        InputError: nothing there, folders that look like anything but classes, fewer than two classes, or
            a class with fewer than two images.
    """
    listing = _list(source, to_train=True)
    # All labels, those of unreadable images, too: a class that has none left is refused by its name.
    data = _open(source, listing, {entry.label for entry in listing.entries}, progress)
    _check(data)
    told = (*listing.warnings, *_look_alikes(data.class_names), *_long_images(data))
    return split(replace(data, source_warnings=told), seed)


def _open(
    source: str, listing: Listing, labels: set[str] | None, progress: Callable[[int, int], None] | None
) -> Dataset:
    """Look at the files; those that are no images are skipped.

    Args:
        source: what the user named.
        listing: the files.
        labels: the names of the classes; None for those that have an image.
        progress: called with files looked at and files in all.
    """
    entries = listing.entries
    found = _inspect(entries, progress)
    root, readable = listing.root, [(e, f) for e, f in zip(entries, found, strict=True) if not f.reason]
    skipped = [
        Skipped(relative(e.path, root), f.reason) for e, f in zip(entries, found, strict=True) if f.reason
    ]
    if labels is None:
        labels = {entry.label for entry, _ in readable}
    class_names = tuple(sorted(labels, key=natural_order))
    number = {name: i for i, name in enumerate(class_names)}
    return Dataset(
        source=legible(source),
        root=root,
        paths=tuple(entry.path for entry, _ in readable),
        labels=np.array([number[entry.label] for entry, _ in readable], dtype=np.int64),
        class_names=class_names,
        splits=np.array([SPLITS.index(entry.split or "train") for entry, _ in readable], dtype=np.int64),
        identities=tuple(file.identity for _, file in readable),
        shorter_sides=np.array([min(file.size) for _, file in readable], dtype=np.int64),
        longer_sides=np.array([max(file.size) for _, file in readable], dtype=np.int64),
        given_splits=frozenset(entry.split for entry, _ in readable if entry.split),
        skipped=(*listing.skipped, *skipped),
        warnings=tuple(listing.warnings),
    )


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
    data = replace(data, splits=splits, warnings=data.source_warnings + _untested_classes(data))
    return _keep_copies_out_of_test(data, copies)


def unlabelled(paths: Sequence[str], source: str) -> Dataset:
    """Images without labels, as a `Dataset` with one nameless class.

    Raises:
        InputError: none of them can be read.
    """
    entries = [Entry(os.path.abspath(path), "") for path in paths]
    # Shown as they are: relative to no folder.
    data = _open(source, Listing(Path(), entries), {""}, None)
    if not len(data):
        raise InputError(f"{source} holds no readable images; give image files or folders of them")
    return replace(
        data,
        root=Path(os.path.commonpath([os.path.dirname(path) for path in data.paths])),
        splits=np.full(len(data), SPLITS.index("test")),
        given_splits=frozenset(("test",)),
    )


def load_test(source: str, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Labelled images to evaluate on: the test split if the user made one, else all; any number.

    Raises:
        InputError: nothing there that can be read.
    """
    listing = _list(source, to_train=False)
    own = [entry for entry in listing.entries if entry.split == "test"]
    data = _open(source, replace(listing, entries=own or listing.entries), None, progress)
    if not len(data):
        raise InputError(f"{legible(source)} holds no readable images; put images into its class folders")
    return replace(
        data,
        splits=np.full(len(data), SPLITS.index("test")),
        given_splits=frozenset(("test",) if own else ()),
    )


def content(path: str) -> str:
    """What a file is known by, under whatever name in whatever folder: SHA-256, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draw a stratified sample: sorted positions, int64 [min(size, len(labels))]."""
    return np.sort(_stratified_order(labels, seed)[:size])


# ---------------------------------------------------------------------------------------------------
# Where the images are


def _list(source: str, to_train: bool) -> Listing:
    """The files that DATA names, with labels that can be shown."""
    listing = _list_any(source, to_train)
    labels = {label: legible(label) for label in dict.fromkeys(entry.label for entry in listing.entries)}
    shown: dict[str, str] = {}
    for label, name in labels.items():
        if name in shown:
            raise InputError(
                f"two classes of {legible(source)} are shown as {name!r}, for one has invisible characters; "
                "rename it"
            )
        shown[name] = label
    if any(label != name for label, name in labels.items()):
        entries = [replace(entry, label=labels[entry.label]) for entry in listing.entries]
        return replace(listing, entries=entries)
    return listing


def _list_any(source: str, to_train: bool) -> Listing:
    if source.startswith("sklearn:"):
        from advisor.data.packaged import write_digits

        if source != "sklearn:digits":
            raise InputError(f"unknown data set {source!r}; the embedded one is sklearn:digits")
        return folder.read(write_digits())
    if source.startswith("tfds:"):
        from advisor.data.packaged import write_tfds

        return folder.read(write_tfds(source.removeprefix("tfds:")))
    insisted = source.startswith(INSIST)
    try:
        path = Path(source.removeprefix(INSIST)).expanduser()
        if path.is_dir():
            return folder.read(path, to_train, insisted)
        if path.is_file() and insisted:
            raise InputError(f"{legible(source)}: {INSIST} goes before a folder, and this is a file")
        if path.is_file():
            if path.suffix.lower() != ".csv":
                raise InputError(
                    f"{source} is a file; give a folder of class folders, or a .csv with path,label"
                )
            return table.read(path)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}; check its permissions") from error
    except RuntimeError as error:  # of expanduser: no such user
        raise InputError(f"{legible(source)} does not exist ({error}); give the folder's full path") from None
    raise InputError(f"{source} does not exist; give a folder with one folder of images per class")


# ---------------------------------------------------------------------------------------------------
# What is wrong with them


@dataclass(frozen=True)
class _File:
    """What a file's header says.

    Attributes:
        reason: why it cannot be read; empty where it can.
        identity: see `Dataset.identities`.
        size: width and height, pixels.
    """

    reason: str = ""
    identity: str = ""
    size: tuple[int, int] = (0, 0)


def _inspect(entries: Sequence[Entry], progress: Callable[[int, int], None] | None) -> list[_File]:
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
        size = images.measure(path)
    except images.UnreadableImage as error:
        return _File(reason=str(error))
    except OSError as error:
        return _File(reason=error.strerror or "cannot be read")
    except ValueError as error:  # a zero byte in the path
        return _File(reason=str(error))
    return _File("", f"{status.st_size}:{status.st_mtime_ns}", size)


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
            f"add images until it has at least 2, or remove the class{_or_its_twin(data, name)}"
        )
    if data.given_splits:
        training = np.bincount(data.labels[data.indices("train")], minlength=len(counts))
        if training.min() < 1:
            absent = [data.class_names[i] for i in np.flatnonzero(training == 0)]
            twins = _twins(data.class_names)
            name = next((name for name in absent if name in twins), absent[0])
            raise InputError(
                f"class {name!r} has no images in the training split; add some, or remove the class"
                f"{_or_its_twin(data, name)}"
            )


def _check_splits(data: Dataset, but: str = "") -> None:
    for split in SPLITS:
        if not len(data.indices(split)):
            raise InputError(
                f"the {split} split of {data.source} has no readable images of its own; add some{but}"
            )


def _twins(class_names: Sequence[str]) -> dict[str, str]:
    """For each class that looks like others, one of those."""
    alike = defaultdict(list)
    for name in class_names:
        alike[look(name)].append(name)
    return {name: names[i - 1] for names in alike.values() if len(names) > 1 for i, name in enumerate(names)}


def _look_alikes(class_names: Sequence[str]) -> list[str]:
    """Classes that may be one class."""
    seen: set[str] = set()
    warnings = []
    for name, twin in _twins(class_names).items():
        if twin in seen:
            one, other = told_apart(twin, name)
            warnings.append(f"classes {one} and {other} look alike; merge them if they are one")
        seen.add(name)
    return warnings


def _or_its_twin(data: Dataset, name: str) -> str:
    """The other class that may be meant, for the end of a message; empty where there is none."""
    twin = _twins(data.class_names).get(name)
    if not twin:
        return ""
    one, other = told_apart(name, twin)
    return f"; {one} looks like {other}: if they are one class, call both the same"


def _long_images(data: Dataset) -> list[str]:
    """Networks see the square in the middle: tell where most images lose more than a third."""
    # One pixel is allowed for rounding: 500 x 333 has the form of 3:2.
    long = np.flatnonzero(data.longer_sides > LONG * (data.shorter_sides + 1))
    if 2 * len(long) <= len(data):
        return []
    first = long[0]
    return [
        f"{len(long):,} of {len(data):,} images are long, as {data.shown(data.paths[first])} "
        f"({data.longer_sides[first]} x {data.shorter_sides[first]}): the network sees the square in their "
        "middle, less than two thirds; if what matters may lie at the ends, cut or pad them to squares"
    ]


def _untested_classes(data: Dataset) -> tuple[str, ...]:
    """Classes that a test would say nothing about."""
    warnings: list[str] = []
    for split in sorted(data.given_splits - {"train"}):
        present = set(data.labels[data.indices(split)])
        absent = [name for i, name in enumerate(data.class_names) if i not in present]
        if absent:
            warnings.append(f"the {split} split has no images of {listed(absent)}")
    return tuple(warnings)


def _stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of which every beginning is a stratified sample (systematic sampling in each class).

    Image k of n in its class, in random order, gets the rank (k + u) / n with one random u in [0, 1)
    for the class: a share s of all images takes s * n of each class, up to one.
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(labels))
    by_class = np.argsort(labels, kind="stable")
    for of_class in np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1):
        members = generator.permutation(of_class)
        ranks[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(ranks, kind="stable")


def _draw_missing_splits(data: Dataset, copies: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Take validation and test images from the training images.

    Copies go where the first of them goes. What is in two classes, or has a copy in the validation split
    that the user made, stays in training, for it can test nothing; so does one image of each class, at least.
    """
    labels, splits = data.labels, data.splits.copy()
    training = data.indices("train")
    first = np.arange(len(data))
    stays = np.zeros(len(data), dtype=bool)
    for group in copies:
        pool = group[splits[group] == SPLITS.index("train")]
        if len(set(labels[group])) > 1 or SPLITS.index("validation") in splits[group]:
            stays[pool] = True
        else:
            first[pool] = pool[:1]
    drawn = training[first[training] == training]
    order = drawn[_stratified_order(labels[drawn], seed)]
    order = order[~stays[order]]
    # A quarter each at most, so that the ranks above leave half of each class, or nearly, to train on.
    size = max(1, min(round(HELD_OUT * len(data)), len(order) // 4))
    classes, from_the_end = np.unique(labels[order][::-1], return_index=True)
    last = len(order) - 1 - from_the_end
    order = np.delete(order, last[~np.isin(classes, labels[training[stays[training]]])])
    for split in ("test", "validation"):
        if split not in data.given_splits:
            splits[order[:size]] = SPLITS.index(split)
            order = order[size:]
    splits[training] = splits[first[training]]
    return splits


def _keep_copies_out_of_test(data: Dataset, copies: Sequence[np.ndarray]) -> Dataset:
    """Byte-for-byte copies: name those with two labels; leave out of the user's splits what training has."""
    labels, splits = data.labels, data.splits
    conflicts, dropped = [], []
    for group in copies:
        if len(set(labels[group])) > 1:
            conflicts.append(" = ".join(data.shown(data.paths[i]) for i in group))
        dropped += list(group[splits[group] > splits[group].min()])
    warnings = list(data.warnings)
    if conflicts:
        warnings.append(f"{_some('the same image', conflicts)} in two classes: {conflicts[0]}")
    if dropped:
        names = [data.shown(data.paths[i]) for i in dropped]
        warnings.append(f"{_some('image', names)} left out, for training has a copy: {listed(names)}")
    data = replace(data, warnings=tuple(warnings))
    kept = np.setdiff1d(np.arange(len(data)), np.array(dropped, dtype=np.int64))
    data = data.take(kept) if dropped else data
    _check_splits(
        data, "; copies of training images and images in two classes do not count" if copies else ""
    )
    return data


def _some(what: str, items: Sequence[str]) -> str:
    return f"{len(items)}x {what}" if len(items) > 1 else what


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

"""DATA to a `Dataset`: which images, which labels, which splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from advisor.data import containers, file_headers, folder, grey_range, table, table_file
from advisor.data.checks import check, look_alikes
from advisor.data.dataset import Dataset
from advisor.data.groups import of_entries
from advisor.data.layout import data_in
from advisor.data.listing import Entry, Listing, Skipped, relative
from advisor.data.names import SPLITS, natural_order
from advisor.data.reading import AS_FOUND, Reading
from advisor.data.splits import split
from advisor.errors import InputError
from advisor.system.progress import Display, Silent
from advisor.system.text import legible

ENOUGH = 20_000  # files that advice looks at, which measures fewer; a run needs them all
MOST_DEEP = 2  # containers in each other: an archive of archives may be one without an end
INSIST = "classes:"  # before a folder: each folder in it is a class, whatever it looks like


def load(
    source: str,
    seed: int = 0,
    display: Display | None = None,
    reading: Reading = AS_FOUND,
    enough: int | None = None,
) -> Dataset:
    """Find the images and labels that a user means by DATA.

    Args:
        source: a folder of class folders, a folder with train/ and others, `classes:FOLDER` where each
            folder in it is a class whatever it looks like, a table of paths and labels, a container of one
            of these (see `advisor.data.containers`), a folder around one, `sklearn:digits`, or `tfds:NAME`.
        seed: draws the splits that the user did not make: stratified, 80/10/10.
        display: where progress is shown; nowhere if left out.
        reading: what the user says of tables and groups.
        enough: of more files than these only so many are looked at, drawn at random; the others are believed
            to be images. All are looked at if left out.

    Raises:
        InputError: nothing there, folders that look like anything but classes, fewer than two classes, or
            a class with fewer than two images.
    """
    display = display or Silent()
    listing = _list(source, True, reading, display)
    # All labels, those of unreadable images, too: a class that has none left is refused by its name.
    labels = {entry.label for entry in listing.entries}
    data = _open(source, listing, labels, reading, display, enough)
    check(data)
    told = (*listing.warnings, *look_alikes(data.class_names))
    return grey_range.with_range(split(replace(data, source_warnings=told), seed), display)


def unlabelled(paths: Sequence[str], source: str) -> Dataset:
    """Images without labels, as a `Dataset` with one nameless class.

    Raises:
        InputError: none of them can be read.
    """
    entries = [Entry(os.path.abspath(path), "") for path in paths]
    # Shown as they are: relative to no folder.
    data = _open(source, Listing(Path(), entries), {""}, AS_FOUND, Silent())
    if not len(data):
        raise InputError(f"{source} holds no readable images; give image files or folders of them")
    return replace(
        data,
        root=Path(os.path.commonpath([os.path.dirname(path) for path in data.paths])),
        splits=np.full(len(data), SPLITS.index("test")),
        given_splits=frozenset(("test",)),
    )


def load_test(source: str, display: Display | None = None, reading: Reading = AS_FOUND) -> Dataset:
    """Labelled images to evaluate on: the test split if the user made one, else all; any number.

    Args:
        source: see `load`.
        display: where progress is shown; nowhere if left out.
        reading: what the user says of tables.

    Raises:
        InputError: nothing there that can be read.
    """
    display = display or Silent()
    listing = _list(source, False, reading, display)
    own = [entry for entry in listing.entries if entry.split == "test"]
    data = _open(source, replace(listing, entries=own or listing.entries), None, reading, display)
    if not len(data):
        raise InputError(f"{legible(source)} holds no readable images; put images into its class folders")
    return replace(
        data,
        splits=np.full(len(data), SPLITS.index("test")),
        given_splits=frozenset(("test",) if own else ()),
    )


def _open(
    source: str,
    listing: Listing,
    labels: set[str] | None,
    reading: Reading,
    display: Display,
    enough: int | None = None,
) -> Dataset:
    """Look at the files; those that are no images are skipped.

    Args:
        source: what the user named.
        listing: the files.
        labels: the names of the classes; None for those that have an image.
        reading: what the user says of it.
        display: where progress is shown.
        enough: see `load`.
    """
    entries = listing.entries
    found, told = file_headers.look(entries, enough, display.steps("Looking at files"))
    listing.warnings.extend(told)
    root, readable = listing.root, [(e, f) for e, f in zip(entries, found, strict=True) if not f.reason]
    skipped = [
        Skipped(relative(e.path, root), f.reason) for e, f in zip(entries, found, strict=True) if f.reason
    ]
    several = [relative(e.path, root) for e, f in zip(entries, found, strict=True) if f.has_more]
    if several:
        listing.warnings.append(
            f"{len(several):,} files have several pages or frames, as {several[0]}; the first of each is used"
        )
    if labels is None:
        labels = {entry.label for entry, _ in readable}
    class_names = tuple(sorted(labels, key=natural_order))
    groups = of_entries(listing, [entry for entry, _ in readable], reading)
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
        deep=np.array([file.is_deep for _, file in readable], dtype=bool),
        given_splits=frozenset(entry.split for entry, _ in readable if entry.split),
        skipped=(*listing.skipped, *skipped),
        warnings=tuple(listing.warnings),
        reading=reading,
        groups=groups,
    )


def _list(source: str, to_train: bool, reading: Reading, display: Display) -> Listing:
    """The files that DATA names, with labels that can be shown."""
    reading.check()
    listing = _list_any(source, to_train, reading, display)
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


def _list_any(source: str, to_train: bool, reading: Reading, display: Display) -> Listing:
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
        reading = _with_unpacked_images(reading, display)
        path = Path(source.removeprefix(INSIST)).expanduser()
        return _Found(to_train, insisted, reading, display).list(path)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}; check its permissions") from error
    except RuntimeError as error:  # of expanduser: no such user
        raise InputError(f"{legible(source)} does not exist ({error}); give the folder's full path") from None


def _with_unpacked_images(reading: Reading, display: Display) -> Reading:
    """The same where the images of a table lie in a container."""
    if reading.images is None:
        return reading
    path = Path(reading.images).expanduser()
    if not path.exists() or not containers.is_container(path):
        return reading
    return replace(reading, images=str(containers.unpacked(path, display.steps("Unpacking (MB)"))))


@dataclass(frozen=True)
class _Found:
    """What is made of what the user named.

    Attributes:
        to_train: whether there must be something to train on.
        insisted: whether each folder is a class, whatever it looks like.
        reading: what the user says of tables.
        display: where progress is shown.
        depth: how many containers it lies in.
    """

    to_train: bool
    insisted: bool
    reading: Reading
    display: Display
    depth: int = 0

    def list(self, path: Path) -> Listing:
        """The files that a folder, a table or a container is about, or what lies in a container."""
        if path.exists() and containers.is_container(path):
            return self._unpacked(path, Path())
        if path.is_dir():
            return self._of_folder(path)
        if path.is_file():
            return self._of_file(path)
        for above in path.parents:
            if above.is_file() and containers.is_container(above):
                return self._unpacked(above, path.relative_to(above))
        raise InputError(f"{path} does not exist; give a folder with one folder of images per class")

    def _of_folder(self, path: Path) -> Listing:
        if self.insisted:
            return folder.read(path, self.to_train, all_are_classes=True)
        inner = data_in(path, self.reading)
        if inner == path:
            return folder.read(path, self.to_train)
        listing = self.list(inner)
        if inner.is_dir():
            listing.warnings.append(f"the classes are those in {relative(str(inner), path)}/")
        return listing

    def _of_file(self, path: Path) -> Listing:
        if self.insisted:
            raise InputError(f"{legible(str(path))}: {INSIST} goes before a folder, and this is a file")
        if table_file.is_table(path):
            return table.read(path, self.reading)
        kinds = ", ".join(dict.fromkeys((*containers.ENDINGS, *table_file.ENDINGS)))
        raise InputError(f"{path} is a file; give a folder of class folders, or a file of these: {kinds}")

    def _unpacked(self, path: Path, inside: Path) -> Listing:
        """What lies in a container; in messages it is what the user named, not where it was unpacked."""
        if self.depth == MOST_DEEP:
            raise InputError(
                f"{legible(str(path))} is an archive in an archive in another; unpack it by hand"
            )
        where = containers.unpacked(path, self.display.steps("Unpacking (MB)"))
        try:
            return replace(self, depth=self.depth + 1).list(where / inside)
        except InputError as error:
            raise InputError(str(error).replace(str(where), legible(str(path)))) from None

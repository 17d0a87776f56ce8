"""A folder to its labelled files: which of its folders are splits, which are classes, what is not used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from advisor.data import table_file
from advisor.data.image_files import is_picture
from advisor.data.listing import Entry, Listing, Skipped, relative
from advisor.data.names import OWN_NAMES, listed, look, split_of_folder
from advisor.errors import InputError
from advisor.system.text import legible

_NOT_DATA = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_FOLD = re.compile(r"(?:k?fold|split)[\W_]*\d+")
# What lies beside images where something else than their class was to be learned.
_IMAGE_FOLDERS = {"images", "image", "imgs", "img", "jpegimages"}
_MARK_FOLDERS = {
    *("annotation", "annotations", "boxes", "gt", "ground_truth", "groundtruth", "label", "labels"),
    *("mask", "masks", "segmentation", "segmentations", "segmentationclass", "xml", "xmls"),
}


@dataclass(frozen=True)
class Folder:
    """The folders and files in a folder, without clutter, sorted."""

    path: Path
    folders: tuple[Path, ...]
    files: tuple[str, ...]

    @property
    def pictures(self) -> list[str]:
        return [name for name in self.files if is_picture(name)]

    @property
    def tables(self) -> list[Path]:
        return [self.path / name for name in self.files if name.lower().endswith(table_file.ENDINGS)]

    @property
    def table(self) -> Path | None:
        """The first table."""
        return next(iter(self.tables), None)


def read(folder: Path, to_train: bool = True, all_are_classes: bool = False) -> Listing:
    """List the files of a folder of class folders, or of a folder with train/ and others with those in them.

    Args:
        folder: exists.
        to_train: whether there must be something to train on; else a test split alone will do.
        all_are_classes: the user says that each folder in it is a class, whatever it looks like.

    Raises:
        InputError: no class folders, folders that look like anything but classes, or one that cannot be
            read.
    """
    top = look_into(folder.absolute())
    splits = {path: split for path in top.folders if (split := split_of_folder(path.name))}
    in_splits = "train" in splits.values() or (not to_train and len(splits) == len(top.folders) > 0)
    listing = Listing(top.path)
    if in_splits and not all_are_classes:
        classes = _classes_of_splits(top, splits, listing)
    else:
        if not top.folders:
            raise InputError(
                f"{_shown(top.path)} has no class folders; make one folder of images for each class in it"
                f"{_or_its_table(top)}"
            )
        if not all_are_classes:
            _refuse_what_is_no_class(top, splits, to_train)
        classes = [(path, None) for path in top.folders]
        _tell_loose_files(top, listing)
    for class_folder, split in classes:
        for path in _files_below(class_folder, listing.skipped, top.path):
            listing.entries.append(Entry(path, class_folder.name, split))
    return listing


def _classes_of_splits(
    top: Folder, splits: dict[Path, str], listing: Listing
) -> list[tuple[Path, str | None]]:
    """The class folders in train/ and the others, each with its split."""
    others = [path for path in top.folders if path not in splits]
    for other in others:
        if _holds_pictures(other):
            train = next(path for path, split in splits.items() if split == "train")
            raise InputError(
                f"{_shown(top.path)} holds both {_shown(train.name)}/ and {_shown(other.name)}/; if "
                f"{_shown(other.name)}/ is a split, call it val or test, if not, move it elsewhere, "
                f"or give classes:{_shown(top.path)} if each is a class"
            )
    part_of: dict[str, Path] = {}
    classes: list[tuple[Path, str | None]] = []
    for path, split in splits.items():
        if split in part_of:
            raise InputError(
                f"{_shown(top.path)} holds both {_shown(part_of[split].name)}/ and {_shown(path.name)}/, "
                f"which look like one split; keep only {OWN_NAMES} beside each other, "
                f"or give classes:{_shown(top.path)} if each is a class"
            )
        part_of[split] = path
        part = look_into(path)
        # seg_train/seg_train/: an archive in a folder of its own name
        while len(part.folders) == 1 and split_of_folder(part.folders[0].name) == split:
            _tell_loose_files(part, listing)
            part = look_into(part.folders[0])
        if part.folders:
            if split == "train":
                _refuse_a_folder_around_the_classes(part)
            _tell_loose_files(part, listing)
        elif split != "train":
            name, count = relative(str(path), top.path), len(part.pictures)
            held = f"{count:,} images without class folders" if count else "no class folders"
            listing.warnings.append(
                f"{name}/ holds {held} and is not used; make class folders in it to have it as the "
                f"{split} split"
            )
        classes += [(entry, split) for entry in part.folders]
    if "train" in part_of and not any(split == "train" for _, split in classes):
        raise InputError(
            f"{_shown(part_of['train'])} has no class folders; make one folder of images for each class in it"
            f"{_or_its_table(top)}, or give classes:{_shown(top.path)} if train is a class"
        )
    if not classes:
        raise InputError(
            f"{_shown(top.path)} has no class folders; make one folder of images for each class in it"
        )
    _refuse_images_and_marks(top, [path.name for path, _ in classes])
    _tell_loose_files(top, listing, others)
    return classes


def _tell_loose_files(inside: Folder, listing: Listing, others: list[Path] | None = None) -> None:
    """Warn of files, and of other folders, that lie beside those that are used."""

    def shown(name: str) -> str:
        return relative(str(inside.path / name), listing.root)

    pictures = inside.pictures
    if pictures:
        listing.warnings.append(
            f"{len(pictures):,} image{'s' if len(pictures) > 1 else ''} beside the class folders not used, "
            f"as {shown(pictures[0])}; put them into a class folder"
        )
    rest = [shown(path.name) + "/" for path in others or ()]
    rest += [shown(name) for name in inside.files if not is_picture(name)]
    if rest:
        hint = f"; to take labels from a table, give {_shown(inside.table)}" if inside.table else ""
        listing.warnings.append(f"not used: {listed(rest)}{hint}")


def _or_its_table(inside: Folder) -> str:
    """Another way out, where a folder holds a table."""
    return f", or give {_shown(inside.table)}" if inside.table else ""


# ---------------------------------------------------------------------------------------------------
# Folders that look like anything but classes


def _refuse_what_is_no_class(top: Folder, splits: dict[Path, str], to_train: bool) -> None:
    """Say what folders look like that would make a model of something else than classes.

    Raises:
        InputError: splits, folds, images and their masks, or a folder around the data.
    """
    names = [path.name for path in top.folders]
    folder = _shown(top.path)
    if "invalid" in {name.casefold() for name in names}:
        splits = {path: split for path, split in splits.items() if path.name.casefold() != "valid"}
    if splits:
        held = _in_words([path.name for path in splits])
        others = [path for path in top.folders if path not in splits]
        if others:
            _refuse_same_folders_in_each(top)
            raise InputError(
                f"{folder} holds {held} beside {_shown(others[0].name)}/, which looks like a split beside "
                f"classes; move the classes into train/, or give classes:{folder} if each is a class"
            )
        ways = [f"give {_shown(path)} to split it anew" for path in splits if len(splits) == 1]
        ways += ["name the folder of training images train/", f"give classes:{folder} if each is a class"]
        raise InputError(
            f"{folder} holds {held} but no train/: this looks like splits, not classes; {', or '.join(ways)}"
        )
    if len(names) > 1 and all(_FOLD.fullmatch(name.casefold()) for name in names):
        raise InputError(_parts(folder, names, "folds of one data set"))
    _refuse_images_and_marks(top, names, f"; if each is a class, give classes:{folder}")
    if len(top.folders) > 1:
        _refuse_same_folders_in_each(top)
    elif top.table and to_train:
        raise InputError(
            f"{folder} holds one folder only, so one class; if the labels stand in "
            f"{_shown(top.table.name)}, give {_shown(top.table)}"
        )


def _refuse_same_folders_in_each(top: Folder) -> None:
    """The kind that folds, halves, cameras and years are of: the classes lie in each of them again."""
    filled = []
    for path in top.folders:
        inner = look_into(path)
        if inner.pictures:
            return
        if inner.folders or inner.files:
            filled.append(inner)
    if len(filled) < 2 or not all(inner.folders for inner in filled):
        return
    looks = Counter(name for inner in filled for name in {look(path.name) for path in inner.folders})
    shared = [name for name, count in looks.items() if count > len(filled) / 2]
    if len(shared) < 2 or 2 * len(shared) < len(looks):
        return
    folder, first = _shown(top.path), filled[0]
    same = _in_words([path.name for path in first.folders if look(path.name) in shared])
    if are_images_and_marks(path.name for inner in filled for path in inner.folders):
        raise InputError(
            f"the folders in {folder} hold {same} each, which look like images and their annotations; keep "
            f"the images alone in them, or give classes:{folder} to use all that lies there"
        )
    if all(split_of_folder(path.name) for inner in filled for path in inner.folders):
        raise InputError(
            f"the folders in {folder} hold {same} each, which look like splits within classes; put the "
            f"splits outside, as train/{_shown(first.path.name)}/, or give classes:{folder} to have new ones "
            "drawn"
        )
    what = f"parts of one data set, not classes: they hold folders of the same names, as {same}"
    raise InputError(_parts(folder, [path.name for path in top.folders], what))


def _parts(folder: str, names: list[str], what: str) -> str:
    return (
        f"{_in_words(names)} in {folder} look like {what}; name them train, val and test, or give one of "
        f"them; if each is a class, give classes:{folder}"
    )


def _in_words(names: list[str]) -> str:
    """The first two folders."""
    more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
    return (", " if more else " and ").join(f"{_shown(name)}/" for name in names[:2]) + more


def _refuse_images_and_marks(top: Folder, names: list[str], insist: str = "") -> None:
    """A folder of images and one of what was drawn on them, as for segmentation or detection."""
    if are_images_and_marks(names):
        held = _in_words(sorted(set(names)))
        raise InputError(
            f"{held} in {_shown(top.path)} look like images and their annotations, not classes; make a "
            f"folder of images for each class, or a CSV file with path,label{_or_its_table(top)}{insist}"
        )


def are_images_and_marks(names: Iterable[str]) -> bool:
    found = {re.sub(r"[\W_]+", "_", name.casefold()).strip("_") for name in names}
    return bool(found & _IMAGE_FOLDERS and found & _MARK_FOLDERS and found <= _IMAGE_FOLDERS | _MARK_FOLDERS)


def _refuse_a_folder_around_the_classes(train: Folder) -> None:
    """train/data/cat: the classes lie one folder deeper in the split."""
    if len(train.folders) > 1:
        return
    inner = look_into(train.folders[0])
    if len(inner.folders) > 1 and not inner.pictures:
        held = listed([f"{_shown(path.name)}/" for path in inner.folders], 2)
        raise InputError(
            f"{_shown(train.path)} holds one folder only, so one class; the classes seem to lie deeper "
            f"({held}): move them from {_shown(inner.path)} into {_shown(train.path)}, in each split"
        )


# ---------------------------------------------------------------------------------------------------
# Files and folders


def look_into(folder: Path) -> Folder:
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_clutter(entry.name):
                    if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                        folders.append(folder / entry.name)
                    else:
                        files.append(entry.name)
    except OSError as error:
        raise InputError(f"cannot read {_shown(folder)}: {error.strerror}; check its permissions") from error
    return Folder(folder, tuple(sorted(folders)), tuple(sorted(files)))


def _holds_pictures(folder: Path) -> bool:
    return any(is_picture(name) for _, _, files in os.walk(folder) for name in files)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_DATA


def _shown(path: Path | str) -> str:
    return legible(str(path))


def _files_below(folder: Path, skipped: list[Skipped], root: Path) -> list[str]:
    """All files in a class folder and the folders in it; each real folder once, so loops end."""
    paths: list[str] = []
    seen: set[str] = set()

    def cannot_read(error: OSError) -> None:
        if error.filename == str(folder):
            raise InputError(
                f"cannot read {_shown(folder)}: {error.strerror}; check its permissions, or remove it"
            )
        skipped.append(Skipped(relative(str(error.filename), root), error.strerror or "cannot be read"))

    # Folders that hold this one hold other classes, too: a link back to them must not be followed.
    above = Path(os.path.realpath(folder.parent))
    around = {above, *above.parents, *Path(os.path.realpath(folder)).parents}
    for current, folders, files in os.walk(folder, followlinks=True, onerror=cannot_read):
        real = os.path.realpath(current)
        if Path(real) in around:
            skipped.append(Skipped(relative(current, root), "a link to a folder that it lies in"))
        if real in seen or Path(real) in around:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_clutter(name))
        paths += [os.path.join(current, name) for name in sorted(files) if not _is_clutter(name)]
    if not paths:
        skipped.append(Skipped(relative(str(folder), root), "no files in it"))
    return paths

"""A table to its labelled files: which rows say something clear, and what."""

from __future__ import annotations

import os
from pathlib import Path

from advisor.data.columns import Columns
from advisor.data.image_files import ImageFiles
from advisor.data.listing import Entry, Listing, Skipped
from advisor.data.reading import AS_FOUND, Reading
from advisor.data.table_file import TableFile
from advisor.errors import InputError
from advisor.system.text import legible


def read(path: Path, reading: Reading = AS_FOUND) -> Listing:
    """List the files that a table names: UTF-8, with commas, semicolons or tabs, or JSON lines.

    Rows with more or fewer fields than the first line are left out and named, not guessed at: a comma that
    should stand in quotes would make one class of two.

    Args:
        path: the table.
        reading: which columns say what, where the user says so.

    Raises:
        InputError: it cannot be read, or it is not clear which columns name the images and their classes, or
            what it says of splits.
    """
    files = ImageFiles(_folder_of_images(path, reading))
    listing = Listing(files.root)
    shown = legible(str(path))
    file = TableFile.open(path)
    columns = Columns.of(file, files, reading, listing.warnings)
    entries: dict[Entry, None] = {}
    for line, fields in file.rows():
        name, (label, problem) = columns.path_of(fields), columns.label_of(fields)
        reason = file.misfit(fields) if name and label else problem or "path or label is empty"
        if not reason:
            found = files.find(name)
            if len(found) > 1:
                raise InputError(
                    f"{shown} line {line}: {legible(name)!r} may be {_inside(found[0], files)} or "
                    f"{_inside(found[1], files)}; name the folder of the images with --images"
                )
            at = found[0] if found else os.path.join(files.root, name)
            split, group = columns.split_of(fields, shown, line), columns.group_of(fields)
            entry = Entry(at, label, split, group)
            reason = "the same row again" if entry in entries else ""
            entries[entry] = None
        if reason:
            listing.skipped.append(Skipped(f"{legible(path.name)} line {line}", reason))
    if not entries:
        first = "".join(f" (the first skipped: {it.path}: {it.reason})" for it in listing.skipped[:1])
        raise InputError(f"{shown} lists no images{first}; add lines of path,label")
    listing.entries.extend(entries)
    return listing


def names_images(path: Path, reading: Reading) -> bool:
    """Whether a column of a table names images that are there."""
    files = ImageFiles(_folder_of_images(path, reading))
    try:
        return Columns.names_images(TableFile.open(path), files)
    except InputError:
        return False


def _folder_of_images(path: Path, reading: Reading) -> Path:
    """What paths are relative to: the folder of the table, or what the user says, as seen from here or there.

    Raises:
        InputError: the user says what is not there.
    """
    beside = path.absolute().parent
    if reading.images is None:
        return beside
    ways = [Path(reading.images).expanduser().absolute(), beside / reading.images]
    found = next((way for way in ways if way.is_dir()), None)
    if found is None:
        raise InputError(f"--images {reading.images} is no folder; give the folder that the images lie in")
    return found


def _inside(path: str, files: ImageFiles) -> str:
    return legible(os.path.relpath(path, files.root))

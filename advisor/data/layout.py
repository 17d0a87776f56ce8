"""Where in a folder the data are: in itself, a folder around them, a table beside images, or an archive."""

from __future__ import annotations

from pathlib import Path

from advisor.data import containers, table
from advisor.data.folder import Folder, are_images_and_marks, look_into
from advisor.data.names import listed, split_of_folder
from advisor.data.reading import Reading
from advisor.errors import InputError
from advisor.system.text import legible


def data_in(folder: Path, reading: Reading) -> Path:
    """The folder of class folders or of splits, the table or the container that a folder is about.

    Args:
        folder: exists.
        reading: what the user says; who names columns means a table.

    Raises:
        InputError: several may be meant.
    """
    top = look_into(folder)
    if containers.is_container(folder):
        return folder
    packed = [name for name in top.files if name.lower().endswith(containers.ENDINGS)]
    if packed and not top.folders and not top.pictures and not top.tables:
        return folder / _only(top, packed, "archives")
    if reading.names_columns and top.tables:
        return folder / _only(top, [path.name for path in top.tables], "tables")
    if _has_class_folders(top):
        return folder
    naming = [path.name for path in top.tables if table.names_images(path, reading)]
    if naming:
        return folder / _only(top, naming, "tables that name images")
    if len(top.folders) != 1 or top.pictures or split_of_folder(top.folders[0].name):
        return folder
    if look_into(top.folders[0]).pictures:
        return folder
    deeper = data_in(top.folders[0], reading)
    return deeper if _is_data(deeper) else folder


def _only(top: Folder, names: list[str], what: str) -> str:
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"{legible(str(top.path))} holds {len(names):,} {what}, {listed([legible(name) for name in names])}; "
        f"give one of them, as {legible(str(top.path / names[0]))}"
    )


def _has_class_folders(top: Folder) -> bool:
    """Whether class folders lie in a folder, or in its splits."""
    splits = [path for path in top.folders if split_of_folder(path.name)]
    if any(split_of_folder(path.name) == "train" for path in splits):
        return any(look_into(path).folders for path in splits)
    return len(top.folders) > 1 and not are_images_and_marks(path.name for path in top.folders)


def _is_data(found: Path) -> bool:
    """Whether what was found deeper is more than one folder of images."""
    if found.is_file() or containers.is_container(found):
        return True
    folders = look_into(found).folders
    return len(folders) > 1 or any(split_of_folder(path.name) for path in folders)

"""Files of Keras weights, from strangers too: looked at before they are read.

HDF5 can point into other files (CVE-2026-1669) and, like a zip archive, can be small and become huge
(CVE-2026-0897). So links, external storage and virtual data sets are refused, and what is stored may grow by
`MOST_GROWTH` when it is read.

Only numbers are read into a network of which we know the architecture: the description of a model that some
of these files also hold, and with it anything that could run, is not looked at here; see `keras_file`.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import h5py
    import keras

# Keras stores weights as they are. Compressed by others they shrink by a tenth, an optimizer's zeros by more.
MOST_GROWTH = 20  # bytes in memory for each byte in the file
ALWAYS_ALLOWED = 16_000_000  # bytes, however small the file is
MOST_OBJECTS = 100_000  # groups and data sets in one HDF5 file; a layer has one to five
MOST_DESCRIPTION = 8_000_000  # bytes of config.json; the largest of keras.applications has about 1 MB
MOST_TEXT = 2**31  # bytes; 1,000 names of layers in a file with 1 MB of text could take half of it
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}


def refused(path: Path, what: str) -> InputError:
    """The error that says what is wrong with a file that may be meant to do harm."""
    return InputError(f"refused {path}: {what}; use another file")


def read_weights(model: keras.Model, path: Path) -> None:
    """Fill `model` from a .weights.h5, a legacy .h5 or .hdf5, or the weights of a .keras file.

    Raises:
        InputError: The file is missing, damaged, of another kind, or of another architecture.
    """
    check_weights_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of what it raises for in the end
            model.load_weights(path)
    except Exception as error:  # Keras and HDF5 raise many kinds for names, counts and shapes
        reason = one_line(error)
        raise InputError(
            f"{path} does not hold the weights of {model.name} ({reason}); use another file"
        ) from error


def check_weights_file(path: Path) -> None:
    """Refuse what is no file of Keras weights, or not the kind that its name says.

    Raises:
        InputError: The message says in one line what the file is instead, or what is wrong inside.
    """
    wanted = _suffix_for(path)
    named = next((end for end in (".weights.h5", ".h5", ".hdf5", ".keras") if path.name.endswith(end)), "")
    if named.replace(".hdf5", ".h5") != wanted:
        raise InputError(f"{path} is in the format that Keras calls {wanted}; rename it to end in {wanted}")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Look at a .keras file: its members, how they are stored, and the weights inside.

    Raises:
        InputError: The file is not as Keras writes it.
    """
    import h5py

    members = archive.infolist()
    names = [member.filename for member in members]
    for name in names:
        if name not in _MEMBERS or names.count(name) > 1:
            raise refused(path, f"it holds {name!r}, which is no part of a network for images")
    for name in ("config.json", "model.weights.h5"):
        if name not in names:
            raise InputError(f"{path} is damaged or not a Keras model: {name} is missing; save it again")
    size = path.stat().st_size
    for member in members:
        if member.flag_bits & 1:
            raise InputError(f"refused {path}: {member.filename} is encrypted; save it without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refused(path, f"{member.filename} is compressed in an unusual way")
        most = MOST_GROWTH * size + ALWAYS_ALLOWED
        most = most if member.filename == "model.weights.h5" else MOST_DESCRIPTION
        if member.file_size > most:
            raise InputError(
                f"refused {path}: {member.filename} would grow to {member.file_size:,} bytes; "
                f"at most {most:,} are read from a file of this size"
            )
    with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as file:
        check_weights(file, path)


def check_weights(file: h5py.File, path: Path) -> None:
    """Look at all groups and data sets: numbers that lie in this very file, and not more than it can hold.

    Args:
        file: the HDF5 file, opened for reading.
        path: the file on disk that it is, or lies in.

    Raises:
        InputError: The file points elsewhere, holds anything but numbers, or would grow too much.
    """
    import h5py

    size = path.stat().st_size
    most = MOST_GROWTH * size + ALWAYS_ALLOWED
    numbers = stored = attributes = objects = names = 0
    waiting: list[Any] = [file["/"]]
    while waiting:
        here = waiting.pop()
        objects += 1
        for name in here.attrs:
            known = here.attrs.get_id(name)
            count = int(np.prod(known.shape or (), dtype=float))
            attributes += count * known.dtype.itemsize
            if known.dtype.kind == "O":
                names = max(names, count)
        if isinstance(here, h5py.Dataset):
            if here.external or here.is_virtual:
                raise refused(path, f"its weights {here.name!r} lie in another file")
            if here.dtype.kind not in "fiub":
                raise refused(path, f"{here.name!r} does not hold numbers")
            numbers += int(np.prod(here.shape or (), dtype=float) * here.dtype.itemsize)
            stored += here.id.get_storage_size()
        elif isinstance(here, h5py.Group):
            for name in here:
                link = here.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise refused(path, f"{name!r} is a link to somewhere else")
                inner = here[name]
                if h5py.h5o.get_info(inner.id).rc != 1:  # else one weight could be many, or a loop
                    raise refused(path, f"{inner.name!r} stands in it more than once")
                waiting.append(inner)
        else:
            raise refused(path, f"{here.name!r} is no weight of a network")
        if objects + len(waiting) > MOST_OBJECTS:
            raise InputError(f"refused {path}: more than {MOST_OBJECTS:,} weights; no network has so many")
        if numbers > most or attributes > size + ALWAYS_ALLOWED:
            raise InputError(
                f"refused {path}: its weights would take {max(numbers, attributes):,} bytes; "
                f"at most {most:,} are read from a file of this size"
            )
    # A list of texts is read at once, and each of them may be the longest text in the file again.
    if names * (size - stored) > MOST_TEXT:
        raise refused(path, f"a list of {names:,} names in it could take more than {MOST_TEXT:,} bytes")


def _suffix_for(path: Path) -> str:
    """Find the ending by which Keras recognises what is in the file: .keras, .h5 or .weights.h5.

    Raises:
        InputError: There is no such file, it is damaged, or it holds no Keras weights.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"no weights file {path}; give one with --weights")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if "model.weights.h5" in archive.namelist():
                    check_archive(archive, path)
                    return ".keras"
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                check_weights(file, path)
                if "layer_names" in file.attrs or "model_weights" in file:
                    return ".h5"
                if "layers" in file or "_layer_checkpoint_dependencies" in file:
                    return ".weights.h5"
            raise InputError(f"{path} is an HDF5 file without Keras weights; use another file")
    except InputError:
        raise
    except Exception as error:  # zipfile and HDF5 raise many kinds
        raise InputError(f"{path} is damaged or truncated ({one_line(error)}); get it again") from error
    raise InputError(f"{path} is not a weights file; wanted: .weights.h5, .h5 or .keras as Keras writes them")

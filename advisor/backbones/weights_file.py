"""Read a file of Keras weights into a network of which we know the architecture.

Only numbers are read: the description of a model that some of these files also hold, and with it
anything that could run, is not looked at.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import InputError

if TYPE_CHECKING:
    import keras


def read_weights(model: keras.Model, path: Path) -> None:
    """Fill `model` from a .weights.h5, a legacy .h5 or .hdf5, or the weights of a .keras file.

    Raises:
        InputError: the file is missing, damaged, of another kind, or of another architecture.
    """
    check_weights_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of what it raises for in the end
            model.load_weights(path)
    except Exception as error:  # Keras and HDF5 raise many kinds for names, counts and shapes
        reason = one_line(error)
        raise InputError(f"{path} does not hold the weights of {model.name} ({reason})") from error


def check_weights_file(path: Path) -> None:
    """Refuse what is no file of Keras weights, or not the kind that its name says.

    Raises:
        InputError: in one line, what the file is instead.
    """
    wanted = _suffix_for(path)
    named = next((end for end in (".weights.h5", ".h5", ".hdf5", ".keras") if path.name.endswith(end)), "")
    if named.replace(".hdf5", ".h5") != wanted:
        raise InputError(f"{path} is in the format that Keras calls {wanted}; rename it to end in {wanted}")


def _suffix_for(path: Path) -> str:
    """The ending by which Keras recognises what is in the file."""
    import h5py

    if not path.is_file():
        raise InputError(f"no weights file {path}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if "model.weights.h5" in archive.namelist():
                    return ".keras"
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                if "layer_names" in file.attrs or "model_weights" in file:
                    return ".h5"
                if "layers" in file or "_layer_checkpoint_dependencies" in file:
                    return ".weights.h5"
            raise InputError(f"{path} is an HDF5 file without Keras weights")
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or truncated ({one_line(error)}); get it again") from error
    raise InputError(f"{path} is not a weights file; wanted: .weights.h5, .h5 or .keras as Keras writes them")


def one_line(error: BaseException, limit: int = 160) -> str:
    """An exception's message, short enough to stand inside one of ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"

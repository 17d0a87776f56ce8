"""The files of a run folder, which may be damaged or a stranger's: looked at before they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from advisor.advice.settings import LARGEST_IMAGE, Settings, hidden_units
from advisor.choices import MODES, RECIPES
from advisor.errors import InputError
from advisor.system.json_file import read_json
from advisor.system.storage import open_plain

LARGEST_MODEL = 4_000_000_000  # bytes; the largest network in keras.applications has 1,400,000,000

LARGEST = 1e300  # a number with a decimal point; whole ones in JSON have no end

# What a value has to be: a type; a type with the least and the most; a tuple of the values that it may have;
# one shape for each key of an object; with `str` in the place of a key, one for all of them.
SHARE = (float, 0, 1)
COUNT = (int, 0, 2**62)
SIZE = (int, 8, LARGEST_IMAGE)
METRICS = {
    "recipe": str,
    "settings": {"recipe": str, "image_size": SIZE},
    "test": {
        "accuracy": SHARE,
        "macro_f1": SHARE,
        "log_loss": float,
        "per_class": {str: {"precision": SHARE, "recall": SHARE, "f1": SHARE, "images": COUNT}},
    },
}
RATE = (float, 0, 1e9)
SETTINGS = {
    "recipe": str,
    "mode": str,
    "backbone": str,
    "weights": str | None,
    "init": str,
    "image_size": SIZE,
    "training_size": SIZE,
    "taps": [str],
    "train_from": str | None,
    "head": str,
    "batch_norm": str,
    "augmentation": [str],
    "epochs": COUNT,
    "batch_size": (int, 1, 2**31),
    "learning_rate": RATE,
    "weight_decay": RATE,
    "label_smoothing": SHARE,
    "class_weights": str,
    "cut_layer": str | None,
    "base_labels": str | None,
    "roots": bool,
}
CHOICES = {
    "recipe": tuple(RECIPES),
    "init": ("pretrained", "random"),
    "batch_norm": ("frozen", "adapt"),
    "class_weights": ("none", "square root"),
}


def damaged(folder: Path, what: str) -> InputError:
    """The error that says what is wrong with a run folder."""
    return InputError(f"{folder} is damaged: {what}; get it anew, or train again with --overwrite")


@contextmanager
def reading(folder: Path, name: str) -> Iterator[None]:
    """Turn what is wrong with a file of a run folder into the one line that says so.

    Raises:
        FileNotFoundError: as it comes.
        InputError: for every other `OSError`, and for `ValueError`, whose message is put behind the name.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise damaged(folder, f"{name} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise damaged(folder, f"{name} {error}") from error


def read(folder: Path, name: str) -> Any:
    """What stands in a JSON file of a run folder.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        with reading(folder, name):
            return read_json(folder / name)
    except FileNotFoundError:
        raise damaged(folder, f"{name} is missing") from None


def read_metrics(folder: Path, shape: dict[Any, Any] = METRICS) -> dict[str, Any]:
    """metrics.json, in which what the shape names is there and sound.

    Raises:
        InputError: it is missing or damaged.
    """
    metrics = read(folder, "metrics.json")
    with reading(folder, "metrics.json"):
        conform(metrics, shape)
    return metrics


def read_class_names(folder: Path, metrics: dict[str, Any]) -> tuple[str, ...]:
    """labels.json: the names of two classes or more, in the order of the model's outputs.

    Args:
        folder: of the run.
        metrics: from `read_metrics`; it names the same classes.

    Raises:
        InputError: it is missing or damaged.
    """
    names = read(folder, "labels.json")
    with reading(folder, "labels.json"):
        if not isinstance(names, list):
            raise ValueError("is no list of class names")
        for name in names:
            if not isinstance(name, str) or not name:
                raise ValueError(f"holds {_short(name)} for the name of a class")
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise ValueError("holds a name that is no text")
        if len(set(names)) < len(names):
            raise ValueError("names a class twice")
        if len(names) < 2:
            raise ValueError("names fewer than two classes")
        if names != list(metrics["test"]["per_class"]):
            raise ValueError("and metrics.json name different classes")
    return tuple(names)


def check_model(folder: Path) -> None:
    """Whether model.keras can be a model's file; what is in it is checked where it is loaded.

    Raises:
        InputError: it is missing, no file, or of a size that no model has.
    """
    try:
        with reading(folder, "model.keras"), open_plain(folder / "model.keras") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= LARGEST_MODEL:
                raise ValueError("is empty" if not size else f"has more than {LARGEST_MODEL:,} bytes")
    except FileNotFoundError:
        raise damaged(folder, "model.keras is missing") from None


def check_folders(folder: Path) -> None:
    """Whether the folders in a run folder are real ones: through a link a resumed run would write elsewhere.

    Raises:
        InputError: one is a link or a file.
    """
    for name in ("checkpoints", "logs"):
        inner = folder / name
        if os.path.lexists(inner) and (inner.is_symlink() or not inner.is_dir()):
            raise damaged(folder, f"{name} is not a folder")


def settings_from(values: Any) -> Settings:
    """Settings as they were written to JSON.

    Raises:
        ValueError: what is wrong with them.
        TypeError: they are another version's.
    """
    optional = {field.name for field in fields(Settings) if field.default is not MISSING}
    if not isinstance(values, dict) or not set(values) <= set(SETTINGS) <= set(values) | optional:
        raise TypeError("other settings")
    conform(values, {name: SETTINGS[name] for name in values})
    for name, choices in (*CHOICES.items(), ("mode", MODES.get(values["recipe"], ()))):
        if values[name] not in choices:
            raise ValueError(f"holds {_short(values[name])} for {name}")
    hidden_units(values["head"])
    if not values["taps"] or len(set(values["taps"])) < len(values["taps"]):
        raise ValueError("holds no list of different taps")
    if values["training_size"] > values["image_size"]:
        raise ValueError("holds a training_size above the image_size")
    return Settings.from_json(values)


def conform(value: Any, shape: Any, name: str = "") -> None:
    """Check a value from JSON.

    Raises:
        ValueError: where it has not the shape; the message is put behind the file's name.
    """
    where = f" for {name}" if name else ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise ValueError(f"holds {_short(value)}{where}, not an object")
        for key, inner in shape.items():
            if key is str:
                for each in value:
                    conform(value[each], inner, f"{name}.{_short(each)}")
            elif key not in value:
                raise ValueError(f"holds no {f'{name}.{key}'.lstrip('.')}")
            else:
                conform(value[key], inner, f"{name}.{key}".lstrip("."))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"holds {_short(value)}{where}, not a list")
        for each in value:
            conform(each, shape[0], name)
    elif isinstance(shape, tuple):
        kind, least, most = shape
        conform(value, kind, name)
        if not least <= value <= most:
            raise ValueError(f"holds {_short(value)}{where}")
    elif shape is float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST < value < LARGEST:
            raise ValueError(f"holds {_short(value)}{where}")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        raise ValueError(f"holds {_short(value)}{where}")


def _short(value: Any) -> str:
    """A value from JSON in an error message."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    shown = "null" if value is None else ascii(value)
    return shown if len(shown) <= 30 else f"{shown[:30]}..."

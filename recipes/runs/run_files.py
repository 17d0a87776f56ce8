"""The files of a run folder, which may be damaged or a stranger's: looked at before they are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from advisor.advice.settings import Settings
from advisor.advice.settings_values import COUNT, SHAPES, SHARE, check
from advisor.errors import InputError
from advisor.results import Metrics
from advisor.system.json_file import read_json
from advisor.system.json_shape import Maybe, conform, short
from advisor.system.storage import open_plain

LARGEST_MODEL = 4_000_000_000  # bytes; the largest network in keras.applications has 1,400,000,000

# Shapes of values in JSON, as `advisor.system.json_shape.conform` takes them. Settings that were added later,
# which have a usual value, may lack in what an older version wrote.
SETTINGS = {field.name: SHAPES[field.name] for field in fields(Settings) if field.default is MISSING}
SCORES = {
    "accuracy": SHARE,
    "macro_f1": SHARE,
    "log_loss": float,
    "per_class": {str: {"precision": SHARE, "recall": SHARE, "f1": SHARE, "images": COUNT}},
}
METRICS = {
    "recipe": str,
    "settings": SETTINGS,
    "test": SCORES,
    "validation": SCORES,
    "images": {"train": COUNT, "validation": COUNT, "test": COUNT},
    "parameters": {"total": COUNT, "trained": COUNT},
    "complete": bool,
    "model_sha256": str,
    "seed": COUNT,
    "seconds": {"embed": float, "train": float, "total": float},
    "device": str,
    "precision": str,
    "versions": {str: str},
}
ALONE = {"test": SHARE, "validation": SHARE}
METRICS_THAT_MAY_LACK = {
    "lost_patience": bool,
    "kept": {
        "rule": str,
        "weight": SHARE,
        "frozen": ALONE,
        "trained": Maybe(ALONE),
        "second": {"megabytes": float, "milliseconds": float},
    },
    "trained_share": SHARE,
    "near_copies": {"test_images": COUNT, "accuracy_without": SHARE},
    "corrected": {"images": COUNT, "changed": COUNT, "accuracy": SHARE},
    "before_training": {"validation": SCORES, "test": SCORES},
    "prediction_sets": [
        {
            "asked": SHARE,
            "measured": SHARE,
            "classes": float,
            "none": SHARE,
            "several": SHARE,
            "calibrated": COUNT,
        }
    ],
    "steps": [
        {
            "action": str,
            "gain": Maybe((float, -1, 1)),
            "interval": Maybe([(float, -1, 1)]),
            "seconds": Maybe(float),
            "measured_gain": (float, -1, 1),
            "measured_seconds": float,
        }
    ],
}


def damaged(folder: Path, what: str) -> InputError:
    """The error that says what is wrong with a run folder."""
    return InputError(f"{folder} is damaged: {what}; get it anew, or train again with --overwrite")


def exchanged(folder: Path) -> InputError:
    """The error that says that another model took the place of the one that was being opened."""
    return InputError(f"a run has just finished {folder} with a better model; give the command again")


@contextmanager
def reading(folder: Path, name: str) -> Iterator[None]:
    """Turn what is wrong with a file of a run folder into the one line that says so.

    Raises:
        InputError: for every `OSError`, and for `ValueError`, whose message is put behind the name.
    """
    try:
        yield
    except FileNotFoundError:
        raise damaged(folder, f"{name} is missing") from None
    except OSError as error:
        raise damaged(folder, f"{name} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise damaged(folder, f"{name} {error}") from error


def read_metrics(folder: Path) -> Metrics:
    """What stands in metrics.json.

    Raises:
        InputError: it is missing or damaged.
    """
    with reading(folder, "metrics.json"):
        values = read_json(folder / "metrics.json")
        conform(values, METRICS)
        unknown = [name for name in values["settings"] if name not in SHAPES]
        if unknown:
            raise ValueError(f"holds a setting that this version does not have, {short(unknown[0])}")
        check(values["settings"])
        optional = {name: shape for name, shape in METRICS_THAT_MAY_LACK.items() if name in values}
        conform(values, optional)
        if any(len(step["interval"] or (0, 0)) != 2 for step in values.get("steps", ())):
            raise ValueError("holds an interval without two ends")
        return Metrics.from_json({name: values[name] for name in (*METRICS, *optional)})


def read_class_names(folder: Path, metrics: Metrics) -> tuple[str, ...]:
    """labels.json: the names of two classes or more, in the order of the model's outputs.

    Args:
        folder: of the run.
        metrics: of the run; they name the same classes.

    Raises:
        InputError: it is missing or damaged.
    """
    with reading(folder, "labels.json"):
        names = read_json(folder / "labels.json")
        if not isinstance(names, list):
            raise ValueError("is no list of class names")
        for name in names:
            if not isinstance(name, str) or not name:
                raise ValueError(f"holds {short(name)} for the name of a class")
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise ValueError("holds a name that is no text")
        if len(set(names)) < len(names):
            raise ValueError("names a class twice")
        if len(names) < 2:
            raise ValueError("names fewer than two classes")
        if names != list(metrics.test.per_class):
            raise ValueError("and metrics.json name different classes")
    return tuple(names)


def check_model(folder: Path) -> None:
    """Whether model.keras can be a model's file; what is in it is checked where it is loaded.

    Raises:
        InputError: it is missing, no file, or of a size that no model has.
    """
    with reading(folder, "model.keras"), open_plain(folder / "model.keras") as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 < size <= LARGEST_MODEL:
            raise ValueError("is empty" if not size else f"has more than {LARGEST_MODEL:,} bytes")


def digest(folder: Path, name: str) -> str:
    """The SHA-256 of a file in a run folder, in hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    with reading(folder, name), open_plain(folder / name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seconds_so_far(folder: Path) -> float:
    """What a run has taken in earlier processes, as far as its folder tells: of one that was killed, only
    its finished epochs."""
    spent = [0.0]
    with suppress(OSError, ValueError, TypeError, KeyError):
        spent.append(sum(float(row["seconds"]) for row in read_json(folder / "checkpoints" / "state.json")))
    with suppress(InputError):
        spent.append(read_metrics(folder).seconds["total"])
    return max(spent)


def holds_a_model(folder: Path) -> bool:
    """Whether there is a model.keras, and a metrics.json that belongs to it."""
    try:
        return read_metrics(folder).model_sha256 == digest(folder, "model.keras")
    except InputError:
        return False


def check_folders(folder: Path) -> None:
    """Whether the folders in a run folder are real ones: through a link a resumed run would write elsewhere.

    Raises:
        InputError: one is a link or a file.
    """
    for name in ("checkpoints", "logs", "epochs"):
        inner = folder / name
        if os.path.lexists(inner) and (inner.is_symlink() or not inner.is_dir()):
            raise damaged(folder, f"{name} is not a folder")


def settings_from(values: Any) -> Settings:
    """Settings that can be trained with, as they were written to JSON.

    Raises:
        ValueError: what is wrong with them.
        TypeError: they are another version's.
    """
    if not isinstance(values, dict) or set(values) != set(SHAPES):
        raise TypeError("other settings")
    check(values)
    if values["training_size"] > values["image_size"]:
        raise ValueError("holds a training_size above the image_size")
    return Settings.from_json(values)

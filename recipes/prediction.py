"""A finished run folder at work: image files to probabilities."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor import forward, images
from advisor.errors import InputError
from recipes import outliers

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class FinishedRun:
    """What is needed of a run folder to use its model.

    Attributes:
        folder: where it lies.
        class_names: in the order of the model's outputs.
        image_size: pixels of the model's square input.
        metrics: as in metrics.json.
        neighbours: training images to compare new ones with; None in a folder of an older version.
    """

    folder: Path
    class_names: tuple[str, ...]
    image_size: int
    metrics: dict[str, Any]
    neighbours: outliers.Neighbours | None


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        path: as it was given.
        probabilities: float32 [classes].
        distance: to the training images, see `recipes.outliers`; None where the run does not know.
        unlike: whether that is more than a new image of the same kind has.
    """

    path: str
    probabilities: np.ndarray
    distance: float | None
    unlike: bool | None

    def best(self, count: int) -> list[tuple[int, float]]:
        """The most probable classes with their probabilities, the best one first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(int(i), float(self.probabilities[i])) for i in order]


def load(folder: str | Path) -> FinishedRun:
    """Open a run folder; the model itself is read when it is needed.

    Raises:
        InputError: no run folder, or one that is not finished or damaged.
    """
    folder = Path(folder).expanduser()
    if not (folder / "metrics.json").is_file():
        if (folder / "checkpoints").is_dir():
            raise InputError(
                f"{folder} is not finished; go on with advisor run ... --output {folder} --resume"
            )
        what = "is not a run folder" if folder.is_dir() else "does not exist"
        raise InputError(f"{folder} {what}; give the folder that advisor run wrote")
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        size = int(metrics["settings"]["image_size"])
        if not (folder / "model.keras").is_file():
            raise FileNotFoundError("model.keras is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is damaged ({error}); run advisor run again") from error
    return FinishedRun(folder, tuple(names), size, metrics, outliers.load(folder))


def load_model(folder: Path) -> keras.Model:
    """The saved model in plain Keras, without running anything from the file.

    Raises:
        InputError: it is damaged.
    """
    import keras

    try:
        return keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile and HDF5 raise many kinds for damaged files
        raise InputError(f"{folder / 'model.keras'} cannot be loaded ({error}); run again") from error


def features_and_probabilities(folder: Path, image_size: int) -> forward.Forward:
    """The saved model as a fast function: uint8 [b, size, size, 3] to the input of its last layer
    [b, d] and its output [b, classes]."""

    def build() -> keras.Model:
        import keras

        model = load_model(folder)
        return keras.Model(model.inputs[0], [model.layers[-1].input, model.outputs[0]])

    digest = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
    return forward.runner(build, digest, image_size)


def find_images(named: Iterable[str], lines: Iterable[str]) -> list[str]:
    """Files as they are named, and all files in folders, in order; "-" stands for the lines.

    Args:
        named: files, folders or "-".
        lines: one path each, as of standard input.
    """
    found: list[str] = []
    for name in named:
        if name == "-":
            found += find_images((path for line in lines if (path := line.rstrip("\r\n"))), ())
        elif os.path.isdir(name):
            for folder, folders, files in os.walk(name):
                folders[:] = sorted(inner for inner in folders if not inner.startswith("."))
                found += [os.path.join(folder, file) for file in sorted(files) if not file.startswith(".")]
        else:
            found.append(name)
    return found


def predict(
    run: FinishedRun,
    paths: Sequence[str],
    unreadable: Callable[[str, str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Prediction]:
    """Classify image files in order; memory stays flat.

    Args:
        run: from `load`.
        paths: the files.
        unreadable: called with path and reason for each file that cannot be decoded.
        progress: called with images done and images to do.
    """
    call = features_and_probabilities(run.folder, run.image_size)

    def name(position: int, reason: str) -> None:
        unreadable(paths[position], reason)

    for positions, pixels in images.stream(paths, run.image_size, forward.BATCH, name):
        features, probabilities = call(pixels)
        distances = run.neighbours.distance(features) if run.neighbours else None
        for row, position in enumerate(positions):
            distance = None if distances is None else float(distances[row])
            unlike = None if distance is None or not run.neighbours else distance > run.neighbours.threshold
            yield Prediction(paths[position], probabilities[row], distance, unlike)
        progress(int(positions[-1]) + 1, len(paths))

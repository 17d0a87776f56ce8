"""A finished run folder at work: image files to probabilities."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.data import images
from advisor.errors import InputError
from advisor.evidence import forward, outliers
from advisor.system.storage import open_plain
from recipes.runs import run_files

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
        distance: to the training images, see `advisor.evidence.outliers`; None where the run does not know.
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
    try:
        folder = Path(folder).expanduser()
        there = {name: os.path.lexists(folder / name) for name in (".", "metrics.json", "checkpoints")}
    except (RuntimeError, ValueError) as error:  # of an unknown ~user, and of a NUL
        raise InputError(f"{folder} does not exist ({error}); give the folder of a run") from None
    if there["metrics.json"]:
        metrics = run_files.read_metrics(folder)
        names = run_files.read_class_names(folder, metrics)
        run_files.check_model(folder)
        size = metrics["settings"]["image_size"]
        return FinishedRun(folder, names, size, metrics, outliers.load(folder))
    if there["checkpoints"]:
        raise InputError(f"{folder} is not finished; go on with advisor run ... --output {folder} --resume")
    what = "is not a run folder" if there["."] else "does not exist"
    raise InputError(f"{folder} {what}; give the folder that advisor run wrote")


def load_model(folder: Path) -> keras.Model:
    """The saved model in plain Keras, without running anything from the file.

    Raises:
        InputError: it is damaged, or could run something.
    """
    from advisor.backbones.keras_file import load_safely

    return load_safely(folder / "model.keras")


def model_of(run: FinishedRun) -> keras.Model:
    """The saved model, which fits what else the run folder says.

    Raises:
        InputError: it cannot be loaded, or is of other images or classes.
    """
    model = _fitting(run.folder, run.image_size)
    _check_classes(run, model.outputs[0].shape[-1])
    return model


def _fitting(folder: Path, image_size: int) -> keras.Model:
    """The saved model, from one square image of this size to probabilities, with features before them."""
    model = load_model(folder)
    images_in = [tuple(tensor.shape) for tensor in model.inputs]
    ranks = [len(tensor.shape) for tensor in (*model.outputs, *_last_features(model))]
    if images_in != [(None, image_size, image_size, 3)]:
        raise run_files.damaged(folder, f"its model does not take images of {image_size} pixels")
    if ranks != [2, 2]:
        raise run_files.damaged(folder, "its model does not end in one layer of probabilities")
    return model


def _last_features(model: keras.Model) -> list[Any]:
    """What goes into the last layer."""
    try:
        features = model.layers[-1].input
    except AttributeError:  # it is used several times, or never
        return []
    return features if isinstance(features, list) else [features]


def _check_classes(run: FinishedRun, outputs: int) -> None:
    if outputs != len(run.class_names):
        raise run_files.damaged(
            run.folder, f"its model has {outputs} classes, and labels.json names {len(run.class_names)}"
        )


def features_and_probabilities(folder: Path, image_size: int) -> forward.Forward:
    """The saved model as a fast function: uint8 [b, size, size, 3] to the input of its last layer
    [b, d] and its output [b, classes].

    Raises:
        InputError: it cannot be loaded, or takes other images.
    """

    def build() -> keras.Model:
        import keras

        model = _fitting(folder, image_size)
        return keras.Model(model.inputs[0], [*_last_features(model), model.outputs[0]])

    with open_plain(folder / "model.keras") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return forward.runner(build, digest, image_size)


def ready(run: FinishedRun) -> forward.Forward:
    """As `features_and_probabilities`, tried on a black image: whether it fits what else the folder says.

    Raises:
        InputError: the run folder is damaged.
    """
    call = features_and_probabilities(run.folder, run.image_size)
    black = np.zeros((1, run.image_size, run.image_size, 3), np.uint8)
    try:
        features, probabilities = call(black)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of as many kinds as there are layers
        reason = " ".join(str(error).split())[:100]
        raise run_files.damaged(run.folder, f"its model cannot be run ({reason})") from error
    _check_classes(run, probabilities.shape[1])
    if not (np.abs(probabilities.sum() - 1) < 0.01 and probabilities.min() >= 0):
        raise run_files.damaged(run.folder, "its model gives no probabilities")
    kept = features.shape[1] if run.neighbours is None else run.neighbours.features.shape[1]
    if kept != features.shape[1]:
        raise run_files.damaged(
            run.folder, f"{outliers.FILE} is of {kept} features, and its model of {features.shape[1]}"
        )
    return call


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

    Raises:
        InputError: the run folder is damaged; before any image is decoded.
    """
    call = ready(run)

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

"""test.npz of a run folder: what the model says of each test image, in the order of splits.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from advisor.results import Metrics, Predictions
from advisor.system.array_file import read_arrays
from advisor.system.storage import replacing
from recipes.runs import run_files, splits_file

FILE = "test.npz"


def write(test: Predictions, folder: Path) -> None:
    """Write test.npz.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / FILE) as unfinished:
        np.savez(unfinished, labels=test.labels, probabilities=test.probabilities)


def read(folder: Path, metrics: Metrics) -> Predictions:
    """What `write` wrote; the paths are those in splits.csv.

    Args:
        folder: of the run.
        metrics: of the run; they say how many images and classes there are.

    Raises:
        InputError: it is missing or damaged, or splits.csv or labels.json is.
    """
    names = run_files.read_class_names(folder, metrics)
    paths = tuple(image.path for image in splits_file.read(folder) if image.split == "test")
    with run_files.reading(folder, FILE):
        arrays = read_arrays(folder / FILE, len(paths) * (8 + 4 * len(names)))
        labels, probabilities = _checked(arrays, len(paths), len(names))
    return Predictions(names, paths, paths, labels, probabilities)


def _checked(arrays: dict[str, np.ndarray], images: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int64 [images], and probabilities, float32 [images, classes], of the arrays in the file.

    Raises:
        ValueError: these are none.
    """
    if set(arrays) != {"labels", "probabilities"}:
        raise ValueError("does not hold labels and probabilities")
    labels, probabilities = arrays["labels"], arrays["probabilities"]
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise ValueError("does not hold one label for each test image in splits.csv")
    if probabilities.dtype != np.float32 or probabilities.shape != (images, classes):
        raise ValueError("does not hold the probabilities of each test image in splits.csv")
    if not ((labels >= 0) & (labels < classes)).all() or not np.isfinite(probabilities).all():
        raise ValueError("holds labels of no class, or probabilities that are not finite")
    return labels, probabilities

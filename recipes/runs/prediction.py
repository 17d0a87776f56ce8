"""A finished run folder: opened, and asked about image files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advisor.data.deep_grey import GreyRange
from advisor.errors import InputError, one_line
from advisor.evidence.outliers import Neighbours
from advisor.evidence.prediction_sets import Calibration
from advisor.results import Metrics, Prediction
from advisor.system.folder_lock import is_locked
from recipes.runs import calibration_file, classifier, neighbours_file, run_files
from recipes.runs.classifier import Classifier

WAIT = 0.2  # seconds, until a run that puts a model in its place is looked at again


@dataclass(frozen=True)
class FinishedRun:
    """What is needed of a run folder to use its model.

    Attributes:
        folder: where it lies.
        recipe: that was trained.
        class_names: in the order of the model's outputs.
        image_size: pixels of the model's square input.
        fit: how images become squares, one of `advisor.choices.FITS`.
        grey: the values of deep grey that are black and white.
        neighbours: training images to compare new ones with.
        digest: the SHA-256 of its model, in hexadecimal digits.
        calibration: what prediction sets are made by; None in the run of an older version.
    """

    folder: Path
    recipe: str
    class_names: tuple[str, ...]
    image_size: int
    fit: str
    grey: GreyRange | None
    neighbours: Neighbours
    digest: str
    calibration: Calibration | None = None

    def threshold(self, coverage: float) -> float:
        """The least probability of a class in a prediction set, see `Calibration.threshold`.

        Raises:
            InputError: there is none for this coverage.
        """
        if self.calibration is None:
            raise InputError(
                f"{self.folder} has no {calibration_file.FILE}, which sets need and older versions did not "
                "write; train again with --overwrite"
            )
        return self.calibration.threshold(coverage)


def load(folder: str | Path) -> FinishedRun:
    """Open a run folder; the model itself is read when it is needed.

    It may hold the frozen model of a run that still trains.

    Raises:
        InputError: no run folder, or one that holds no model yet or is damaged.
    """
    try:
        folder = Path(folder).expanduser()
        there = {name: os.path.lexists(folder / name) for name in (".", "metrics.json", "checkpoints")}
    except (RuntimeError, ValueError) as error:  # of an unknown ~user, and of a NUL
        raise InputError(f"{folder} does not exist ({error}); give the folder of a run") from None
    if there["metrics.json"]:
        metrics = _metrics(folder)
        names = run_files.read_class_names(folder, metrics)
        neighbours, settings = neighbours_file.read(folder), metrics.settings
        squares = settings.image_size, settings.fit, settings.grey
        calibration, digest = calibration_file.read(folder), metrics.model_sha256
        return FinishedRun(folder, metrics.recipe, names, *squares, neighbours, digest, calibration)
    if there["checkpoints"]:
        raise InputError(f"{folder} is not finished; go on with advisor run ... --output {folder} --resume")
    what = "is not a run folder" if there["."] else "does not exist"
    raise InputError(f"{folder} {what}; give the folder that advisor run wrote")


def _metrics(folder: Path) -> Metrics:
    """What stands in metrics.json, once it belongs to model.keras: a run may just put one model in the place
    of another.

    Raises:
        InputError: they do not belong to each other, and no run is there to put that right.
    """
    while True:
        is_written = is_locked(folder) or is_locked(folder.parent)  # by a comparison
        metrics = run_files.read_metrics(folder)
        run_files.check_model(folder)
        if run_files.digest(folder, "model.keras") == metrics.model_sha256:
            return metrics
        if not is_written:
            break
        time.sleep(WAIT)
    if not (folder / "checkpoints").exists():
        raise run_files.damaged(folder, "metrics.json belongs to another model.keras")
    raise InputError(
        f"a run was killed while it finished {folder}; complete it with advisor run ... --output {folder} "
        "--resume"
    )


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
    coverage: float | None = None,
) -> Iterator[Prediction]:
    """Classify image files in order; memory stays flat.

    Args:
        run: from `load`.
        paths: the files.
        unreadable: called with path and reason for each file that cannot be decoded.
        progress: called with images done and images to do.
        coverage: of the prediction sets, over 0 and below 1; None for no sets.

    Raises:
        InputError: the run folder is damaged, or cannot have sets of this coverage; before any image is
            decoded.
    """
    least = None if coverage is None else run.threshold(coverage)
    model = ready(run)

    def name(position: int, reason: str) -> None:
        unreadable(paths[position], reason)

    for positions, features, probabilities in model.classify(paths, name, progress):
        distances = run.neighbours.distance(features)
        for row, position in enumerate(positions):
            yield said(run, paths[position], probabilities[row], float(distances[row]), least)


def said(
    run: FinishedRun, path: str, probabilities: np.ndarray, distance: float, least: float | None
) -> Prediction:
    """What a run says of one image.

    Args:
        run: from `load`.
        path: of the image.
        probabilities: float32 [classes].
        distance: of its features to the run's neighbours.
        least: probability of a class in its prediction set, from `FinishedRun.threshold`; None for no set.
    """
    unlike = distance > run.neighbours.threshold
    return Prediction(path, run.class_names, probabilities, distance, unlike, least)


def ready(run: FinishedRun) -> Classifier:
    """The model of a run, tried on a black image: whether it fits what else the run folder says.

    Raises:
        InputError: it does not.
    """
    model = classifier.load(run.folder, run.image_size, run.fit, run.grey)
    black = np.zeros((1, run.image_size, run.image_size, 3), np.uint8)
    try:
        features, probabilities = model.call(black)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of as many kinds as there are layers
        raise run_files.damaged(run.folder, f"its model cannot be run ({one_line(error)})") from error
    if model.digest != run.digest:
        raise run_files.exchanged(run.folder)
    classes, kept = probabilities.shape[1], run.neighbours.features.shape[1]
    if classes != len(run.class_names):
        what = f"its model has {classes} classes, and labels.json names {len(run.class_names)}"
        raise run_files.damaged(run.folder, what)
    if not (np.abs(probabilities.sum() - 1) < 0.01 and probabilities.min() >= 0):
        raise run_files.damaged(run.folder, "its model gives no probabilities")
    if kept != features.shape[1]:
        what = f"{neighbours_file.FILE} is of {kept} features, and its model of {features.shape[1]}"
        raise run_files.damaged(run.folder, what)
    return model

"""calibration.npz of a run folder: what prediction sets are made by."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from advisor.evidence.prediction_sets import LEAVE_ONE_OUT, VALIDATION, Calibration
from advisor.system.array_file import read_arrays
from advisor.system.storage import replacing
from recipes.job import Job, Trained
from recipes.runs.run_files import reading

FILE = "calibration.npz"
MOST = 100_000_000  # images


def calibration(job: Job, trained: Trained) -> Calibration:
    """What a model says of images that it did not learn from.

    Of a head that was solved on frozen features that is each image left out; of all others the validation
    images, which at most chose the epoch and the weight of a pool.

    Args:
        job: that is done.
        trained: what it gave.
    """
    if trained.truth is not None:
        return Calibration.of(trained.truth, LEAVE_ONE_OUT)
    labels = job.data.labels[job.data.indices("validation")]
    return Calibration.of(trained.validation[np.arange(len(labels)), labels], VALIDATION)


def write(calibration: Calibration, folder: Path) -> None:
    """Write calibration.npz: `truth`, float32 [n] with the smallest first, and `source`, a word.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / FILE) as unfinished:
        np.savez(unfinished, truth=calibration.truth, source=np.array(calibration.source))


def read(folder: Path) -> Calibration | None:
    """What `write` wrote; None where there is none, as in the run of an older version.

    Raises:
        InputError: it is damaged.
    """
    if not os.path.lexists(folder / FILE):
        return None
    with reading(folder, FILE):
        return _calibration(read_arrays(folder / FILE, 4 * MOST))


def _calibration(arrays: dict[str, np.ndarray]) -> Calibration:
    """Calibration of the arrays in the file.

    Raises:
        ValueError: these are none.
    """
    if set(arrays) != {"truth", "source"}:
        raise ValueError("does not hold probabilities and where they are from")
    truth, source = arrays["truth"], arrays["source"]
    if truth.ndim != 1 or not len(truth) or truth.dtype != np.float32:
        raise ValueError(f"holds probabilities of another form ({truth.dtype} {list(truth.shape)})")
    if not (np.isfinite(truth).all() and truth[0] >= 0 and truth[-1] <= 1 and (np.diff(truth) >= 0).all()):
        raise ValueError("holds no probabilities in order")
    if source.shape or str(source) not in (LEAVE_ONE_OUT, VALIDATION):
        raise ValueError("does not say where its probabilities are from")
    return Calibration(truth, str(source))

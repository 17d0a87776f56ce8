"""Which classes an image may be of: sets that hold the true class as often as is asked for.

Conformal prediction (Angelopoulos and Bates, A gentle introduction, arXiv 2107.07511): images that the model
has not learnt from say how much probability it gives the truth, and a class is in the set of a new image if
it has at least as much as all but a share of those gave. The least that it needs is the k-th smallest of n
such probabilities, k = floor((n + 1) (1 - coverage)). Then new images of the same kind are covered with a
probability between `coverage` and `coverage + 1 / (n + 1)`, whatever the model is.

The score is the plain one, 1 - p of the class (Sadinle, Lei and Wasserman, JASA 2019): of all sets with this
coverage its are the smallest on average, the same image always gets the same set, and a set may be empty. So
it is: a model that is right more often than is asked for has to be silent about what it knows least. Adaptive
sets (Romano, Sesia and Candes, NeurIPS 2020) are measured beside it in benchmarks/coverage.py: they need a
draw at random for each image, and hold more classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from advisor.errors import InputError

LEAVE_ONE_OUT, VALIDATION = "leave-one-out", "validation"
USUAL = (0.9, 0.95)  # coverages that are measured and stand on the card


@dataclass(frozen=True)
class Calibration:
    """What a model says of images that it did not learn from.

    Attributes:
        truth: the probability of the true class of each, float32 [n], the smallest first.
        source: `LEAVE_ONE_OUT`, each training and validation image by a head that has not seen that one, or
            `VALIDATION`, the validation images by a model that has not seen them.
    """

    truth: np.ndarray
    source: str

    @staticmethod
    def of(truth: np.ndarray, source: str) -> Calibration:
        """From the probabilities [n] of the true classes in any order."""
        return Calibration(np.sort(truth).astype(np.float32), source)

    def threshold(self, coverage: float) -> float:
        """The least probability with which a class is in a set, 0..1.

        Args:
            coverage: the share of images whose set shall hold the true class, over 0 and below 1.

        Raises:
            InputError: no such share, or there are too few images to say.
        """
        check_coverage(coverage)
        if not self.reaches(coverage):
            needed, most = ceil(round(1 / (1 - coverage), 6)) - 1, len(self.truth) / (len(self.truth) + 1)
            raise InputError(
                f"a coverage of {coverage:g} takes {needed:,} images to calibrate, and the run has "
                f"{len(self.truth):,}; ask for {floor(1000 * most) / 1000:g} at most, or train with more"
            )
        return float(self.truth[self._place(coverage) - 1])

    def reaches(self, coverage: float) -> bool:
        """Whether there are images enough for this coverage."""
        return self._place(coverage) > 0

    def _place(self, coverage: float) -> int:
        """Of the threshold among the probabilities, from 1; 0 where there are too few."""
        count = len(self.truth)
        return min(count, floor(round((count + 1) * (1 - coverage), 6)))  # 10 * (1 - 0.9) is a bit under 1

    def sets(self, probabilities: np.ndarray, coverage: float) -> np.ndarray:
        """Which classes each image may be of.

        Args:
            probabilities: [n, classes].
            coverage: see `threshold`.

        Returns:
            bool [n, classes]; one class, several or none.

        Raises:
            InputError: see `threshold`.
        """
        return probabilities >= self.threshold(coverage)


@dataclass(frozen=True)
class Covered:
    """How sets did on labelled images.

    Attributes:
        asked: the coverage that was asked for, 0..1.
        measured: the share of images whose set holds the true class, 0..1.
        classes: in a set, on average.
        none: share of images whose set is empty, 0..1.
        several: share of images whose set holds more than one class, 0..1.
        calibrated: images that the sets were calibrated on.
    """

    asked: float
    measured: float
    classes: float
    none: float
    several: float
    calibrated: int


def covered(calibration: Calibration, labels: np.ndarray, probabilities: np.ndarray, asked: float) -> Covered:
    """Measure sets.

    Args:
        calibration: of the model.
        labels: int64 [n].
        probabilities: [n, classes].
        asked: coverage, 0..1.

    Raises:
        InputError: see `Calibration.threshold`.
    """
    sets = calibration.sets(probabilities, asked)
    sizes = sets.sum(axis=1)
    return Covered(
        asked=asked,
        measured=float(sets[np.arange(len(labels)), labels].mean()),
        classes=float(sizes.mean()),
        none=float((sizes == 0).mean()),
        several=float((sizes > 1).mean()),
        calibrated=len(calibration.truth),
    )


def usually_covered(
    calibration: Calibration | None, labels: np.ndarray, probabilities: np.ndarray
) -> tuple[Covered, ...]:
    """`covered` for the `USUAL` coverages, as far as there are images enough to calibrate them."""
    if calibration is None:
        return ()
    possible = filter(calibration.reaches, USUAL)
    return tuple(covered(calibration, labels, probabilities, asked) for asked in possible)


def check_coverage(coverage: float) -> None:
    """Answer at once where a coverage cannot be had.

    Raises:
        InputError: it is no share.
    """
    if not 0 < coverage < 1:
        raise InputError(f"a coverage of {coverage:g} cannot be had; give a share below 1, as 0.95")

"""What is known of each class: how well it is told, what more images would bring, how its images look.

A class is told better with more images of all classes by a power law, as a whole data set is. What more
images of one class alone would bring is not foretold: on five data sets they took as many from the others,
and no measure picked a class that gains (benchmarks/more_images.py, table in benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.data import near_copies
from advisor.data.dataset import Dataset
from advisor.data.sampling import sample, sample_of_groups
from advisor.evidence import probe
from advisor.evidence.embedding import Embedded
from advisor.evidence.linear_head import Products
from advisor.evidence.probe import CURVE_REPEATS, CURVE_SHARES, CurvePoint
from advisor.system.solvers import solvers

MOST = 1_500  # images that the learning curves are measured on
FEWEST = 2  # images of a class from which on it is part of a smaller sample
ODD = 4.0  # an image has an odd size where its side or its form differs so many times from what is usual


@dataclass(frozen=True)
class ClassFacts:
    """What is known of one class.

    Attributes:
        label: an index into the names of the classes.
        images: that it has.
        accuracy: share of them that is told right by a head that has not seen them, 0..1.
        at_double: the same, foretold for twice the images of every class, 0..1.
        brightness: the median of its images' means, 0..255.
        sharpness: the median of how much neighbouring pixels differ, in grey levels, of those looked at; None
            where none of them was.
        blank: positions of images on which there is nothing to see.
        odd_sizes: positions of images whose size or form is far from that of most images of the data set.
    """

    label: int
    images: int
    accuracy: float
    at_double: float
    brightness: float
    sharpness: float | None
    blank: tuple[int, ...]
    odd_sizes: tuple[int, ...]

    @property
    def mended(self) -> float:
        """Images of the class that would be told right beside those that are."""
        return self.images * (self.at_double - self.accuracy)


@dataclass(frozen=True)
class Curves:
    """Learning curves of frozen features.

    Attributes:
        whole: accuracy by the number of images.
        by_class: of each class, the share told right by the number of its images; empty without images.
    """

    whole: tuple[CurvePoint, ...]
    by_class: tuple[tuple[CurvePoint, ...], ...]


def curves(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    groups: np.ndarray | None,
    right: np.ndarray,
    seed: int,
) -> Curves:
    """Measure learning curves on a sample; what leave-one-out says of all images is their last point.

    Args:
        features: float32 [n, d], what the head sees.
        labels: int64 [n].
        classes: number of classes.
        groups: int64 [n], equal for images that stay together; None where each stands alone.
        right: which images a head on all others tells right, bool [n].
        seed: of the samples.
    """
    rows = sample(labels, MOST, seed)
    known, own_groups = labels[rows], None if groups is None else groups[rows]
    whole: list[CurvePoint] = []
    by_class: list[list[CurvePoint]] = [[] for _ in range(classes)]
    with solvers(len(rows)) as at_once:
        products = Products.of(features[rows])

        def look(share: float, repeat: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
            part = sample_of_groups(known, own_groups, int(share * len(known)), seed + 1 + repeat)
            rest = np.setdiff1d(np.arange(len(known)), part)
            if len(np.unique(known[part])) < 2 or not len(rest):
                return None
            own = None if own_groups is None else own_groups[part]
            told = products.probabilities(part, rest, known[part], classes, own)
            return part, rest, told.argmax(axis=1) == known[rest]

        for share in CURVE_SHARES:
            asked = [at_once.submit(look, share, repeat) for repeat in range(CURVE_REPEATS)]
            looks = [look for look in (one.result() for one in asked) if look]
            if not looks:
                continue
            whole.append(_point([(len(part), told) for part, _, told in looks]))
            for label, points in enumerate(by_class):
                of_class = [
                    (int((known[part] == label).sum()), told[known[rest] == label])
                    for part, rest, told in looks
                ]
                if all(count >= FEWEST and len(told) for count, told in of_class):
                    points.append(_point(of_class))
    whole.append(CurvePoint(len(labels), float(right.mean())))
    for label, points in enumerate(by_class):
        if (own := labels == label).any():
            points.append(CurvePoint(int(own.sum()), float(right[own].mean())))
    return Curves(tuple(whole), tuple(map(tuple, by_class)))


def _point(looks: list[tuple[int, np.ndarray]]) -> CurvePoint:
    """The mean of several samples: images that a head was fitted to, and which others it told right."""
    images = round(float(np.mean([count for count, _ in looks])))
    return CurvePoint(images, float(np.concatenate([told for _, told in looks]).mean()))


def facts(
    embedded: Embedded, data: Dataset, measured: Curves, sharpness: dict[int, float]
) -> tuple[ClassFacts, ...]:
    """Each class that has images, the one first of which twice the images would mend most.

    Args:
        embedded: all images of the data set, in its order.
        data: the data set.
        measured: its learning curves.
        sharpness: of some images, by their positions.
    """
    brightness = embedded.thumbnails.reshape(len(data), -1).mean(axis=1)
    blank, odd = near_copies.are_flat(embedded.thumbnails), _odd_sizes(data)
    found = []
    for label, curve in enumerate(measured.by_class):
        own = data.labels == label
        if not curve:
            continue
        sharp = [value for at, value in sharpness.items() if own[at]]
        found.append(
            ClassFacts(
                label=label,
                images=int(own.sum()),
                accuracy=curve[-1].accuracy,
                at_double=probe.extrapolate(curve, 2 * curve[-1].images),
                brightness=float(np.median(brightness[own])),
                sharpness=float(np.median(sharp)) if sharp else None,
                blank=tuple(np.flatnonzero(own & blank).tolist()),
                odd_sizes=tuple(np.flatnonzero(own & odd).tolist()),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.mended))


def _odd_sizes(data: Dataset) -> np.ndarray:
    """Images whose shorter side or whose form is `ODD` times from the median, bool [n]."""
    short = np.maximum(data.shorter_sides, 1)
    form = data.longer_sides / short
    return np.logical_or.reduce(
        [np.abs(np.log(each / np.median(each))) > np.log(ODD) for each in (short, form)]
    )

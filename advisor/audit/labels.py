"""Labels that are probably wrong: confident learning on what a head says of images that it has not seen.

Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 2021,
arXiv 1911.00068. A class is likely for an image where its probability reaches the mean that the images of
this class have for it, so that a class which the head is less sure of needs less. An image whose likeliest
such class is another one than its own is a suspect; how many of each class are suspects of each other one,
scaled to the size of the class, is how many labels should be wrong. What it finds of labels that were
changed on purpose is measured by benchmarks/label_noise.py, table in benchmarks/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.evidence.outliers import NEIGHBOURS, QUANTILE, mean_of_largest, unit

NONE = -1  # no class is likely
REPEATS = 1_000  # of the bootstrap; its 90 % interval is then known to a hundredth of its width or two
CHUNK = 512  # rows of similarities at once


@dataclass(frozen=True)
class Labels:
    """What is known of the labels of n images in c classes.

    Attributes:
        suggested: the likeliest class but the own one, int64 [n].
        probability: of that class, float [n].
        own: probability of the class that the label names, float [n].
        likely: the likeliest of the classes that are likely, int64 [n]; `NONE` where none is.
        labels: that the images have, int64 [n].
        mixed: how many images of class i should be of class j, float [c, c].
        interval: 90 % interval of the number of wrong labels, for other images of the same kind.
    """

    suggested: np.ndarray
    probability: np.ndarray
    own: np.ndarray
    likely: np.ndarray
    labels: np.ndarray
    mixed: np.ndarray
    interval: tuple[float, float]

    @property
    def margin(self) -> np.ndarray:
        """By how much the suggested class is more probable than the own one, -1..1, float [n]."""
        return self.probability - self.own

    @property
    def suspects(self) -> np.ndarray:
        """Images whose label is probably wrong, those first whose own class is least probable, int64 [m].

        That order finds more of the labels that were changed than the margin does, on eleven data sets.
        """
        found = np.flatnonzero((self.likely != NONE) & (self.likely != self.labels) & (self.margin > 0))
        return found[np.argsort(self.own[found], kind="stable")]

    @property
    def sure(self) -> np.ndarray:
        """Images whose own class is the likely one, bool [n]."""
        return self.likely == self.labels

    @property
    def estimated(self) -> float:
        """How many labels should be wrong."""
        return float(self.mixed.sum())

    @property
    def share(self) -> float:
        """The same of all labels, 0..1."""
        return self.estimated / len(self.labels)


def judge(held_out: np.ndarray, labels: np.ndarray, seed: int) -> Labels:
    """Find the labels that are probably wrong.

    Args:
        held_out: what a head that has not seen an image says of it, float [n, c].
        labels: int64 [n].
        seed: of the bootstrap.
    """
    count, classes = held_out.shape
    rows = np.arange(count)
    own = held_out[rows, labels]
    sizes = np.bincount(labels, minlength=classes)
    # A class without images is never likely.
    least = np.where(sizes > 0, np.bincount(labels, own, classes) / np.maximum(sizes, 1), np.inf)
    reached = np.where(held_out >= least, held_out, -1.0)
    likely = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), NONE)
    others = held_out.copy()
    others[rows, labels] = -1.0
    suggested = others.argmax(axis=1)
    joint = np.zeros((classes, classes))
    known = likely != NONE
    np.add.at(joint, (labels[known], likely[known]), 1)
    return Labels(
        suggested=suggested,
        probability=others[rows, suggested],
        own=own,
        likely=likely,
        labels=labels,
        mixed=_scaled(joint, sizes),
        interval=_interval(joint, sizes, seed),
    )


def _scaled(joint: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Counts [c, c] of images that have a likely class, scaled to all of each class, without the diagonal."""
    scaled = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1) * sizes[:, None]
    np.fill_diagonal(scaled, 0)
    return scaled


def _interval(joint: np.ndarray, sizes: np.ndarray, seed: int) -> tuple[float, float]:
    """90 % interval of the number of wrong labels: each class drawn again from what was counted of it."""
    generator = np.random.default_rng(seed)
    known = joint.sum(axis=1).astype(int)
    shares = 1 - np.diag(joint) / np.maximum(known, 1)
    drawn = generator.binomial(known, shares, (REPEATS, len(known))) / np.maximum(known, 1)
    low, high = np.quantile(drawn @ sizes, (0.05, 0.95))
    return float(low), float(high)


def nearest(features: np.ndarray, rows: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """The most similar of some images, by the cosine of their features.

    Args:
        features: float32 [n, d].
        rows: int64 [m], the images that are asked for.
        among: int64 [k], the images that may be the answer; an image is never its own.
        count: answers for each.

    Returns:
        int64 [m, at most count], the most similar first.
    """
    directions = unit(features)
    count = min(count, max(len(among) - 1, 0))
    found = [np.empty((0, count), np.int64)]
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        similar = directions[part] @ directions[among].T
        similar[part[:, None] == among] = -np.inf
        found.append(among[np.argsort(-similar, axis=1, kind="stable")[:, :count]])
    return np.concatenate(found)


def strangers(judged: Labels, features: np.ndarray) -> np.ndarray:
    """Images that belong to no class, the strangest first, int64 [m].

    No class is likely for them, and they are farther from their nearest images than nearly all of those
    whose label is sure: than as many as `advisor.evidence.outliers` lets pass for familiar.

    Args:
        judged: what is known of the labels of n images.
        features: float32 [n, d].
    """
    sure, doubtful = np.flatnonzero(judged.sure), np.flatnonzero(judged.likely == NONE)
    if len(sure) <= NEIGHBOURS or not len(doubtful):
        return np.empty(0, np.int64)
    distance = _distance(features)
    found = doubtful[distance[doubtful] > np.quantile(distance[sure], QUANTILE, method="higher")]
    return found[np.argsort(-distance[found], kind="stable")]


def _distance(features: np.ndarray) -> np.ndarray:
    """Mean cosine distance of each image to its nearest ones, float [n]."""
    directions, found = unit(features), []
    for start in range(0, len(directions), CHUNK):
        similar = directions[start : start + CHUNK] @ directions.T
        similar[np.arange(len(similar)), start + np.arange(len(similar))] = -1
        found.append(mean_of_largest(similar))
    return 1 - np.concatenate(found)

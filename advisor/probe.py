"""What frozen features can do, measured before anything is trained.

Linear probes by cross-validation at every tap tell which depth knows most; the convex head at
growing numbers of images tells what a frozen model will reach and whether more images would help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor import linear_head
from advisor.embedding import Features

ALL_TAPS = "all taps"
FOLDS = 3
RIDGES = tuple(float(10.0**e) for e in np.arange(-3, 2.5, 0.5))
CURVE_SHARES = (0.125, 0.25, 0.5)


@dataclass(frozen=True)
class DepthProbe:
    """Cross-validated accuracy of a linear probe on one tap, or on all taps together.

    Attributes:
        tap: the layer, or `ALL_TAPS`.
        accuracy: 0..1, on images that the probe was not fitted to.
        correct: bool [n], which of the images were classified correctly.
    """

    tap: str
    accuracy: float
    correct: np.ndarray


@dataclass(frozen=True)
class CurvePoint:
    """Cross-validated accuracy of a convex head that was fitted to `images` images."""

    images: int
    accuracy: float


@dataclass(frozen=True)
class Evidence:
    """What the features know.

    Attributes:
        depth: probes from the shallowest tap to the deepest, then all taps together.
        curve: accuracy of that head by training images.
        expected_accuracy: of a frozen model trained on the whole training split, 0..1.
        expected_interval: 90 % interval for the accuracy that it will show on the test split.
        gain_at_double: accuracy that twice the training images would add, 0..1.
    """

    depth: tuple[DepthProbe, ...]
    curve: tuple[CurvePoint, ...]
    expected_accuracy: float
    expected_interval: tuple[float, float]
    gain_at_double: float

    def probe(self, tap: str) -> DepthProbe:
        return next(probe for probe in self.depth if probe.tap == tap)


def by_depth(features: Features, labels: np.ndarray, classes: int, seed: int) -> tuple[DepthProbe, ...]:
    """Linear probes at each tap and on all taps together, on the same folds."""
    splits = linear_head.folds(labels, FOLDS, seed)
    probes = []
    for tap in (*features.taps, ALL_TAPS):
        values = features.values if tap == ALL_TAPS else features.at(tap)
        correct = _ridge_correct(values, labels, classes, splits)
        probes.append(DepthProbe(tap, float(correct.mean()), correct))
    return tuple(probes)


def _ridge_correct(
    features: np.ndarray, labels: np.ndarray, classes: int, splits: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Which images a ridge regression to the one-hot labels classifies correctly, out of fold.

    With G = X X' over all images, the regression of fold-training labels Y on X predicts
    G[held out, train] (G[train, train] + r n I)^-1 Y: one eigendecomposition of G[train, train] serves
    all ridges r (cf. the few-shot evaluators of google-research/big_vision). The ridge is the one
    that is right most often over all folds.
    """
    standard = ((features - features.mean(axis=0)) / linear_head.spread(features)).astype(np.float64)
    gram = standard @ standard.T / standard.shape[1]
    one_hot = np.eye(classes)[labels]
    correct = np.zeros((len(RIDGES), len(labels)), dtype=bool)
    for train, held_out in splits:
        center = one_hot[train].mean(axis=0)
        values, vectors = np.linalg.eigh(gram[np.ix_(train, train)])
        projected = vectors.T @ (one_hot[train] - center)
        between = gram[np.ix_(held_out, train)] @ vectors
        for i, ridge in enumerate(RIDGES):
            shrunk = projected / (np.maximum(values, 0) + ridge)[:, None]
            predicted = (between @ shrunk + center).argmax(axis=1)
            correct[i, held_out] = predicted == labels[held_out]
    return correct[correct.mean(axis=1).argmax()]


def learning_curve(
    features: np.ndarray, labels: np.ndarray, classes: int, seed: int
) -> tuple[CurvePoint, ...]:
    """Accuracy of the convex head by training images, cross-validated; the last point uses the most."""
    penalty = linear_head.best_penalty(features, labels, classes, seed)
    generator = np.random.default_rng(seed)
    splits = linear_head.folds(labels, 5, seed)
    points = []
    for share in (*CURVE_SHARES, 1.0):
        right, sizes = 0, []
        for train, held_out in splits if share == 1.0 else splits[:3]:
            part = train[_stratified_share(labels[train], share, generator)]
            if len(np.unique(labels[part])) < 2:
                break
            head = linear_head.fit(features[part], labels[part], classes, penalty)
            right += int((head.probabilities(features[held_out]).argmax(axis=1) == labels[held_out]).sum())
            sizes.append(len(part))
        else:
            tested = sum(len(held_out) for _, held_out in splits[: len(sizes)])
            points.append(CurvePoint(int(np.mean(sizes)), right / tested))
    return tuple(points)


def _stratified_share(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        ranks[members] = np.arange(len(members)) / len(members)
    return np.flatnonzero(ranks < share)


def gather(
    features: Features, labels: np.ndarray, classes: int, training_images: int, test_images: int, seed: int
) -> Evidence:
    """Everything that the features of a sample say.

    Args:
        features: of the sample.
        labels: int64 [n], its labels.
        classes: number of classes.
        training_images: size of the training split that a frozen model will be fitted to.
        test_images: size of the test split that it will be judged on.
        seed: of the folds.
    """
    curve = learning_curve(features.last(), labels, classes, seed)
    expected = _extrapolate(curve, training_images)
    doubled = _extrapolate(curve, 2 * training_images)
    # Sampling noise of the test split and of the cross-validation, and the doubt in the extrapolation.
    extrapolated = abs(expected - curve[-1].accuracy)
    spread = np.sqrt(
        max(expected * (1 - expected), 1 / (4 * test_images)) * (1 / test_images + 1 / len(labels))
        + (0.5 * extrapolated) ** 2
    )
    return Evidence(
        depth=by_depth(features, labels, classes, seed),
        curve=curve,
        expected_accuracy=expected,
        expected_interval=(max(0.0, expected - 1.645 * spread), min(1.0, expected + 1.645 * spread)),
        gain_at_double=max(0.0, doubled - expected),
    )


def _extrapolate(curve: tuple[CurvePoint, ...], images: int) -> float:
    """Accuracy at another number of images, by a power law for the error through the curve.

    error(n) = error(last) * (n / n_last)^-b with b fitted by least squares on logarithms, within 0..0.5
    (Hestness et al., Deep Learning Scaling is Predictable, 2017, find such laws).
    """
    sizes = np.log([point.images for point in curve])
    errors = np.array([1 - point.accuracy for point in curve])
    if errors[-1] <= 0 or len(curve) < 2:
        return float(1 - errors[-1])
    b = float(np.clip(-np.polyfit(sizes, np.log(np.maximum(errors, 1e-3)), 1)[0], 0.0, 0.5))
    return float(1 - errors[-1] * (images / np.exp(sizes[-1])) ** -b)

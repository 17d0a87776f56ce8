"""The convex head: multinomial logistic regression on standardised features, solved to its optimum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Strengths of the L2 penalty on the mean loss, from strong to weak. 0.03 or 0.1 is chosen on photographs,
# 0.001 on handwritten digits.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 3
# From so many images on, a third of them is enough to choose a penalty by.
ENOUGH_FOR_ONE_FOLD = 600


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier of raw features: standardisation is folded into its weights.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
        penalty: the strength of the L2 penalty that was chosen.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] from features [n, features]."""
        logits = features @ self.kernel + self.bias
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        return logits / logits.sum(axis=1, keepdims=True)


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalty: float,
    weights: np.ndarray | None = None,
) -> LinearHead:
    """Fit with a given penalty.

    Args:
        features: float32 [n, d].
        labels: int64 [n] in 0..classes-1; each class at least once.
        classes: number of classes.
        penalty: strength of the L2 penalty on the mean loss, over 0.
        weights: float64 [n] of the images, of mean 1; all equal if left out.
    """
    return next(_path(features, labels, classes, (penalty,), weights))


def fit_best(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    weights: np.ndarray | None = None,
) -> LinearHead:
    """Choose the penalty by the log-loss in stratified cross-validation, then fit to all images."""
    return fit(features, labels, classes, best_penalty(features, labels, classes, seed, weights), weights)


def best_penalty(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    weights: np.ndarray | None = None,
) -> float:
    """The penalty of `PENALTIES` with the lowest log-loss on images that were not fitted to."""
    splits = folds(labels, FOLDS, seed)[: 1 if len(labels) >= ENOUGH_FOR_ONE_FOLD else FOLDS]
    paths = [
        _path(features[train], labels[train], classes, PENALTIES, None if weights is None else weights[train])
        for train, _ in splits
    ]
    best, lowest = PENALTIES[0], np.inf
    for heads in zip(*paths, strict=True):  # one penalty after the other, until the loss rises
        loss = sum(
            len(held_out) * judge(head, features[held_out], labels[held_out]).loss
            for head, (_, held_out) in zip(heads, splits, strict=True)
        )
        if loss >= lowest:
            break
        best, lowest = heads[0].penalty, loss
    return best


def spread(features: np.ndarray) -> np.ndarray:
    """By what features are divided: their standard deviation, but no less than its median over all.

    Features that hardly vary are left small. Blown up to unit variance they would do harm: as noise in
    the head (its log-loss was higher on ants and bees and on flowers), and in fine-tuning, where images
    are augmented and such features suddenly vary.

    Returns:
        [features], over 0.
    """
    deviation = features.std(axis=0)
    floor = np.median(deviation[deviation > 0]) if (deviation > 0).any() else 1.0
    return np.maximum(deviation, floor)


def decompose(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin singular value decomposition, several times faster by way of the smaller Gram matrix.

    Args:
        x: [n, d].

    Returns:
        Left vectors [n, r], singular values [r], over 0, and right vectors [r, d].
    """
    wide = x.shape[0] <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    singular, vectors = np.sqrt(values[kept]), vectors[:, kept]
    if wide:
        return vectors, singular, (x.T @ vectors / singular).T
    return x @ vectors / singular, singular, vectors.T


@dataclass(frozen=True)
class Judged:
    """How well a head does on images.

    Attributes:
        loss: mean log-loss in nats.
        accuracy: 0..1.
        brier: mean squared error of the probabilities, over images and classes (Brier, 1950), 0..1.
    """

    loss: float
    accuracy: float
    brier: float


def judge(head: LinearHead, features: np.ndarray, labels: np.ndarray) -> Judged:
    """Measure a head on features [n, d] with labels int64 [n]."""
    probabilities = head.probabilities(features)
    truth = probabilities[np.arange(len(labels)), labels]
    return Judged(
        loss=float(-np.log(np.maximum(truth, 1e-7)).mean()),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        brier=float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).mean()),
    )


def folds(labels: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds in which each training part has every class that has two images or more.

    Returns:
        `count` pairs of positions: training, held out.
    """
    generator = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=np.int64)
    offset = 0
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        fold[members] = (np.arange(len(members)) + offset) % count
        offset += len(members)
    everything = np.arange(len(labels))
    return [(everything[fold != k], everything[fold == k]) for k in range(count)]


def _path(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalties: tuple[float, ...],
    weights: np.ndarray | None,
) -> Iterator[LinearHead]:
    """Heads for falling penalties, each started from the one before.

    With fewer images than features, the optimum lies in the span of the images (representer theorem),
    so the problem is solved in the coordinates of their singular vectors: exact, and many times faster.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), spread(features)
    standard = ((features - mean) / scale).astype(np.float32)
    rotation = None
    if standard.shape[0] < standard.shape[1]:
        rotation = decompose(standard.astype(np.float64))[2].T.astype(np.float32)
        standard = standard @ rotation
    present = np.unique(labels)
    solver = LogisticRegression(max_iter=200, tol=1e-3, warm_start=True)
    for penalty in penalties:
        solver.C = 1.0 / (penalty * len(labels))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(standard, labels, sample_weight=weights)
        coefficients, intercept = solver.coef_, solver.intercept_
        if len(present) == 2:  # scikit-learn keeps one row then: the logit of the second class
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercept = np.array([0.0, intercept[0]])
        inner = coefficients.T if rotation is None else rotation @ coefficients.T
        kernel = np.zeros((features.shape[1], classes))
        bias = np.full(classes, -30.0)  # a class without images is never predicted
        kernel[:, present] = inner / scale[:, None]
        bias[present] = intercept - mean @ kernel[:, present]
        yield LinearHead(kernel.astype(np.float32), bias.astype(np.float32), penalty)

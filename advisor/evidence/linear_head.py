"""The convex head: ridge regression to the one-hot labels, solved and judged in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Penalties to choose from, on standardised features that are divided by the square root of their number.
RIDGES = 10.0 ** np.arange(-5, 3.5, 0.5)
ROWS = 4096  # that are worked on at once, so that memory stays flat
NEVER = -1000.0  # the logit of a class without images


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier; standardisation and temperature are folded into its weights.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] from features [n, features]."""
        return softmax(self.logits(features))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] from features [n, features]; their softmax is the probabilities."""
        return features @ self.kernel + self.bias


@dataclass(frozen=True)
class Fitted:
    """A head, and what it says of each image that it was fitted to, had it not seen that one.

    Attributes:
        head: fitted to all images.
        held_out: its leave-one-out probabilities, float32 [n, classes].
    """

    head: LinearHead
    held_out: np.ndarray


def fit(features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Fitted:
    """Ridge regression to the one-hot labels; the penalty has the lowest squared leave-one-out error.

    With X the standardised features, centred, and X X' = U S^2 U', the prediction for image i from all images
    but itself has a closed form, y_i - (y_i - y_hat_i) / (1 - h_ii) with H = U S^2 (S^2 + r)^-1 U' + 1/n, so
    that one decomposition serves all images and all penalties r (Golub, Heath and Wahba, Technometrics 1979;
    cf. the few-shot evaluators of google-research/big_vision). The same predictions give the temperature
    that turns scores into probabilities. On pooled features it is more accurate than logistic regression, by
    benchmarks/heads.py.

    Args:
        features: float32 [n, d].
        labels: int64 [n] in 0..classes-1. A class without images is never predicted.
        classes: number of classes.
        weights: float64 [n] of the images, of mean 1; all equal if left out.
    """
    present, column = np.unique(labels, return_inverse=True)
    weights = np.ones(len(labels)) if weights is None else weights
    shares = weights / weights.sum()
    mean = shares.astype(np.float32) @ features
    scale = spread(features) * np.sqrt(features.shape[1])
    center = np.bincount(column, shares)
    parts = [slice(start, start + ROWS) for start in range(0, len(labels), ROWS)]

    def x(part: slice) -> np.ndarray:
        standard = ((features[part] - mean) / scale).astype(np.float64)
        return np.sqrt(weights[part])[:, None] * standard

    def y(part: slice) -> np.ndarray:
        return np.sqrt(weights[part])[:, None] * (np.eye(len(present))[column[part]] - center)

    squares, rotation = _principal(x, parts, features.shape)
    projected = rotation.T @ sum(x(part).T @ y(part) for part in parts)

    def missed(part: slice, ridges: np.ndarray) -> np.ndarray:
        """Leave-one-out residuals [ridges, b, classes] of some images."""
        z, targets = x(part) @ rotation, y(part)
        shrinkage = 1 / (squares + ridges[:, None])
        leverage = np.minimum(shrinkage @ (z**2).T + shares[part], 1 - 1e-6)
        fitted = np.stack([z @ (shrunk[:, None] * projected) for shrunk in shrinkage])
        return (targets - fitted) / (1 - leverage)[..., None]

    errors = sum((missed(part, RIDGES) ** 2).sum(axis=(1, 2)) for part in parts)
    best = RIDGES[[int(np.argmin(errors))]]
    residuals = np.concatenate([missed(part, best)[0] for part in parts])
    scores = np.eye(len(present))[column] - residuals / np.sqrt(weights)[:, None]
    factor = _temperature(scores, column, weights)
    kernel = np.zeros((features.shape[1], classes), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    kernel[:, present] = factor * (rotation @ (projected / (squares + best)[:, None])) / scale[:, None]
    bias[present] = factor * center - mean @ kernel[:, present]
    held_out = np.zeros((len(labels), classes), np.float32)
    held_out[:, present] = softmax(factor * scores)
    return Fitted(LinearHead(kernel, bias), held_out)


def _principal(
    x: Callable[[slice], np.ndarray], parts: list[slice], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values [r], over 0, and right singular vectors [d, r] of all rows of x together.

    By way of the smaller of the two Gram matrices, several times faster than a decomposition of x.
    """
    wide = shape[0] <= shape[1]
    everything = x(slice(None)) if wide else np.empty(0)
    gram = everything @ everything.T if wide else sum(x(part).T @ x(part) for part in parts)
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)
    squares, vectors = squares[kept], vectors[:, kept]
    return squares, everything.T @ vectors / np.sqrt(squares) if wide else vectors


def _temperature(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The factor of scores [n, classes] whose softmax has the lowest log-loss, by Newton's method.

    Half an image more than were seen counts as wrong, else the factor is infinite where all are right (cf.
    Platt, Probabilistic outputs for support vector machines, 1999).
    """
    classes, doubt = scores.shape[1], 0.5 / (len(labels) + 1)
    truth = np.full(scores.shape, doubt / max(classes - 1, 1))
    truth[np.arange(len(labels)), labels] = 1 - doubt
    aim = (truth * scores).sum(axis=1)
    factor = 1.0
    for _ in range(50):
        p = softmax(factor * scores)
        expected = (p * scores).sum(axis=1)
        slope = weights @ (expected - aim)
        curvature = weights @ ((p * scores**2).sum(axis=1) - expected**2)
        step = slope / max(curvature, 1e-12)
        factor = float(np.clip(factor - step, factor / 2, factor * 2))
        if abs(step) < 1e-3 * factor:
            break
    return factor


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] from logits [n, classes]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def spread(features: np.ndarray) -> np.ndarray:
    """By what features are divided: their standard deviation, but no less than its median over all.

    Features that hardly vary are left small. Blown up to unit variance they would do harm: as noise in
    the head, and in fine-tuning, where images are augmented and such features suddenly vary.

    Returns:
        [features], over 0.
    """
    deviation = features.std(axis=0)
    floor = np.median(deviation[deviation > 0]) if (deviation > 0).any() else 1.0
    return np.maximum(deviation, floor)


@dataclass(frozen=True)
class Judged:
    """How good probabilities are.

    Attributes:
        loss: mean log-loss in nats.
        accuracy: 0..1.
        brier: mean squared error of the probabilities, over images and classes (Brier, 1950), 0..1.
    """

    loss: float
    accuracy: float
    brier: float


def judge(probabilities: np.ndarray, labels: np.ndarray) -> Judged:
    """Measure probabilities [n, classes] of images with labels int64 [n]."""
    truth = probabilities[np.arange(len(labels)), labels]
    return Judged(
        loss=float(-np.log(np.maximum(truth, 1e-7)).mean()),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        brier=float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).mean()),
    )

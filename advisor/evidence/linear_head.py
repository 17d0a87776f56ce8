"""The convex head: ridge regression to the one-hot labels, solved and judged in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# Penalties to choose from, on standardised features that are divided by the square root of their number.
RIDGES = 10.0 ** np.arange(-5, 3.5, 0.5)
ROWS = COLUMNS = 4096  # that are worked on at once, so that memory stays flat
NEVER = -1000.0  # the logit of a class without images


@dataclass(frozen=True)
class HeadInput:
    """What a head sees of n images: parts side by side.

    Attributes:
        parts: each [n, its width]. Those in half precision are multiplied in single precision, the others in
            double precision.
        shares: of each part in the squared length of standardised features; they sum to 1.
    """

    parts: tuple[np.ndarray, ...]
    shares: tuple[float, ...] = (1.0,)

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def width(self) -> int:
        """Of all parts together."""
        return sum(part.shape[1] for part in self.parts)

    def take(self, rows: np.ndarray) -> HeadInput:
        """Some of the images, int64 [m] of the n."""
        return HeadInput(tuple(part[rows] for part in self.parts), self.shares)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The columns from left to right, a few at a time: where they stand, and [n, b] float32."""
        left = 0
        for part in self.parts:
            for start in range(0, part.shape[1], COLUMNS):
                block = part[:, start : start + COLUMNS]
                yield slice(left + start, left + start + block.shape[1]), block.astype(np.float32, copy=False)
            left += part.shape[1]

    def dense(self) -> np.ndarray:
        """All of it, float32 [n, width]."""
        whole = [part.astype(np.float32, copy=False) for part in self.parts]
        return whole[0] if len(whole) == 1 else np.concatenate(whole, axis=1)


def as_input(features: np.ndarray | HeadInput) -> HeadInput:
    """Features [n, d] as one part."""
    return features if isinstance(features, HeadInput) else HeadInput((features,))


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier; standardisation and temperature are folded into its weights.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray | HeadInput) -> np.ndarray:
        """float32 [n, classes] from what it sees of n images."""
        return softmax(self.logits(features))

    def logits(self, features: np.ndarray | HeadInput) -> np.ndarray:
        """float32 [n, classes] from what it sees of n images; their softmax is the probabilities."""
        return sum(block @ self.kernel[at] for at, block in as_input(features).blocks()) + self.bias


@dataclass(frozen=True)
class Fitted:
    """A head, and what it says of each image that it was fitted to, had it not seen that one.

    Attributes:
        head: fitted to all images.
        held_out: its leave-one-out probabilities, float32 [n, classes].
    """

    head: LinearHead
    held_out: np.ndarray


def fit(
    features: np.ndarray | HeadInput,
    labels: np.ndarray,
    classes: int,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Fitted:
    """Ridge regression to the one-hot labels; the penalty has the lowest squared leave-one-out error.

    With X the standardised features, centred, and X X' = U S^2 U', the prediction for image i from all images
    but itself has a closed form, y_i - (y_i - y_hat_i) / (1 - h_ii) with H = U S^2 (S^2 + r)^-1 U' + 1/n, so
    that one decomposition serves all images and all penalties r (Golub, Heath and Wahba, Technometrics 1979;
    cf. the few-shot evaluators of google-research/big_vision). The same predictions give the temperature
    that turns scores into probabilities. On pooled features it is more accurate than logistic regression, by
    benchmarks/heads.py. Of images that belong together all are left out at once: for a group g the division
    is by the matrix I - H_gg.

    Args:
        features: what the head sees of n images.
        labels: int64 [n] in 0..classes-1. A class without images is never predicted.
        classes: number of classes.
        weights: float64 [n] of the images, of mean 1; all equal if left out.
        groups: int64 [n], equal for images that belong together; each stands alone if left out.
    """
    seen = as_input(features)
    weights = np.ones(len(labels)) if weights is None else weights
    mean, scale = _standard(seen, weights)
    solve = _solve_wide if len(seen) <= seen.width else _solve_tall
    solved, direction = solve(seen, mean, scale, _Targets.of(labels, weights, groups))
    kernel = np.zeros((seen.width, classes), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    kernel[:, solved.present] = solved.factor * direction / scale[:, None]
    bias[solved.present] = solved.factor * solved.center - mean @ kernel[:, solved.present]
    return Fitted(LinearHead(kernel, bias), solved.held_out(classes))


class Products:
    """The inner products of the standardised features of n images: all that heads on some of them need.

    The features are standardised by all images; a head that is fitted to some of them alone centres them
    anew, but keeps their scale.

    Attributes:
        values: float64 [n, n].
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @staticmethod
    def of(features: np.ndarray | HeadInput) -> Products:
        """The inner products of what a head sees of n images."""
        seen = as_input(features)
        return Products(_products(seen, *_standard(seen, np.ones(len(seen)))))

    def beside(self, other: Products, share: float) -> Products:
        """Those of both side by side, where the first has some share and the other one the rest."""
        return Products(share * self.values + (1 - share) * other.values)

    def held_out(self, labels: np.ndarray, classes: int, groups: np.ndarray | None = None) -> np.ndarray:
        """What `Fitted.held_out` is, of a head on all images."""
        targets = _Targets.of(labels, np.ones(len(labels)), groups)
        return _solve_dual(self.values, targets)[0].held_out(classes)

    def probabilities(
        self,
        part: np.ndarray,
        rest: np.ndarray,
        labels: np.ndarray,
        classes: int,
        groups: np.ndarray | None = None,
    ) -> np.ndarray:
        """What a head that is fitted to some images says of others.

        Args:
            part: int64 [m], the images that it is fitted to.
            rest: int64 [k], the others.
            labels: int64 [m], of the former.
            classes: number of classes.
            groups: int64 [m], of the former, see `fit`.

        Returns:
            float64 [k, classes].
        """
        own, across = self.values[np.ix_(part, part)], self.values[np.ix_(rest, part)]
        solved, dual = _solve_dual(own, _Targets.of(labels, np.ones(len(labels)), groups))
        # The weights sum to 0, so that centring the other images would change nothing.
        scores = (across - own.mean(axis=1)) @ dual
        logits = np.full((len(rest), classes), NEVER)
        logits[:, solved.present] = solved.factor * (scores + solved.center)
        return softmax(logits)


@dataclass(frozen=True)
class _Targets:
    """What a head is fitted to.

    Attributes:
        present: the classes that have images, int64 [c].
        column: of each image, which of them it is, int64 [n].
        roots: square roots of the weights of the images, float64 [n].
        shares: the same weights, with sum 1.
        center: the share of each class, float64 [c].
        together: images that are left out at once, int64 [m] each; the others one by one.
    """

    present: np.ndarray
    column: np.ndarray
    roots: np.ndarray
    shares: np.ndarray
    center: np.ndarray
    together: tuple[np.ndarray, ...]

    @staticmethod
    def of(labels: np.ndarray, weights: np.ndarray, groups: np.ndarray | None = None) -> _Targets:
        present, column = np.unique(labels, return_inverse=True)
        shares = weights / weights.sum()
        together = () if groups is None else _together(groups)
        return _Targets(present, column, np.sqrt(weights), shares, np.bincount(column, shares), together)

    def alone(self) -> list[np.ndarray]:
        """Images that are left out one by one, a few at a time."""
        alone = np.ones(len(self.column), bool)
        for rows in self.together:
            alone[rows] = False
        images = np.flatnonzero(alone)
        return [images[rows] for rows in _rows(len(images))]

    def part(self, rows: slice | np.ndarray) -> np.ndarray:
        """One-hot labels of some images, centred and weighted, float64 [b, c]."""
        return self.roots[rows, None] * (np.eye(len(self.present))[self.column[rows]] - self.center)


@dataclass(frozen=True)
class _Solved:
    """A solved regression.

    Attributes:
        present: the classes that have images, int64 [c].
        center: the share of each class, float64 [c].
        factor: what scores are multiplied by to make logits.
        scores: of each image by a head that has not seen it, float64 [n, c].
    """

    present: np.ndarray
    center: np.ndarray
    factor: float
    scores: np.ndarray

    def held_out(self, classes: int) -> np.ndarray:
        """Leave-one-out probabilities, float32 [n, classes]."""
        whole = np.zeros((len(self.scores), classes), np.float32)
        whole[:, self.present] = softmax(self.factor * self.scores)
        return whole


def _standard(seen: HeadInput, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is taken off each feature, and what it is divided by then, float32 [width] each."""
    shares = (weights / weights.sum()).astype(np.float32)
    found = [(shares @ block, block.std(axis=0)) for _, block in seen.blocks()]
    mean, deviation = (np.concatenate(each) for each in zip(*found, strict=True))
    borders = np.cumsum([part.shape[1] for part in seen.parts])[:-1]
    scales = [
        floored(each) * np.float32(np.sqrt(len(each) / share))
        for each, share in zip(np.split(deviation, borders), seen.shares, strict=True)
    ]
    return mean, np.concatenate(scales)


def _products(seen: HeadInput, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Inner products of the standardised features of each two images, float64 [n, n]."""
    products = np.zeros((len(seen), len(seen)))
    half = np.concatenate([np.full(part.shape[1], part.dtype == np.float16) for part in seen.parts])
    for at, block in seen.blocks():
        standard = block - mean[at]
        standard /= scale[at]
        standard = standard.astype(np.float32 if half[at][0] else np.float64, copy=False)
        products += standard @ standard.T
    return products


def _solve_wide(
    seen: HeadInput, mean: np.ndarray, scale: np.ndarray, targets: _Targets
) -> tuple[_Solved, np.ndarray]:
    """By the inner products of n images of no fewer features; also the weights of features [width, c]."""
    solved, dual = _solve_dual(_products(seen, mean, scale), targets)
    dual = dual.astype(np.float32)
    blocks = [((block - mean[at]) / scale[at]).T @ dual for at, block in seen.blocks()]
    return solved, np.concatenate(blocks)


def _solve_dual(products: np.ndarray, targets: _Targets) -> tuple[_Solved, np.ndarray]:
    """From inner products [n, n] of features, centred or not, to weights of images, float64 [n, c]."""
    mean = products @ targets.shares
    centred = products - mean - (mean - targets.shares @ mean)[:, None]
    squares, vectors = _principal(targets.roots[:, None] * centred * targets.roots)
    lengths = np.sqrt(squares)
    coordinates = vectors * lengths
    solved, inner = _ridge(squares, lambda rows: coordinates[rows], targets)
    return solved, targets.roots[:, None] * (vectors @ (inner / lengths[:, None]))


def _solve_tall(
    seen: HeadInput, mean: np.ndarray, scale: np.ndarray, targets: _Targets
) -> tuple[_Solved, np.ndarray]:
    """By the covariance of fewer features than images; also the weights of features [width, c]."""
    values = seen.dense()

    def standard(rows: slice | np.ndarray) -> np.ndarray:
        return targets.roots[rows, None] * ((values[rows] - mean) / scale).astype(np.float64)

    squares, rotation = _principal(sum(standard(rows).T @ standard(rows) for rows in _rows(len(seen))))
    solved, inner = _ridge(squares, lambda rows: standard(rows) @ rotation, targets)
    return solved, rotation @ inner


def _principal(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [r], over 0, and eigenvectors [m, r] of a Gram matrix [m, m]."""
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)
    return squares[kept], vectors[:, kept]


def _ridge(
    squares: np.ndarray, coordinates: Callable[[slice | np.ndarray], np.ndarray], targets: _Targets
) -> tuple[_Solved, np.ndarray]:
    """Choose the penalty and solve.

    Args:
        squares: squared singular values [r] of the weighted features, over 0.
        coordinates: of some images along the singular vectors, float64 [b, r].
        targets: what to fit.

    Returns:
        What is solved, and its weights of the coordinates, float64 [r, c].
    """
    parts = _rows(len(targets.column))
    projected = sum(coordinates(rows).T @ targets.part(rows) for rows in parts)

    def missed(rows: np.ndarray, ridges: np.ndarray, together: bool) -> np.ndarray:
        """Residuals [ridges, b, c] of some images that are left out, one by one or all at once."""
        z, aims = coordinates(rows), targets.part(rows)
        shrinkage = 1 / (squares + ridges[:, None])
        fitted = np.stack([z @ (shrunk[:, None] * projected) for shrunk in shrinkage])
        if together:  # one penalty after the other, for a group may be large
            center = np.sqrt(np.outer(targets.shares[rows], targets.shares[rows]))
            known = (1 + 1e-6) * np.eye(len(rows)) - center
            hats = (z @ (shrunk[:, None] * z.T) for shrunk in shrinkage)
            return np.stack(
                [np.linalg.solve(known - hat, aims - own) for hat, own in zip(hats, fitted, strict=True)]
            )
        leverage = np.minimum(shrinkage @ (z**2).T + targets.shares[rows], 1 - 1e-6)
        return (aims - fitted) / (1 - leverage)[..., None]

    left_out = [(rows, False) for rows in targets.alone()] + [(rows, True) for rows in targets.together]
    errors = sum((missed(rows, RIDGES, together) ** 2).sum(axis=(1, 2)) for rows, together in left_out)
    best = RIDGES[[int(np.argmin(errors))]]
    residuals = np.empty((len(targets.column), len(targets.present)))
    for rows, together in left_out:
        residuals[rows] = missed(rows, best, together)[0]
    scores = np.eye(len(targets.present))[targets.column] - residuals / targets.roots[:, None]
    factor = _temperature(scores, targets.column, targets.roots**2)
    solved = _Solved(targets.present, targets.center, factor, scores)
    return solved, projected / (squares + best)[:, None]


def _together(groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """The images of each group of several, int64 [m] each."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return tuple(part for part in parts if len(part) > 1)


def _rows(count: int) -> list[slice]:
    """All of `count` rows, a few at a time."""
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]


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
    return floored(features.std(axis=0))


def floored(deviation: np.ndarray) -> np.ndarray:
    """Standard deviations [features] of at least their median, as `spread` has them."""
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

"""The convex head: ridge regression to the one-hot labels, solved and judged in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advisor.evidence.gaussian import Gaussian
from advisor.evidence.head_input import HeadInput, as_input, in_turn
from advisor.evidence.spread import floored

# Penalties to choose from, on standardised features that are divided by the square root of their number.
RIDGES = 10.0 ** np.arange(-5, 3.5, 0.5)
NEVER = -1000.0  # the logit of a class without images


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier; standardisation and temperature are folded into its weights.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
        gaussian: the kernel whose likenesses are among the features, if there are any.
    """

    kernel: np.ndarray
    bias: np.ndarray
    gaussian: Gaussian | None = None

    @property
    def size(self) -> int:
        """How many numbers it holds, those of its kernel included."""
        return self.kernel.size + self.bias.size + (self.gaussian.size if self.gaussian else 0)

    def probabilities(self, features: np.ndarray | HeadInput) -> np.ndarray:
        """float32 [n, classes] from what it sees of n images."""
        return softmax(self.logits(features))

    def logits(self, features: np.ndarray | HeadInput) -> np.ndarray:
        """float32 [n, classes] from what it sees of n images; their softmax is the probabilities."""
        seen = as_input(features)
        told = np.empty((len(seen), len(self.bias)), np.float32)
        for rows, block in seen.by_images():
            told[rows] = block @ self.kernel + self.bias
        return told


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
    that turns scores into probabilities. Of more images than features, a few are read at a time, twice: first
    for sums that the solution needs, then for what it says of each. On pooled features it is more accurate
    than logistic regression, by benchmarks/heads.py. Of images that belong together all are left out at once:
    for a group g the division is by the matrix I - H_gg.

    Where likenesses to the images are among the features, their inner product is the Gaussian kernel itself,
    and the weights of the likenesses are those of the images.

    Args:
        features: what the head sees of n images.
        labels: int64 [n] in 0..classes-1. A class without images is never predicted.
        classes: number of classes.
        weights: float64 [n] of the images, of mean 1; all equal if left out.
        groups: int64 [n], equal for images that belong together; each stands alone if left out.
    """
    seen = as_input(features)
    weights = np.ones(len(labels)) if weights is None else weights
    solve = _solve_wide if len(seen) <= seen.width else _solve_tall
    solved, direction, mean, scale = solve(seen, _Targets.of(labels, weights, groups))
    kernel = np.zeros((seen.width, classes), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    kernel[:, solved.present] = solved.factor * direction / scale[:, None]
    bias[solved.present] = solved.factor * solved.center - mean @ kernel[:, solved.present]
    gaussian = next((part.gaussian for _, part, _ in seen.likenesses()), None)
    return Fitted(LinearHead(kernel, bias, gaussian), solved.held_out(classes))


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
        return Products(_products(seen, *_standard(seen, np.full(len(seen), 1 / len(seen)))))

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
        return [images[rows] for rows in in_turn(len(images))]

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


def _standard(seen: HeadInput, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is taken off each feature of few images, and what it is divided by then, float32 [width] each."""
    shares = shares.astype(np.float32)
    mean, deviation = np.zeros(seen.width, np.float32), np.ones(seen.width, np.float32)
    for at, block in seen.by_columns():
        mean[at], deviation[at] = shares @ block, block.std(axis=0)
    for at, likeness, _ in seen.likenesses():
        mean[at] = shares @ likeness[:]
    return mean, _scale(seen, deviation)


def _scale(seen: HeadInput, deviation: np.ndarray) -> np.ndarray:
    """What features are divided by, float32 [width], from their standard deviations; likenesses by 1."""
    borders = np.cumsum(seen.widths)[:-1]
    scales = [
        floored(each) * np.sqrt(len(each) / share)
        for each, share in zip(np.split(deviation, borders), seen.shares, strict=True)
    ]
    scale = np.concatenate(scales).astype(np.float32)
    for at, _, _ in seen.likenesses():
        scale[at] = 1
    return scale


def _products(seen: HeadInput, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Inner products of the standardised features of each two images, float64 [n, n]."""
    products = np.zeros((len(seen), len(seen)))
    half = np.concatenate([np.full(part.shape[1], part.dtype == np.float16) for part in seen.parts])
    for at, block in seen.by_columns():
        standard = block - mean[at]
        standard /= scale[at]
        standard = standard.astype(np.float32 if half[at][0] else np.float64, copy=False)
        products += standard @ standard.T
    for _, likeness, share in seen.likenesses():
        products += share * likeness.between()
    return products


def _solve_wide(seen: HeadInput, targets: _Targets) -> tuple[_Solved, np.ndarray, np.ndarray, np.ndarray]:
    """By the inner products of n images of no fewer features.

    Returns:
        What is solved, its weights of the standardised features [width, c], and how they are standardised:
        what is taken off them and what they are divided by, float32 [width] each.
    """
    mean, scale = _standard(seen, targets.shares)
    solved, dual = _solve_dual(_products(seen, mean, scale), targets)
    dual = dual.astype(np.float32)
    direction = np.zeros((seen.width, dual.shape[1]), np.float32)
    for at, block in seen.by_columns():
        direction[at] = ((block - mean[at]) / scale[at]).T @ dual
    for at, likeness, share in seen.likenesses():
        direction[at] = likeness.weights(share * dual)
    return solved, direction, mean, scale


def _solve_dual(products: np.ndarray, targets: _Targets) -> tuple[_Solved, np.ndarray]:
    """From inner products [n, n] of features, centred or not, to weights of images, float64 [n, c]."""
    mean = products @ targets.shares
    centred = products - mean - (mean - targets.shares @ mean)[:, None]
    squares, vectors = _principal(targets.roots[:, None] * centred * targets.roots)
    lengths = np.sqrt(squares)
    coordinates = vectors * lengths
    projected = coordinates.T @ targets.part(slice(None))
    basis = _Basis(squares, projected, lambda rows: coordinates[rows], lambda rows, w: coordinates[rows] @ w)
    solved, inner = _ridge(basis, targets)
    return solved, targets.roots[:, None] * (vectors @ (inner / lengths[:, None]))


def _solve_tall(seen: HeadInput, targets: _Targets) -> tuple[_Solved, np.ndarray, np.ndarray, np.ndarray]:
    """By the covariance of fewer features than images; gives what `_solve_wide` gives."""
    moments = _Moments.of(seen, targets)
    mean, scale = moments.mean.astype(np.float32), _scale(seen, moments.deviation)
    squares, rotation = _principal(moments.products(mean, scale))

    def standard(rows: slice | np.ndarray) -> np.ndarray:
        return targets.roots[rows, None].astype(np.float32) * ((seen.read(rows) - mean) / scale)

    basis = _Basis(
        squares,
        rotation.T @ moments.aims(mean, scale, targets.center),
        lambda rows: standard(rows) @ rotation.astype(np.float32),
        lambda rows, weights: standard(rows) @ (rotation @ weights),
    )
    solved, inner = _ridge(basis, targets)
    return solved, rotation @ inner, mean, scale


@dataclass(frozen=True)
class _Moments:
    """Sums over images: all that the solution of a head needs.

    Attributes:
        weight: of the images, their sum.
        first: float64 [3, d], sums of each feature: by weight, and of itself and of its square without.
        second: float64 [d, d], of the weighted products of each two features.
        with_classes: float64 [d, c], of the weighted features of each class.
        images: how many.
    """

    weight: float
    first: np.ndarray
    second: np.ndarray
    with_classes: np.ndarray
    images: int

    @staticmethod
    def of(seen: HeadInput, targets: _Targets) -> _Moments:
        """Of all images, a few of which are read at a time."""
        width, classes = seen.width, len(targets.present)
        first, second = np.zeros((3, width)), np.zeros((width, width))
        with_classes = np.zeros((width, classes))
        for rows, block in seen.by_images():
            values, roots = block.astype(np.float64), targets.roots[rows]
            first += roots**2 @ values, values.sum(axis=0), (values**2).sum(axis=0)
            values *= roots[:, None]
            second += values.T @ values
            with_classes += values.T @ (roots[:, None] * np.eye(classes)[targets.column[rows]])
        return _Moments(float((targets.roots**2).sum()), first, second, with_classes, len(seen))

    @property
    def mean(self) -> np.ndarray:
        """Of each feature, by weight, float64 [d]."""
        return self.first[0] / self.weight

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each feature, float64 [d]; 0 where it is lost in rounding."""
        mean, square = self.first[1:] / self.images
        variance = square - mean**2
        return np.sqrt(np.where(variance > 1e-12 * square, variance, 0))

    def products(self, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Of the standardised features, float64 [d, d]."""
        mean, scale = mean.astype(np.float64), scale.astype(np.float64)
        cross = np.outer(self.first[0], mean)
        centred = self.second - cross - cross.T + self.weight * np.outer(mean, mean)
        return centred / scale[:, None] / scale

    def aims(self, mean: np.ndarray, scale: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Of the standardised features and the centred labels, float64 [d, c].

        Args:
            mean: that is taken off the features.
            scale: by which they are divided then.
            center: the share of each class, float64 [c].
        """
        apart = self.with_classes - np.outer(self.first[0], center)
        return apart / scale[:, None].astype(np.float64)


def _principal(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [r], over 0, and eigenvectors [m, r] of a Gram matrix [m, m]."""
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)
    return squares[kept], vectors[:, kept]


@dataclass(frozen=True)
class _Basis:
    """Weighted features along their singular vectors.

    Attributes:
        squares: squared singular values [r], over 0.
        projected: of what is to be fitted, float64 [r, c].
        coordinates: of some images along the singular vectors, [b, r].
        predicted: what weights [r, c] of the coordinates say of some images, [b, c].
    """

    squares: np.ndarray
    projected: np.ndarray
    coordinates: Callable[[np.ndarray], np.ndarray]
    predicted: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def weights(self, ridge: float) -> np.ndarray:
        """Of the coordinates by a head with this penalty, float64 [r, c]."""
        return self.projected / (self.squares + ridge)[:, None]


def _ridge(basis: _Basis, targets: _Targets) -> tuple[_Solved, np.ndarray]:
    """Choose the penalty and solve.

    Returns:
        What is solved, and its weights of the coordinates, float64 [r, c].
    """
    shrinkage = 1 / (basis.squares + RIDGES[:, None])
    kept = np.empty(
        (len(RIDGES), len(targets.column)), np.float32
    )  # of leverages 1 - h, so that they keep it
    errors = np.zeros(len(RIDGES))
    for rows in targets.alone():
        z, aims = basis.coordinates(rows).astype(np.float64), targets.part(rows)
        kept[:, rows] = 1 - np.minimum(shrinkage @ (z**2).T + targets.shares[rows], 1 - 1e-6)
        for n, ridge in enumerate(RIDGES):
            missed = (aims - z @ basis.weights(ridge)) / kept[n, rows][:, None]
            errors[n] += (missed**2).sum()
    for rows in targets.together:
        together = _Together(basis, targets, rows)
        errors += [(together.missed(ridge) ** 2).sum() for ridge in RIDGES]
    best = int(np.argmin(errors))
    weights, residuals = basis.weights(RIDGES[best]), np.empty((len(targets.column), len(targets.present)))
    for rows in targets.alone():
        apart = targets.part(rows) - basis.predicted(rows, weights)
        residuals[rows] = apart / kept[best, rows][:, None]
    for rows in targets.together:
        residuals[rows] = _Together(basis, targets, rows).missed(RIDGES[best])
    scores = np.eye(len(targets.present))[targets.column] - residuals / targets.roots[:, None]
    factor = _temperature(scores, targets.column, targets.roots**2)
    return _Solved(targets.present, targets.center, factor, scores), weights


class _Together:
    """Images, int64 [b], that are left out all at once."""

    def __init__(self, basis: _Basis, targets: _Targets, rows: np.ndarray) -> None:
        self._basis, self._aims = basis, targets.part(rows)
        self._coordinates = basis.coordinates(rows).astype(np.float64)
        center = np.sqrt(np.outer(targets.shares[rows], targets.shares[rows]))
        self._known = (1 + 1e-6) * np.eye(len(rows)) - center

    def missed(self, ridge: float) -> np.ndarray:
        """Residuals [b, c] with this penalty."""
        z = self._coordinates
        unseen = self._known - z / (self._basis.squares + ridge) @ z.T
        return np.linalg.solve(unseen, self._aims - z @ self._basis.weights(ridge))


def _together(groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """The images of each group of several, int64 [m] each."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return tuple(part for part in parts if len(part) > 1)


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

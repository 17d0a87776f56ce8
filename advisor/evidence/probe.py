"""What frozen features can do, measured before anything is trained.

Linear probes at every tap tell which depth knows most, probes on the cells of the picture whether it matters
where things stand; probes at growing numbers of images tell what a frozen model will reach and whether more
images would help. A probe is the very head that a frozen recipe would solve, judged by leave-one-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from advisor.data.sampling import sample, sample_of_groups
from advisor.evidence import linear_head
from advisor.evidence.features import Features
from advisor.evidence.gaussian import GAUSSIAN, LINEAR, SHARE, Gaussian
from advisor.evidence.head_input import HeadInput, Likeness
from advisor.evidence.linear_head import Products
from advisor.evidence.pooling import AVERAGE, MOST_IMAGES
from advisor.evidence.signed_root import signed_root
from advisor.system.solvers import solvers

ALL_TAPS = "all taps"
CURVE_SHARES, CURVE_REPEATS = (0.125, 0.25, 0.5), 3
# Share of the learning curve's exponent that holds beyond it: with all of it, frozen flowers, garments, small
# photographs and blood cells were expected 1.6 points over what they reached with 3 to 5 times the images,
# with half of it 0.0 (128 px, three seeds; by a script that is not kept). What holds today is measured by
# benchmarks/frozen.py.
BEYOND = 0.5
FARTHEST = 100  # times the images: nobody knows whether a law holds as far as that
# By how much the leave-one-out log-loss, summed over the images, has to be lower with cells before they are
# taken: the fewer images there are, the more this counts. With it no task of 42 lost accuracy on all depths
# at 128 px, without it one lost 2.2 points (benchmarks/position.py).
BELIEF_IN_THE_WHOLE = 4.0
# The same for the Gaussian kernel (benchmarks/kernel.py).
BELIEF_IN_STRAIGHT = 4.0
NINETY = 1.645  # standard errors either way hold 90 % of a normal distribution
MOST_PROBED = 3_000  # images of the sample, of each two of which heads need the inner product


@dataclass(frozen=True)
class DepthProbe:
    """Leave-one-out accuracy of a linear probe on one tap, or on all taps together.

    Attributes:
        tap: the layer, or `ALL_TAPS`.
        accuracy: 0..1, on images that the probe was not fitted to.
    """

    tap: str
    accuracy: float


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy of a linear probe that was fitted to `images` images, on others."""

    images: int
    accuracy: float


@dataclass(frozen=True)
class Expected:
    """What a frozen recipe will reach, foretold from probes.

    Attributes:
        curve: accuracy of a probe on the features of the recipe, by the images it was fitted to.
        accuracy: that the recipe will reach, once its head has seen all images but those of the test split,
            0..1.
        interval: 90 % interval for the accuracy that it will show on the test split.
        gain_at_double: accuracy that twice the images would add, 0..1.
        balanced: leave-one-out accuracy as the mean over the classes, whatever their sizes, 0..1.
        log_loss: of leave-one-out, in nats, the mean over the images.
    """

    curve: tuple[CurvePoint, ...]
    accuracy: float
    interval: tuple[float, float]
    gain_at_double: float
    balanced: float
    log_loss: float


@dataclass(frozen=True)
class Position:
    """Whether it matters where things stand in the picture.

    Attributes:
        pooling: what a frozen recipe takes, one of `advisor.evidence.pooling.POOLINGS`.
        width: features that the head sees.
        tried: what was compared with the whole picture alone; None where there are no cells.
        gain: accuracy of the cells over the whole picture alone, -1..1.
        error: the standard error of this difference, both judged on the same images.
        loss: of the cells less that of the whole picture, log-losses in nats, summed over the images.
    """

    pooling: str
    width: int
    tried: str | None = None
    gain: float = 0.0
    error: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Kernel:
    """Whether borders between classes are better curved than straight.

    Attributes:
        kernel: what a frozen recipe takes, one of `advisor.evidence.gaussian.KERNELS`.
        tried: whether the Gaussian one was compared with the linear one.
        gain: accuracy of the Gaussian one over the linear one, -1..1.
        error: the standard error of this difference, both judged on the same images.
        loss: of the Gaussian one less that of the linear one, log-losses in nats, summed over the images.
    """

    kernel: str = LINEAR
    tried: bool = False
    gain: float = 0.0
    error: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Probes:
    """What linear probes found.

    Attributes:
        by_depth: from the shallowest tap to the deepest, each averaged over the whole picture.
        together: on all taps together, as its recipe takes them.
        gain_of_all_depths: accuracy that all taps together have over the last one, -1..1, and the standard
            error of this difference, both as their recipes take them and judged on the same images.
        expected: by frozen recipe: "feature_extraction" is the last tap alone, "shallow_features" all of them
            together.
        position: by frozen recipe, what it takes of the picture.
        kernel: by frozen recipe, what its head measures likeness by.
        widths: features at each tap, averaged over the whole picture.
        rows: int64 [m], which images of the sample were probed; None where the probes were read from a file.
        held_out: leave-one-out probabilities of the better frozen recipe, float32 [m, classes], or None.
    """

    by_depth: tuple[DepthProbe, ...]
    together: DepthProbe
    gain_of_all_depths: tuple[float, float]
    expected: Mapping[str, Expected]
    position: Mapping[str, Position]
    kernel: Mapping[str, Kernel]
    widths: Mapping[str, int]
    rows: np.ndarray | None = field(default=None, compare=False, repr=False)
    held_out: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def last_layer(self) -> DepthProbe:
        """The probe on the deepest tap."""
        return self.by_depth[-1]

    @property
    def best_cut(self) -> DepthProbe:
        """The best probe on one tap; the shallowest of several that are equally good."""
        return max(self.by_depth, key=lambda probe: probe.accuracy)


def gather(
    features: Features,
    pooling: str,
    labels: np.ndarray,
    classes: int,
    fitted_images: int,
    test_images: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> Probes:
    """Everything that the features of a sample say.

    Args:
        features: of the sample, which holds no test images: what they say chooses the model. Those of
            `MOST_PROBED` images are looked at.
        pooling: of the cells that the features have.
        labels: int64 [n], its labels.
        classes: number of classes.
        fitted_images: how many images a frozen model will be fitted to.
        test_images: size of the test split that it will be judged on.
        seed: of the learning curves' samples.
        groups: int64 [n], equal for images that belong together, which are left out at once.
    """
    rows = np.arange(len(labels))
    if len(labels) > MOST_PROBED:
        rows = sample(labels, MOST_PROBED, seed)
        features, labels = features.take(rows), labels[rows]
        groups = None if groups is None else groups[rows]
    truth = _Truth(labels, classes, groups)
    with solvers(len(labels)) as at_once:
        whole_asked, last_asked = (  # the one that takes longest first
            at_once.submit(_look, features, taps, pooling, truth, fitted_images <= MOST_IMAGES)
            for taps in (features.taps, features.taps[-1:])
        )
        averages = [features.at(tap) for tap in features.taps[:-1]]
        by_depth = list(at_once.map(lambda values: _leave_one_out(values, truth), averages))
        recipes = {"feature_extraction": last_asked.result(), "shallow_features": whole_asked.result()}
        curves = at_once.map(lambda view: _curve(view, truth, seed), recipes.values())
        expected = {
            recipe: _expect(curve, recipes[recipe], labels, fitted_images, test_images)
            for recipe, curve in zip(recipes, curves, strict=True)
        }
    last, whole = recipes.values()
    difference = whole.right.astype(float) - last.right
    probed = [*by_depth, last.accuracy_of_the_whole]
    return Probes(
        by_depth=tuple(map(DepthProbe, features.taps, probed)),
        together=DepthProbe(ALL_TAPS, float(whole.right.mean())),
        gain_of_all_depths=(float(difference.mean()), standard_error(difference)),
        expected=expected,
        position={recipe: view.position for recipe, view in recipes.items()},
        kernel={recipe: view.kernel for recipe, view in recipes.items()},
        widths=dict(zip(features.taps, features.widths, strict=True)),
        rows=rows,
        held_out=max(last, whole, key=lambda view: view.right.mean()).held_out,
    )


@dataclass(frozen=True)
class _Truth:
    """What probes are judged by.

    Attributes:
        labels: int64 [n].
        classes: number of classes.
        groups: int64 [n], equal for images that are left out at once; None where each stands alone.
    """

    labels: np.ndarray
    classes: int
    groups: np.ndarray | None


def _leave_one_out(averages: np.ndarray, truth: _Truth) -> float:
    """Accuracy of a probe on averages [n, d] at one tap."""
    fitted = linear_head.fit(signed_root(averages), truth.labels, truth.classes, groups=truth.groups)
    return float((fitted.held_out.argmax(axis=1) == truth.labels).mean())


@dataclass(frozen=True)
class _View:
    """What the head of a frozen recipe sees.

    Attributes:
        position: of the picture.
        kernel: of the head.
        products: of n images.
        held_out: their leave-one-out probabilities, float32 [n, classes].
        right: which of them leave-one-out gets right, bool [n].
        loss: log-loss of leave-one-out in nats, summed over the images.
        accuracy_of_the_whole: of leave-one-out on the whole picture alone, 0..1.
    """

    position: Position
    kernel: Kernel
    products: Products
    held_out: np.ndarray
    right: np.ndarray
    loss: float
    accuracy_of_the_whole: float

    @staticmethod
    def of(products: Products, truth: _Truth, position: Position) -> _View:
        """A head with these inner products; without cells it is the one on the whole picture alone."""
        held_out = products.held_out(truth.labels, truth.classes, truth.groups)
        loss = len(truth.labels) * linear_head.judge(held_out, truth.labels).loss
        right = held_out.argmax(axis=1) == truth.labels
        return _View(position, Kernel(), products, held_out, right, loss, float(right.mean()))

    def over(self, simpler: _View) -> tuple[float, float, float]:
        """What it has over a simpler view: accuracy, the standard error of that, and log-loss."""
        difference = self.right.astype(float) - simpler.right
        return float(difference.mean()), standard_error(difference), float(self.loss - simpler.loss)


def _look(features: Features, taps: tuple[str, ...], pooling: str, truth: _Truth, curved: bool) -> _View:
    """Probe some taps with and without cells, then with and without a Gaussian kernel if `curved`, and keep
    what is better."""
    whole = features.whole_picture(taps)
    view = _View.of(Products.of(whole), truth, Position(AVERAGE, whole.width))
    if features.has_cells(taps):
        both = features.with_cells(taps)
        products = view.products.beside(Products.of(HeadInput(both.parts[1:])), both.shares[0])
        seen = _View.of(products, truth, Position(pooling, both.width))
        position = Position(pooling, both.width, pooling, *seen.over(view))
        if position.loss < -BELIEF_IN_THE_WHOLE:
            view = replace(seen, position=position, accuracy_of_the_whole=view.accuracy_of_the_whole)
        else:
            view = replace(view, position=replace(position, pooling=AVERAGE, width=whole.width))
    if curved:
        roots = whole.parts[0][:]
        near = Products(Likeness(roots, Gaussian.of(roots), np.arange(len(roots))).between())
        seen = _View.of(view.products.beside(near, 1 - SHARE), truth, view.position)
        kernel = Kernel(GAUSSIAN, True, *seen.over(view))
        if kernel.loss < -BELIEF_IN_STRAIGHT:
            view = replace(seen, kernel=kernel, accuracy_of_the_whole=view.accuracy_of_the_whole)
        else:
            view = replace(view, kernel=replace(kernel, kernel=LINEAR))
    return view


def standard_error(difference: np.ndarray) -> float:
    """Of the mean of differences [n]."""
    return float(difference.std() / np.sqrt(len(difference)))


def _curve(view: _View, truth: _Truth, seed: int) -> tuple[CurvePoint, ...]:
    """Accuracy of a linear probe by the number of images that it was fitted to.

    Smaller numbers are stratified samples, judged on all other images, and left out where they hold less
    than two images of each class, but for the largest; the last point is the leave-one-out accuracy of a
    probe of the same features on all images.
    """
    labels, classes, points = truth.labels, truth.classes, []
    for share in CURVE_SHARES:
        size = int(share * len(labels))
        if size < 2 * classes and share < CURVE_SHARES[-1]:
            continue
        accuracies = []
        for repeat in range(CURVE_REPEATS):
            part = sample_of_groups(labels, truth.groups, size, seed + 1 + repeat)
            rest = np.setdiff1d(np.arange(len(labels)), part)
            if len(np.unique(labels[part])) > 1 and len(rest):
                own = None if truth.groups is None else truth.groups[part]
                told = view.products.probabilities(part, rest, labels[part], classes, own)
                accuracies.append(linear_head.judge(told, labels[rest]).accuracy)
        if accuracies:
            points.append(CurvePoint(size, float(np.mean(accuracies))))
    return (*points, CurvePoint(len(labels), float(view.right.mean())))


def mirror_loss(
    features: np.ndarray, labels: np.ndarray, mirrored: np.ndarray, rows: np.ndarray, classes: int
) -> float:
    """Accuracy that a linear probe loses, -1..1, where it sees mirror images and has never seen one.

    Letters and digits change their meaning in the mirror, flowers do not. The probe is fitted to the
    other images and judged on `rows` as they are and mirrored.

    Args:
        features: float32 [n, d].
        labels: int64 [n].
        mirrored: float32 [m, d], features of the mirror images of `rows`.
        rows: int64 [m], positions in `features`.
        classes: number of classes.
    """
    others = np.setdiff1d(np.arange(len(labels)), rows)
    if len(np.unique(labels[others])) < 2:
        return 0.0
    with solvers(len(others)):
        head = linear_head.fit(signed_root(features[others]), labels[others], classes).head
    seen, turned = (
        linear_head.judge(head.probabilities(signed_root(images)), labels[rows]).accuracy
        for images in (features[rows], mirrored)
    )
    return seen - turned


def _balanced(right: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy as the mean over the classes that there are."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _expect(
    curve: tuple[CurvePoint, ...], view: _View, labels: np.ndarray, fitted_images: int, test_images: int
) -> Expected:
    expected = extrapolate(curve, fitted_images)
    # Sampling noise of the test split and of the cross-validation, and the doubt in the extrapolation.
    extrapolated = abs(expected - curve[-1].accuracy)
    spread = np.sqrt(
        max(expected * (1 - expected), 1 / (4 * test_images)) * (1 / test_images + 1 / curve[-1].images)
        + (0.5 * extrapolated) ** 2
    )
    return Expected(
        curve=curve,
        accuracy=expected,
        interval=(max(0.0, expected - NINETY * spread), min(1.0, expected + NINETY * spread)),
        gain_at_double=max(0.0, extrapolate(curve, 2 * fitted_images) - expected),
        balanced=_balanced(view.right, labels),
        log_loss=view.loss / len(labels),
    )


def extrapolate(curve: tuple[CurvePoint, ...], images: int) -> float:
    """Accuracy at another number of images, by a power law for the error through the curve.

    error(n) = error(last) * (n / n_last)^-b with b fitted by least squares on logarithms, within 0..0.5
    (Hestness et al., Deep Learning Scaling is Predictable, 2017, find such laws). Beyond the measured range
    half of b is taken, for the law levels off towards the errors that no number of images would mend.
    """
    last = curve[-1]
    return float(1 - (1 - last.accuracy) * (images / last.images) ** -_exponent(curve))


def _exponent(curve: tuple[CurvePoint, ...]) -> float:
    """Of the power law beyond the curve, 0 or more; 0 where there is no law."""
    errors = np.array([1 - point.accuracy for point in curve])
    if errors[-1] <= 0 or len(curve) < 2:
        return 0.0
    sizes = np.log([point.images for point in curve])
    return BEYOND * float(np.clip(-np.polyfit(sizes, np.log(np.maximum(errors, 1e-3)), 1)[0], 0.0, 0.5))


def images_for(curve: tuple[CurvePoint, ...], accuracy: float) -> int | None:
    """How many images a frozen model has to be fitted to for an accuracy, by the learning curve.

    Args:
        curve: see `Expected`.
        accuracy: that is wanted, 0..1.

    Returns:
        None where that is out of sight: more than `FARTHEST` times as many as the curve was measured with.
    """
    last, exponent = curve[-1], _exponent(curve)
    error, wanted = 1 - last.accuracy, 1 - accuracy
    if error <= wanted:
        return last.images
    if not exponent or wanted <= 0 or np.log(error / wanted) / exponent > np.log(FARTHEST):
        return None
    return int(np.ceil(last.images * (error / wanted) ** (1 / exponent)))

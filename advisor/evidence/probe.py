"""What frozen features can do, measured before anything is trained.

Linear probes at every tap tell which depth knows most; probes at growing numbers of images tell what a
frozen model will reach and whether more images would help. A probe is the very head that a frozen recipe
would solve, judged by leave-one-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import Features
from advisor.evidence.signed_root import signed_root

ALL_TAPS = "all taps"
CURVE_SHARES, CURVE_REPEATS = (0.125, 0.25, 0.5), 3
# Share of the learning curve's exponent that holds beyond it: with all of it, frozen flowers, garments, small
# photographs and blood cells were expected 1.6 points over what they reached with 3 to 5 times the images,
# with half of it 0.0 (128 px, three seeds; by a script that is not kept). What holds today is measured by
# benchmarks/frozen.py.
BEYOND = 0.5


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
    """

    curve: tuple[CurvePoint, ...]
    accuracy: float
    interval: tuple[float, float]
    gain_at_double: float


@dataclass(frozen=True)
class Probes:
    """What linear probes found.

    Attributes:
        by_depth: from the shallowest tap to the deepest.
        together: on all taps together.
        gain_of_all_depths: accuracy that all taps together have over the last one, -1..1, and the standard
            error of this difference, both judged on the same images.
        expected: by frozen recipe: "feature_extraction" is the last tap alone, "shallow_features" all of them
            together.
        widths: features at each tap.
    """

    by_depth: tuple[DepthProbe, ...]
    together: DepthProbe
    gain_of_all_depths: tuple[float, float]
    expected: Mapping[str, Expected]
    widths: Mapping[str, int]

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
    labels: np.ndarray,
    classes: int,
    fitted_images: int,
    test_images: int,
    seed: int,
) -> Probes:
    """Everything that the features of a sample say.

    Args:
        features: of the sample, which holds no test images: what they say chooses the model.
        labels: int64 [n], its labels.
        classes: number of classes.
        fitted_images: how many images a frozen model will be fitted to.
        test_images: size of the test split that it will be judged on.
        seed: of the learning curves' samples.
    """
    features = replace(features, values=signed_root(features.values))
    seen = {tap: features.at(tap) for tap in features.taps} | {ALL_TAPS: features.values}
    right = {
        tap: linear_head.fit(values, labels, classes).held_out.argmax(axis=1) == labels
        for tap, values in seen.items()
    }
    *by_depth, together = (DepthProbe(tap, float(correct.mean())) for tap, correct in right.items())
    difference = right[ALL_TAPS].astype(float) - right[features.taps[-1]]
    curves = {
        recipe: learning_curve(values, labels, classes, whole.accuracy, seed)
        for recipe, values, whole in (
            ("feature_extraction", features.last(), by_depth[-1]),
            ("shallow_features", features.values, together),
        )
    }
    return Probes(
        by_depth=tuple(by_depth),
        together=together,
        gain_of_all_depths=(
            float(difference.mean()),
            float(difference.std() / np.sqrt(len(difference))),
        ),
        expected={recipe: _expect(curve, fitted_images, test_images) for recipe, curve in curves.items()},
        widths=dict(zip(features.taps, features.widths, strict=True)),
    )


def learning_curve(
    features: np.ndarray, labels: np.ndarray, classes: int, whole: float, seed: int
) -> tuple[CurvePoint, ...]:
    """Accuracy of a linear probe by the number of images that it was fitted to.

    Smaller numbers are stratified samples, judged on all other images, and left out where they hold less
    than two images of each class, but for the largest; the last point is `whole`, the leave-one-out accuracy
    of a probe of the same features on all images.
    """
    points = []
    for share in CURVE_SHARES:
        size = int(share * len(labels))
        if size < 2 * classes and share < CURVE_SHARES[-1]:
            continue
        accuracies = []
        for repeat in range(CURVE_REPEATS):
            part = sample(labels, size, seed + 1 + repeat)
            rest = np.setdiff1d(np.arange(len(labels)), part)
            if len(np.unique(labels[part])) > 1:
                head = linear_head.fit(features[part], labels[part], classes).head
                accuracies.append(
                    linear_head.judge(head.probabilities(features[rest]), labels[rest]).accuracy
                )
        if accuracies:
            points.append(CurvePoint(size, float(np.mean(accuracies))))
    return (*points, CurvePoint(len(labels), whole))


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
    head = linear_head.fit(signed_root(features[others]), labels[others], classes).head
    seen, turned = (
        linear_head.judge(head.probabilities(signed_root(images)), labels[rows]).accuracy
        for images in (features[rows], mirrored)
    )
    return seen - turned


def _expect(curve: tuple[CurvePoint, ...], fitted_images: int, test_images: int) -> Expected:
    expected = _extrapolate(curve, fitted_images)
    # Sampling noise of the test split and of the cross-validation, and the doubt in the extrapolation.
    extrapolated = abs(expected - curve[-1].accuracy)
    spread = np.sqrt(
        max(expected * (1 - expected), 1 / (4 * test_images)) * (1 / test_images + 1 / curve[-1].images)
        + (0.5 * extrapolated) ** 2
    )
    return Expected(
        curve=curve,
        accuracy=expected,
        interval=(max(0.0, expected - 1.645 * spread), min(1.0, expected + 1.645 * spread)),
        gain_at_double=max(0.0, _extrapolate(curve, 2 * fitted_images) - expected),
    )


def _extrapolate(curve: tuple[CurvePoint, ...], images: int) -> float:
    """Accuracy at another number of images, by a power law for the error through the curve.

    error(n) = error(last) * (n / n_last)^-b with b fitted by least squares on logarithms, within 0..0.5
    (Hestness et al., Deep Learning Scaling is Predictable, 2017, find such laws). Beyond the measured range
    half of b is taken, for the law levels off towards the errors that no number of images would mend.
    """
    sizes = np.log([point.images for point in curve])
    errors = np.array([1 - point.accuracy for point in curve])
    if errors[-1] <= 0 or len(curve) < 2:
        return float(1 - errors[-1])
    b = float(np.clip(-np.polyfit(sizes, np.log(np.maximum(errors, 1e-3)), 1)[0], 0.0, 0.5))
    return float(1 - errors[-1] * (images / np.exp(sizes[-1])) ** -(BEYOND * b))

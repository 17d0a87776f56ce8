"""How similar images are to the domain that the backbone was trained on.

The measure is the Kernel Inception Distance (KID): the squared maximum mean discrepancy between the
pooled features of the images and those of reference images, under the kernel (x.y / d + 1)^3, without
bias at any sample size (Binkowski et al., Demystifying MMD GANs, ICLR 2018). It is always taken in the
features of the bundled EfficientNet-Lite0, whatever backbone is trained, so that a score means the
same everywhere.

Why this one: benchmarks/similarity.py compares it with Frechet distance, the mean largest softmax and
the energy of the 1,000-class head, cosine of means, nearest-neighbour similarity and others, on real
and on generated images. It orders them as a person would, and a collapsed cloud of features does not
fool it. The score is exp(-KID / SCALE).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from advisor.system.solvers import solvers

METRIC = "Kernel Inception Distance"
REFERENCE = "ImageNet-1k, one image of each class"
# Halves the score at a KID of 0.16, in the gap between photographs (flowers 0.10, photographs shrunk to
# 32 pixels 0.135) and what are none (drawn shapes 0.22, printed letters 0.23, garments on black 0.26).
SCALE = 0.16 / np.log(2)
BOOTSTRAPS = 500
# Both sides are resampled to this many images (an m-out-of-n bootstrap), so that the interval tells what
# another, small sample of the same data would have given, and not only how well the mean is known.
RESAMPLED = 100


@dataclass(frozen=True)
class Similarity:
    """A measured similarity.

    Attributes:
        score: 0..1, 1 = the same domain as the reference.
        interval: 90 % bootstrap interval of the score of a sample of 100 images (fewer, if there are fewer)
            against as many reference images.
        distance: the KID, from about 0 upwards; may be slightly negative for the same domain.
        deviation: the standard deviation of `distance` in the bootstrap.
        reference: what it was measured against.
    """

    score: float
    interval: tuple[float, float]
    distance: float
    deviation: float
    reference: str


def reference_features() -> np.ndarray:
    """Features of 1,000 ImageNet images, float32 [1000, 1280]; made by benchmarks/make_reference.py."""
    with (files("advisor.evidence") / "reference_imagenet.npy").open("rb") as file:
        return np.load(file, allow_pickle=False).astype(np.float32)


def measure(
    features: np.ndarray, reference: np.ndarray, seed: int = 0, reference_name: str = REFERENCE
) -> Similarity:
    """Compare features with reference features.

    Args:
        features: float32 [n, d], two images or more.
        reference: float32 [m, d], two images or more.
        seed: of the bootstrap.
        reference_name: for people.
    """
    pairs = (features, features), (reference, reference), (features, reference)
    with solvers(max(len(features), len(reference))) as at_once:
        within, reference_within, between = at_once.map(lambda pair: _kernel(*pair), pairs)
    once = np.ones((1, len(features))), np.ones((1, len(reference)))
    distance = float(_kid(within, reference_within, between, *once)[0])
    generator = np.random.default_rng(seed)
    resampled = [
        generator.multinomial(min(n, RESAMPLED), np.full(n, 1 / n), BOOTSTRAPS).astype(np.float64)
        for n in (len(features), len(reference))
    ]
    distances = _kid(within, reference_within, between, resampled[0], resampled[1])
    low, high = np.quantile(distances, (0.05, 0.95))
    return Similarity(
        score=score(distance),
        interval=(min(score(high), score(distance)), max(score(low), score(distance))),
        distance=distance,
        deviation=float(distances.std()),
        reference=reference_name,
    )


def score(distance: float) -> float:
    """KID to 0..1."""
    return float(np.exp(-max(distance, 0.0) / SCALE))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1) ** 3


def _kid(
    within: np.ndarray,
    reference_within: np.ndarray,
    between: np.ndarray,
    weights: np.ndarray,
    reference_weights: np.ndarray,
) -> np.ndarray:
    """KID for each row of weights [b, n] and [b, m]; an image is never paired with its own copy."""

    def mean_pair(kernel: np.ndarray, w: np.ndarray) -> np.ndarray:
        pairs = np.einsum("bi,bi->b", w @ kernel, w) - w**2 @ np.diag(kernel)
        return pairs / (w.sum(axis=1) ** 2 - (w**2).sum(axis=1))

    mean_between = np.einsum("bi,bi->b", weights @ between, reference_weights) / (
        weights.sum(axis=1) * reference_weights.sum(axis=1)
    )
    return mean_pair(within, weights) + mean_pair(reference_within, reference_weights) - 2 * mean_between

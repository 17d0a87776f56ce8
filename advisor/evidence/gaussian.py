"""How like an image is to each one that a head is fitted to: a Gaussian kernel on its features.

A linear head draws straight borders between classes. With this kernel beside the features the same ridge
regression, still solved and left out one by one in closed form, draws curved ones: kernel ridge regression
(Saunders, Gammerman and Vovk, Ridge regression learning algorithm in dual variables, ICML 1998). Features are
turned to their principal components and to length one before, so that a model keeps `COMPONENTS` numbers of
each image, beside the weights of its likeness. What it brings is measured by benchmarks/kernel.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.evidence.spread import spread

LINEAR, GAUSSIAN = "linear", "gaussian"
KERNELS = (LINEAR, GAUSSIAN)
COMPONENTS = 256  # with so many flowers lost 0.1 points of what the kernel on all 2,208 features gained
# Likeness of an image to itself: about as large as roots of features get, beside which they stand. Where both
# become whole numbers of 8 bits, 0..1 would leave 26 steps, and four in ten flowers get another class.
ALIKE = 8.0
ITERATIONS = 3  # towards them
MEASURED = 1000  # of the known images, at most, that tell how far apart they are
SHARE = 0.5  # of the kernel in the inner products of two images, the rest being that of their features


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian kernel between any image and some known ones.

    Attributes:
        directions: from features to principal components, float32 [d, r].
        offset: of these, float32 [r].
        points: components of the m known images, of length one, float32 [m, r].
        width: squared distance at which images are like by 1/e.
    """

    directions: np.ndarray
    offset: np.ndarray
    points: np.ndarray
    width: float

    @staticmethod
    def of(features: np.ndarray) -> Gaussian:
        """The kernel of known images, float32 [m, d]; its width is the median of their squared distances."""
        mean, scale = features.mean(axis=0), spread(features)
        directions = (_principal((features - mean) / scale) / scale[:, None]).astype(np.float32)
        offset = -mean @ directions
        points = _of_length_one(features @ directions + offset)
        some = points[:: -(-len(points) // MEASURED)]
        apart = (2 - 2 * some @ some.T)[np.triu_indices(len(some), 1)]
        width = float(np.median(apart)) if len(apart) else 1.0
        return Gaussian(directions, offset, points, max(width, 1e-3))

    @property
    def at_right_angles(self) -> float:
        """The logarithm of the likeness of images whose components are at right angles."""
        return float(np.log(ALIKE) - 2 / self.width)

    @property
    def size(self) -> int:
        """How many numbers it holds, with one bias for each known image."""
        return size(len(self.directions), len(self.points))

    def likeness(self, features: np.ndarray) -> np.ndarray:
        """Of images with features [n, d] to the known ones: 0..`ALIKE`, float32 [n, m]."""
        near = _of_length_one(features @ self.directions + self.offset) @ self.points.T
        return np.exp(near * np.float32(2 / self.width) + np.float32(self.at_right_angles))


def size(features: int, known: int) -> int:
    """How many numbers the kernel of so many known images holds, which have so many features."""
    components = min(COMPONENTS, features, known)
    return (features + 1) * components + known * (components + 1)


def _principal(standard: np.ndarray) -> np.ndarray:
    """A basis [d, r] of what the first principal components of centred features [m, d] span, by subspace
    iteration from random directions (Halko, Martinsson and Tropp, Finding structure with randomness, SIAM
    Review 2011, algorithm 4.4). Which basis it is makes no difference to lengths and angles. scikit-learn has
    the same, but takes most of a second to import.
    """
    draw = np.random.default_rng(0)
    basis = draw.normal(size=(standard.shape[1], min(COMPONENTS, *standard.shape))).astype(np.float32)
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(standard.T @ (standard @ basis))
    return basis


def _of_length_one(components: np.ndarray) -> np.ndarray:
    """Rows of numbers, each divided by its length."""
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    return (components / np.maximum(lengths, 1e-6)).astype(np.float32)

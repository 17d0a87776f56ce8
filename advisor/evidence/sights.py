"""What the bundled network sees in images, for people to look at; nothing is decided by it.

Three things, all from features that are embedded already (averages over the whole picture at its last layer,
those of the similarity score): which of the 1,000 classes of ImageNet its own classifier finds in each class,
which images are typical of their class and which are strange in it, and a map of all images.

The map shows the two principal components of the roots of the features. No others of those that
benchmarks/maps.py compares tell more of the classes; a neighbour embedding does, in a hundred times the time
(table in benchmarks/README.md).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.backbones import imagenet_classes
from advisor.data.dataset import Dataset
from advisor.evidence.linear_head import softmax
from advisor.evidence.outliers import mean_of_largest, unit
from advisor.evidence.signed_root import signed_root

NOT_ASKED = -1  # in `Sights.taken_for`: nobody was asked about this image
WORDS = 3  # for each class, at most
LEAST_SHARE = 0.01  # of a name beside the first: what is hardly ever seen tells nothing
SHOWN = 4  # typical images of each class, and as many strange ones, at most


@dataclass(frozen=True)
class Likeness:
    """A class of ImageNet that the network finds in a class of the data.

    Attributes:
        name: of the class of ImageNet.
        share: its mean probability for the images of the class, 0..1.
        elsewhere: its mean probability for the images of all other classes, 0..1.
    """

    name: str
    share: float
    elsewhere: float


@dataclass(frozen=True)
class SeenAs:
    """What one class of the data looks like to the network.

    Attributes:
        label: the name of the class.
        looks_like: what it is taken for more than other classes are, the most telling first.
        typical: paths of images in the middle of the class, as the user knows them, the most typical first.
        strange: paths of images that are unlike the others of the class, the strangest first.
    """

    label: str
    looks_like: tuple[Likeness, ...]
    typical: tuple[str, ...]
    strange: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """An element of "seen_as" of `advisor recommend --json`."""
        return {
            "label": self.label,
            "looks_like": [vars(one) for one in self.looks_like],
            "typical": list(self.typical),
            "strange": list(self.strange),
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> SeenAs:
        """What `to_json` gave."""
        looks_like = tuple(Likeness(**one) for one in values["looks_like"])
        return SeenAs(values["label"], looks_like, tuple(values["typical"]), tuple(values["strange"]))


@dataclass(frozen=True)
class Sights:
    """What there is to see of the n images that were measured.

    Attributes:
        positions: of them in the data set, int64 [n].
        features: of them, float32 [n, d], averages over the whole picture.
        taken_for: the class that a head which has not seen the image takes it for, int64 [n]; `NOT_ASKED` of
            test images.
        classes: in the order of the data set's names, without those of which no image was measured.
    """

    positions: np.ndarray
    features: np.ndarray
    taken_for: np.ndarray
    classes: tuple[SeenAs, ...]

    @functools.cached_property
    def plane(self) -> tuple[np.ndarray, tuple[float, float]]:
        """Where each image lies on the map, float32 [n, 2], and which share of all differences between the
        images each axis of the map shows, 0..1; made when a page is."""
        return principal_components(self.features)


def look(
    features: np.ndarray,
    positions: np.ndarray,
    data: Dataset,
    classifier: tuple[np.ndarray, np.ndarray] | None,
    taken_for: np.ndarray,
) -> Sights:
    """Look at images through their features.

    Args:
        features: float32 [n, d], averages over the whole picture.
        positions: of the images in the data set, int64 [n].
        data: the images.
        classifier: kernel [d, 1000] and bias [1000] of the network's own classifier of ImageNet; None where
            it has none.
        taken_for: see `Sights`.
    """
    labels = data.labels[positions]
    found = [] if classifier is None else _looks_like(features, labels, classifier, len(data.class_names))
    seen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        typical, strange = _typical_and_strange(features[members])
        shown = [
            tuple(data.shown(data.paths[positions[members[row]]]) for row in rows)
            for rows in (typical, strange)
        ]
        seen.append(SeenAs(data.class_names[label], found[label] if found else (), shown[0], shown[1]))
    return Sights(positions, features, taken_for, tuple(seen))


def principal_components(features: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The two principal components of the roots of features [n, d], float32 [n, 2]; and which share of the
    variance each has, 0..1."""
    from sklearn.decomposition import PCA

    if len(features) < 3:
        return np.zeros((len(features), 2), np.float32), (0.0, 0.0)
    fitted = PCA(2, svd_solver="randomized", random_state=0)
    at = fitted.fit_transform(signed_root(features))
    one, other = np.nan_to_num(fitted.explained_variance_ratio_)
    return at.astype(np.float32), (float(one), float(other))


def _looks_like(
    features: np.ndarray, labels: np.ndarray, classifier: tuple[np.ndarray, np.ndarray], classes: int
) -> list[tuple[Likeness, ...]]:
    """For each class the names of ImageNet that tell most of it.

    These have the largest `share * log(share / elsewhere)`, their parts in the Kullback-Leibler divergence of
    the mean probabilities of the class from those of all other images: a name is worth most that is frequent
    here and rare elsewhere.
    """
    kernel, bias = classifier
    told = softmax(features.astype(np.float64) @ kernel + bias)
    names, total, found = imagenet_classes.names(), told.sum(axis=0), []
    for label in range(classes):
        own = labels == label
        share = told[own].sum(axis=0) / max(own.sum(), 1)
        elsewhere = (total - told[own].sum(axis=0)) / max((~own).sum(), 1)
        elsewhere = np.maximum(elsewhere, 0)  # of what rounding leaves of nothing
        telling = share * np.log((share + 1e-12) / (elsewhere + 1e-12))
        first, *others = np.argsort(-telling, kind="stable")[:WORDS]
        best = [first, *(at for at in others if share[at] >= LEAST_SHARE)]
        found.append(
            tuple(
                Likeness(names[at], float(share[at]), float(elsewhere[at])) for at in best if telling[at] > 0
            )
        )
    return found


def _typical_and_strange(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of typical and of strange images of one class, int64, none of them both.

    Typical images are nearest to the mean direction of the class, strange ones farthest from their nearest
    images in it, as strangers are found among new images, see `advisor.evidence.outliers`.

    Args:
        features: float32 [n, d].
    """
    directions, count = unit(features), len(features)
    typical = np.argsort(-(directions @ directions.mean(axis=0)), kind="stable")[: min(SHOWN, -(-count // 2))]
    if count < 2:
        return typical, np.empty(0, np.int64)
    similar = directions @ directions.T
    np.fill_diagonal(similar, -1)
    strange = np.argsort(mean_of_largest(similar), kind="stable")
    return typical, strange[~np.isin(strange, typical)][: min(SHOWN, count // 2)]

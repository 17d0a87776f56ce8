"""Copies of which a border was cut away: their features are alike, and one thumbnail is a part of the other.

Features find what may be a copy among all images, but pictures of one kind of thing have such features, too.
So the thumbnail of one is laid over each part of the other's, at several sizes, and they are copies where
both agree, the light and dark of the picture as well as its details.
"""

from __future__ import annotations

import numpy as np

from advisor.data.near_copies import THUMBNAIL, are_flat

# An image is compared with its two nearest others, whose features have this cosine at least, and are nearer
# than the sixth by such a ratio of distances (as Lowe, Distinctive image features from scale-invariant
# keypoints, IJCV 2004, tells a match from a repeated texture). Chosen so that images that are no copies stay
# below and photographs of which 5 % were cut at each side are found: benchmarks/near_copies.py.
COMPARED, COSINE, RATIO, OTHERS = 2, 0.85, 0.7, 6
WHOLE, DETAILS = 0.93, 0.85  # correlation of aligned thumbnails, as they are and without their surroundings
AROUND = 7  # pixels of the square whose mean is taken off a thumbnail for its details
PARTS = (0.95, 0.9, 0.85, 0.8)  # of the side of the picture that may be left
PLACES = 5  # where each such part may lie, each way
CHUNK = 256  # rows of similarities, and pairs, at once


def find(features: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Pairs of images of which one shows a part of the other.

    Args:
        features: float32 [n, d], each of length 1.
        thumbnails: uint8 [n, 24, 24].

    Returns:
        int64 [pairs, 2], positions in ascending order; the second of a pair is the larger.
    """
    pairs = _alike(features)
    pairs = pairs[~are_flat(thumbnails)[pairs].any(axis=1)] if len(pairs) else pairs
    whole = thumbnails.astype(np.float32)
    blur = np.abs(np.subtract.outer(np.arange(THUMBNAIL), np.arange(THUMBNAIL))) <= AROUND // 2
    mean = (blur / blur.sum(axis=1, keepdims=True)).astype(np.float32)
    details = whole - mean @ whole @ mean.T
    for pictures, least in ((whole, WHOLE), (details, DETAILS)):
        pairs = pairs[_agreement(pictures, pairs) > least]
    return pairs


def _alike(features: np.ndarray) -> np.ndarray:
    """Pairs whose features are alike, and more so than those of other images, int64 [pairs, 2]."""
    if len(features) <= OTHERS:
        return np.empty((0, 2), np.int64)
    found = []
    for start in range(0, len(features), CHUNK):
        similar = features[start : start + CHUNK] @ features.T
        rows = np.arange(len(similar))
        similar[rows, start + rows] = -1
        nearest = np.argpartition(-similar, OTHERS, axis=1)[:, :OTHERS]
        nearest = np.take_along_axis(
            nearest, np.argsort(-np.take_along_axis(similar, nearest, 1), axis=1, kind="stable"), 1
        )
        distances = 1 - np.take_along_axis(similar, nearest, 1)
        is_alike = (distances < 1 - COSINE) & (distances < RATIO * distances[:, -1:])
        row, rank = np.nonzero(is_alike[:, :COMPARED])
        found.append(np.sort(np.stack([start + row, nearest[row, rank]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _agreement(pictures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The best correlation of one picture of each pair with any part of the other, -1..1, float32 [pairs]."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), CHUNK):
        one, other = (pictures[pairs[start : start + CHUNK, side]] for side in (0, 1))
        found.append(np.maximum(_as_part_of(one, other), _as_part_of(other, one)))
    return np.concatenate(found)


def _as_part_of(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """The best correlation of pictures [p, 24, 24] with parts of others [p, 24, 24], float32 [p]."""
    small = small - small.mean(axis=(1, 2), keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=(1, 2), keepdims=True), 1e-6)
    best = np.full(len(small), -1.0, np.float32)
    for part in PARTS:
        places = _places(part)
        parts = (places @ large @ places.T).reshape(-1, PLACES, THUMBNAIL, PLACES, THUMBNAIL)
        lengths = (parts**2).sum(axis=(2, 4)) - parts.sum(axis=(2, 4)) ** 2 / THUMBNAIL**2
        together = np.einsum("pyaxb,pab->pyx", parts, small, optimize=True)
        best = np.maximum(best, (together / np.sqrt(np.maximum(lengths, 1e-6))).max(axis=(1, 2)))
    return best


def _places(part: float) -> np.ndarray:
    """What takes a part of a line of 24 pixels at each place and stretches it to 24, [PLACES * 24, 24]."""
    found = []
    for start in np.linspace(0, THUMBNAIL * (1 - part), PLACES):
        at = np.clip(start + (np.arange(THUMBNAIL) + 0.5) * part - 0.5, 0, THUMBNAIL - 1)
        below = np.minimum(at.astype(int), THUMBNAIL - 2)
        weights = np.zeros((THUMBNAIL, THUMBNAIL), np.float32)
        weights[np.arange(THUMBNAIL), below] = 1 - (at - below)
        weights[np.arange(THUMBNAIL), below + 1] = at - below
        found.append(weights)
    return np.concatenate(found)

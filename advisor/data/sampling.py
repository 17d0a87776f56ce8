"""Samples: stratified, each class with its share, or of whole groups."""

from __future__ import annotations

import numpy as np


def sample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draw a stratified sample: sorted positions, int64 [min(size, len(labels))]."""
    return np.sort(stratified_order(labels, seed)[:size])


def sample_of_groups(labels: np.ndarray, groups: np.ndarray | None, size: int, seed: int) -> np.ndarray:
    """Draw whole groups at random until they hold `size` images; without groups a stratified sample.

    Args:
        labels: int64 [n].
        groups: int64 [n], equal for images that belong together; None where each stands alone.
        size: how many images are drawn at least.
        seed: of the draw.

    Returns:
        Sorted positions, int64.
    """
    if groups is None:
        return sample(labels, size, seed)
    names, group = np.unique(groups, return_inverse=True)
    rank = np.argsort(np.random.default_rng(seed).permutation(len(names)))
    inside = np.argsort(rank[group], kind="stable")[:size]
    return np.flatnonzero(np.isin(group, group[inside]))


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of which every beginning is a stratified sample (systematic sampling in each class).

    Image k of n in its class, in random order, gets the rank (k + u) / n with one random u in [0, 1)
    for the class: a share s of all images takes s * n of each class, up to one.
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(labels))
    by_class = np.argsort(labels, kind="stable")
    for of_class in np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1):
        members = generator.permutation(of_class)
        ranks[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(ranks, kind="stable")

"""Which values of deep grey are black and white: one range for a whole data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from advisor.data import images
from advisor.data.dataset import Dataset
from advisor.data.deep_grey import LEAST_SPREAD, Grey, GreyRange
from advisor.data.sampling import sample
from advisor.system.progress import Display

LOOKED_AT = 200  # images
# What cameras, scanners and programs make of it: 8 to 16 bits, or shares of one.
_USUAL = (1.0, *(2.0**bits - 1 for bits in range(8, 17)))
_USED = 0.5  # of a usual range, from which on it is taken to be meant


def with_range(data: Dataset, display: Display) -> Dataset:
    """The data set with the range of its deep grey values, and a sentence that tells it; else unchanged.

    It is what all files looked at state; where they do not, what training images hold: 0 to the next number
    of bits where they use half of that, so that 12-bit values are 0..4095 whatever images are drawn, else
    their lowest and highest values.

    Args:
        data: its splits have been drawn.
        display: where progress is shown.
    """
    training = data.indices("train")
    deep = training[data.deep[training]]
    if not len(deep):
        return data
    deep = deep[sample(data.labels[deep], LOOKED_AT, seed=0)]
    found = _look(data, deep, display)
    if not found:
        return data
    stated = [one.stated for one in found if one.stated is not None]
    is_stated = len(stated) == len(found)
    black, white = _around(stated) if is_stated else _meant(found)
    if white - black < LEAST_SPREAD:
        return data
    source = "as the files state" if is_stated else f"by what {len(found):,} training images hold"
    told = (
        f"{data.counted(data.deep)} images are grey with more than 8 bits: {black:g} is shown as black and "
        f"{white:g} as white, {source}"
    )
    return replace(data, grey=(black, white), warnings=(*data.warnings, told))


def _look(data: Dataset, at: np.ndarray, display: Display) -> list[Grey]:
    """The values in some images, decoded in threads; those that cannot be decoded are told later on."""
    bar = display.steps("Looking at grey values")
    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, one in enumerate(pool.map(images.grey_values, (data.paths[i] for i in at)), 1):
            bar(done, len(at))
            if one is not None:
                found.append(one)
    return found


def _around(ranges: Sequence[GreyRange]) -> GreyRange:
    """The range that holds all of these."""
    return min(black for black, _ in ranges), max(white for _, white in ranges)


def _meant(found: Sequence[Grey]) -> GreyRange:
    """What is black and white by the values in some images."""
    low, high = _around([(one.lowest, one.highest) for one in found])
    white = next((usual for usual in _USUAL if high <= usual), high)
    return (0.0, white) if low >= 0 and high - low >= _USED * white else (low, high)

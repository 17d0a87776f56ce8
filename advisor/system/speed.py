"""How long this machine takes for an image, learnt from the work itself.

What it did lately is kept in the cache, the last few times of each kind of work, as a `Stopwatch` tells them.
Before there is any, the speed of a matrix product has to do.
"""

from __future__ import annotations

import functools
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from advisor.system import devices
from advisor.system.json_file import read_json, write_json
from advisor.system.json_shape import conform
from advisor.system.storage import cache_folder

FILE = "speed.json"
KEPT = 5  # times of each kind of work that are kept
FEWEST_IMAGES = 64  # that tell the speed of a kind of work
# Seconds that an image of 224 x 224 pixels takes with the bundled network, on a processor that multiplies
# float32 matrices at REFERENCE_GFLOPS: "embed" is decoding and the frozen network; "step" a gradient step of
# the whole network, "head" the same with the backbone frozen. Measured on 2 cores.
REFERENCE_GFLOPS = 195.0
REFERENCE = {"embed": 0.006, "step": 0.036, "head": 0.012}
MATRIX, MATRIX_SECONDS = 768, 0.05  # side of the matrices, and how long they are multiplied
LEAST, MOST = 1e-9, 1e6  # of what is believed, in GFLOP/s or in seconds


def learn(work: str, network: str, pixels: int, images: int, seconds: float) -> None:
    """Keep how long some work took; where the cache cannot be written, nothing is kept.

    Args:
        work: a key of `REFERENCE`.
        network: its name.
        pixels: side of the square images.
        images: how many there were; too few tell nothing.
        seconds: for all of them, had nothing else run.
    """
    if images >= FEWEST_IMAGES and seconds > 0:
        _keep(f"{work} {network} {pixels}", seconds / images)


def seconds(work: str, network: str, pixels: int) -> float:
    """How long an image takes, as far as anything tells: see `is_known`.

    Args:
        work: a key of `REFERENCE`.
        network: its name.
        pixels: side of the square image.
    """
    known = _lately(work, network, pixels)
    if known is not None:
        return known
    for other, expected in REFERENCE.items():  # what is slow for one kind of work is slow for another
        known = _lately(other, network, pixels)
        if known is not None:
            return known * REFERENCE[work] / expected
    return REFERENCE[work] * _share(pixels) * REFERENCE_GFLOPS / matrix_gflops()


def is_known(work: str, network: str, is_reference: bool) -> bool:
    """Whether `seconds` is more than a guess: the work was done here lately, or, on a processor, other work
    of the network was, or it is the network that `REFERENCE` is about.

    Args:
        work: see `seconds`.
        network: see `seconds`.
        is_reference: whether `REFERENCE` is about it.
    """
    if _lately(work, network, 224) is not None:
        return True
    others = any(_lately(other, network, 224) is not None for other in REFERENCE)
    return not devices.gpus() and (is_reference or others)


def _lately(work: str, network: str, pixels: int) -> float | None:
    """Seconds that an image took lately, of this size or else of the next one; None where none did."""
    known = {
        int(size): median(times)
        for what, times in _read().items()
        if (size := what.removeprefix(f"{work} {network} ")) != what and size.isdecimal() and times
    }
    if not known:
        return None
    nearest = min(known, key=lambda size: abs(math.log(size / pixels)))
    return known[nearest] * _share(pixels) / _share(nearest)


@functools.cache
def matrix_gflops() -> float:
    """How many billion operations a second this machine does, multiplying float32 matrices, if each processor
    does as many as one that has nothing else to do."""
    a = np.ones((MATRIX, MATRIX), np.float32)
    with threadpool_limits(1, user_api="blas"):
        a @ a  # the first one takes longer
        began, products = time.thread_time(), 0
        while (spent := time.thread_time() - began) < MATRIX_SECONDS:
            a @ a
            products += 1
    return (os.cpu_count() or 1) * products * 2 * MATRIX**3 / spent / 1e9


def _share(pixels: int) -> float:
    """Of the time for an image of 224 pixels: convolutions scale with the area."""
    return (pixels / 224) ** 2


def _file() -> Path:
    return cache_folder() / FILE


def _read() -> dict[str, list[float]]:
    """What is kept for the device that computes now; nothing where the file is damaged."""
    return _all().get(devices.describe(), {})


def _all() -> dict[str, Any]:
    try:
        kept = read_json(_file())
        conform(kept, {str: {str: [(float, LEAST, MOST)]}})
    except (OSError, ValueError):
        return {}
    return kept


def _keep(what: str, value: float) -> None:
    """Put a value behind those that are kept."""
    kept = _all()
    of_device = kept.setdefault(devices.describe(), {})
    of_device[what] = [*of_device.get(what, []), min(max(value, LEAST), MOST)][-KEPT:]
    with suppress(OSError):
        write_json(_file(), kept)

"""Where things stand in the picture: which of a network's feature maps a head sees averaged over what.

Over the whole picture alone ("average"), or over the cells of a grid, too ("cells:2", "cells:4", that many at
most each way). Clothes, hand signs and digits are told apart by what stands where, flowers are not; so the
probes choose, see `advisor.evidence.probe`. The parts of a picture beside the whole are a spatial pyramid
(Lazebnik, Schmid and Ponce, Beyond bags of features, CVPR 2006). In the place of averages a user may have the
maximum over the picture ("maximum"), or the map as it is ("flatten").
"""

from __future__ import annotations

from collections.abc import Sequence

AVERAGE = "average"
CELLS = {"cells:4": 4, "cells:2": 2}  # cells each way, the finest first
FINEST = next(iter(CELLS))
MAXIMUM, FLATTEN = "maximum", "flatten"
POOLINGS = (AVERAGE, *CELLS, MAXIMUM, FLATTEN)
# Of the whole picture and of the cells in what a head sees, the finer level weighing more, as in a pyramid.
# Equal shares were as good within the noise, cells alone worse for 200 images (benchmarks/position.py).
SHARES = (0.25, 0.75)
# Bounds for a head on cells: images that it is fitted to, as it needs the inner products of each two; numbers
# of all images, of two bytes each; and weights, about as many as the bundled network has.
MOST_IMAGES, MOST_NUMBERS, MOST_WEIGHTS = 5_000, 250_000_000, 3_400_000


def fits(fitted: int, images: int, widths: Sequence[int], classes: int) -> bool:
    """Whether a head on cells is worth its memory and its time.

    Args:
        fitted: images that it is fitted to.
        images: all of them, as all are embedded, those of the test split, too.
        widths: of what it sees of each image, part by part.
        classes: number of classes.
    """
    width = sum(widths)
    return fitted <= MOST_IMAGES and images * width <= MOST_NUMBERS and width * classes <= MOST_WEIGHTS

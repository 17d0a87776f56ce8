"""Prediction sets as lines for people: what an image may be, or that the model would rather not say."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from advisor.report.prediction_tables import NAME_WIDTH, PATH_WIDTH, UNLIKE, share
from advisor.results import Prediction
from advisor.system.text import fitting, shortened, shortened_in_front

NONE = "none: too unsure"
MOST_NAMES = 8  # of a set, that are written out


def lines(predictions: Iterable[Prediction], coverage: float, paths: Sequence[str]) -> Iterator[str]:
    """A line for each image with its most probable class and its prediction set, under a heading.

    On a terminal, long paths and names are cut; a set that has no room beside them stands under the image.

    Args:
        predictions: in order, with their sets.
        coverage: that was asked for, 0..1.
        paths: all that will come, for the width of the first column.
    """
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    width = max(len("image"), *(len(fitting(path)) for path in paths))
    width = min(width, max(PATH_WIDTH, screen // 3)) if screen else width
    yield f"{'image':{width}}  {'most probable':{NAME_WIDTH + 6}}  set for coverage {coverage:g}"
    for item in predictions:
        ((label, probability),) = item.best(1)
        path = shortened_in_front(fitting(item.path), width)
        best = f"{shortened(fitting(label), NAME_WIDTH):{NAME_WIDTH}} {share(probability):>5}"
        said = [_set(item.possible or ()), *([UNLIKE] if item.unlike else [])]
        start = f"{path:{width}}  {best}  "
        if screen is None or len(start) + len("  ".join(said)) <= screen:
            yield start + "  ".join(said)
        else:
            yield start.rstrip()
            yield from (shortened(f"  {each}", screen) for each in said)


def _set(names: Sequence[str]) -> str:
    """A set in one line."""
    if not names:
        return NONE
    shown = ", ".join(fitting(name) for name in names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown

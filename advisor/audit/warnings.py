"""What a person should know of the data before they trust a result."""

from __future__ import annotations

import math

from advisor import backbones
from advisor.choices import CROP
from advisor.data.checks import long_images
from advisor.data.dataset import UNBALANCED, Dataset
from advisor.data.names import SPLITS
from advisor.evidence.measure import Measured
from advisor.evidence.probe import NINETY

SMALL_TEST = 100  # images


def warnings(measured: Measured) -> tuple[str, ...]:
    """One sentence for each thing, the data set's own first."""
    data = measured.data
    found = [_skipped(data), _unbalanced(data), _tiny(data), _small_test(data), _flat(measured)]
    long = long_images(data) if measured.evidence.fit.chosen == CROP else []
    return (*data.warnings, *long, *filter(None, found), *_near_copies(measured))


def _skipped(data: Dataset) -> str:
    if not data.skipped:
        return ""
    names = ", ".join(f"{item.path} ({item.reason})" for item in data.skipped[:3])
    more = f" and {len(data.skipped) - 3} more" if len(data.skipped) > 3 else ""
    return f"{len(data.skipped)} skipped: {names}{more}"


def _unbalanced(data: Dataset) -> str:
    counts = data.counts()
    if counts.max() <= UNBALANCED * counts.min():
        return ""
    smallest, largest = data.class_names[counts.argmin()], data.class_names[counts.argmax()]
    return (
        f"unbalanced classes: {largest!r} has {counts.max():,} images, {smallest!r} {counts.min():,}; "
        "look at macro F1 beside accuracy"
    )


def _tiny(data: Dataset) -> str:
    """Images of less than half the pixels that they are measured at."""
    side = backbones.load(backbones.BUNDLED).image_size // 2
    tiny = data.looked_at & (data.shorter_sides < side)
    if not tiny.any():
        return ""
    return (
        f"{data.counted(tiny)} images are smaller than {side} pixels and will be enlarged, "
        f"as {data.shown(data.paths[tiny.argmax()])}"
    )


def _flat(measured: Measured) -> str:
    """Images on which there is nothing to see, as of 16-bit files that hold a few low values."""
    if not measured.flat:
        return ""
    first = measured.data.shown(measured.flat[0])
    return (
        f"{len(measured.flat):,} of {measured.evidence.sampled:,} images are almost of one colour once they "
        f"are decoded, as {first}; look whether they show anything"
    )


def _small_test(data: Dataset) -> str:
    test = len(data.indices("test"))
    if test >= SMALL_TEST:
        return ""
    error = NINETY * 0.5 / math.sqrt(test)
    return f"the test split has {test} images: its accuracy is known to ±{error:.0%} at best"


def _near_copies(measured: Measured) -> list[str]:
    """How many images are nearly the same, and whether splits or classes share them."""
    data, sampled = measured.data, measured.evidence.sampled
    wanted = {path for pair in measured.near_copies for path in pair}
    at = {path: i for i, path in enumerate(data.paths) if path in wanted}
    pairs = [(at[a], at[b]) for a, b in measured.near_copies if a in at and b in at]
    if not pairs:
        return []

    def example(pair: tuple[int, int]) -> str:
        return " = ".join(data.shown(data.paths[i]) for i in pair)

    # Both of a pair are in a sample with the square of its share.
    in_all = round(len(pairs) * (len(data) / sampled) ** 2)
    more = f", so about {in_all:,} in all" if in_all > len(pairs) else ""
    training = SPLITS.index("train")
    across = [pair for pair in pairs if (data.splits[list(pair)] == training).sum() == 1]
    leak = (
        f"; {len(across):,} with one in training and one not: accuracy will look too good" if across else ""
    )
    found = [
        f"{len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'} of nearly the same image among "
        f"{sampled:,}{more}, as {example((across or pairs)[0])}{leak}"
    ]
    differ = [pair for pair in pairs if data.labels[pair[0]] != data.labels[pair[1]]]
    if differ:
        found.append(f"{len(differ):,} of them are in two classes, as {example(differ[0])}")
    return found

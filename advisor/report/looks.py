"""What the network sees in each class, in words and in pictures, as the page shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from markupsafe import Markup

from advisor.data.dataset import Dataset
from advisor.evidence.sights import Likeness, SeenAs, Sights
from advisor.report.pictures import thumbnail

PICTURED, MOST_CLASSES = 10, 30  # classes with pictures, and with words
THUMBNAIL = 96  # pixels; 80 pictures are about 400 kB


def spaced(count: int, most: int) -> np.ndarray:
    """At most that many positions of `count`, spaced evenly, so that the same data always show the same."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def looks(sights: Sights, data: Dataset) -> dict[str, Any]:
    """What the template of the section needs.

    Args:
        sights: what the network sees.
        data: the images.
    """
    pictured = set(spaced(len(sights.classes), PICTURED).tolist())
    shown = [one for number, one in enumerate(sights.classes) if number in pictured]
    others = [one for number, one in enumerate(sights.classes) if number not in pictured and one.looks_like]
    pictures = _pictures(shown, sights, data)
    return {
        "classes": [
            {
                "label": one.label,
                "words": [likeness(word) for word in one.looks_like],
                "typical": [(pictures[path], path) for path in one.typical if pictures.get(path)],
                "strange": [(pictures[path], path) for path in one.strange if pictures.get(path)],
            }
            for one in shown
        ],
        "others": [(one.label, in_words(one)) for one in others[:MOST_CLASSES]],
        "more": len(others[MOST_CLASSES:]),
    }


def likeness(word: Likeness) -> tuple[str, str]:
    """A name, and how probable it is here and elsewhere.

    >>> likeness(Likeness("honeycomb", 0.0832, 0.004))
    ('honeycomb', '8\\xa0%, elsewhere 0.4\\xa0%')
    """
    return word.name, f"{_rounded(word.share)}, elsewhere {_rounded(word.elsewhere)}"


def in_words(one: SeenAs) -> str:
    """What one class looks like to the network, in one line."""
    return ", ".join(f"{name} ({shares})" for name, shares in map(likeness, one.looks_like))


def _rounded(share: float) -> str:
    if share < 0.0005:
        return "under 0.1\N{NO-BREAK SPACE}%"
    return f"{100 * share:.{0 if share >= 0.0095 else 1}f}\N{NO-BREAK SPACE}%"


def _pictures(classes: list[SeenAs], sights: Sights, data: Dataset) -> Mapping[str, Markup | None]:
    """Thumbnails by the path that the user knows."""
    wanted = {path for one in classes for path in (*one.typical, *one.strange)}
    files = {data.shown(path): path for path in (data.paths[at] for at in sights.positions)}
    known = [(shown, files[shown]) for shown in sorted(wanted) if shown in files]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(lambda path: thumbnail(path, data.grey, THUMBNAIL), (path for _, path in known))
        return {shown: picture for (shown, _), picture in zip(known, drawn, strict=True)}

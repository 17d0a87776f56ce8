"""The names of the 1,000 classes of ImageNet-1k, which the bundled network's own classifier tells apart."""

from __future__ import annotations

import functools
from importlib.resources import files

COMMENT = "#"


@functools.cache
def names() -> tuple[str, ...]:
    """In the order of the classifier's outputs; imagenet_classes.txt says where they come from."""
    text = (files("advisor.backbones") / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith(COMMENT))

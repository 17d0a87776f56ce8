"""Grey of more than 8 bits, or in floating point: what its values are, and how they become 8 bits.

Nothing in most of these files says which value is white: 12-bit values of a camera lie in 16-bit files, and
so do 8-bit ones. One range for a whole data set keeps images comparable; see `advisor.data.grey_range`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

GreyRange = tuple[float, float]  # the values that are shown as black and as white

GLANCE = 512  # pixels of the sides that are looked at
# Of the pixels of an image, this share at each end decides nothing: hot and dead pixels of a sensor are
# fewer. nnU-Net (Isensee et al., Nature Methods 2021) clips at 0.5 and 99.5 % for the same reason.
OUTLYING = 0.001
LEAST_SPREAD = 1e-12
# TIFF 6.0, sections 8 and 19: BitsPerSample; Min- and MaxSampleValue, SMin- and SMaxSampleValue.
_BITS, _STATED = 258, ((280, 281), (340, 341))
_FULL_DEPTH = (255, 65535, 32767, 2**31 - 1, 2**32 - 1)  # what a file may hold, which says nothing


class Grey(NamedTuple):
    """The values in one image.

    Attributes:
        lowest: but for `OUTLYING` of its pixels.
        highest: but for these.
        stated: the range that the file states; None where it states none.
    """

    lowest: float
    highest: float
    stated: GreyRange | None


def is_deep(image: Image.Image) -> bool:
    """Whether grey values are of 16 or 32 bits, or in floating point."""
    return image.mode.startswith(("I", "F"))


def values(image: Image.Image) -> Grey | None:
    """The values in an image that `is_deep`; None where none of them is a number."""
    small = image.resize((min(image.width, GLANCE), min(image.height, GLANCE)), Image.Resampling.NEAREST)
    grey = np.asarray(small, dtype=np.float64)
    grey = grey[np.isfinite(grey)]
    if not grey.size:
        return None
    low, high = np.quantile(grey, (OUTLYING, 1 - OUTLYING), method="nearest")
    return Grey(float(low), float(high), _stated(image, float(low), float(high)))


def _stated(image: Image.Image, low: float, high: float) -> GreyRange | None:
    """The range that a TIFF file states, if its values keep to it.

    PNG's sBIT says nothing of it: samples fill the depth of the file whatever sBIT is (PNG specification,
    11.3.2.7), and files whose samples do not are no more to be believed in it.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    found = []
    for least, most in _STATED:
        white = _number(image, most)
        if white is not None and white not in _FULL_DEPTH:
            found.append((_number(image, least) or 0.0, white))
    bits = _number(image, _BITS)
    if bits is not None and 8 < bits < 16:
        found.append((0.0, 2.0**bits - 1))
    return next((one for one in found if one[0] <= low and high <= one[1] and one[0] < one[1]), None)


def _number(image: TiffImagePlugin.TiffImageFile, tag: int) -> float | None:
    """A tag's number, or the first of them; None where there is none."""
    try:
        value: Any = image.tag_v2.get(tag)
        number = float(value[0] if isinstance(value, tuple) else value)
    except Exception:  # tags may hold anything, and be damaged in any way
        return None
    return number if np.isfinite(number) else None


def usual_range(image: Image.Image, low: float, high: float) -> GreyRange:
    """What is black and what is white in one image of which no data set says it.

    Args:
        image: is deep.
        low: the lowest of its values.
        high: the highest.
    """
    if low > high:  # no number at all
        return 0.0, 1.0
    if image.mode == "I" and low >= 0 and 255 < high <= 65535:
        return 0.0, 65535.0
    if image.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and high <= 255:
        return 0.0, 255.0
    return low, high


def to_rgb(image: Image.Image, shades: GreyRange) -> Image.Image:
    """Pillow would clip at 255: scale instead. What is no number is black, infinity white."""
    black, white = shades
    grey = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=black, posinf=white, neginf=black)
    scaled = (grey - black) * (255.0 / max(white - black, LEAST_SPREAD))
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8), "L").convert("RGB")

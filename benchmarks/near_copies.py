"""How many copies the audit finds, and how many pairs it names among images as they are.

    python -m benchmarks.near_copies DATA...

Of each data set up to 1,000 images are compared with each other, and 100 of them are copied: saved as JPEG
with quality 50, shrunk to 60 % of the size, 15 % brighter, and cut by 5 % at each side. Shown are the pairs
that `advisor/data/near_copies.py` names though nothing was copied, those that `advisor/data/cut_copies.py`
names beside them (some data sets do hold copies), and the share of the copies that is found by either.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from advisor import backbones
from advisor.data import cut_copies, images, near_copies, sources
from advisor.data.sampling import sample
from advisor.evidence.embedding import embed, runner
from advisor.evidence.forward import BATCH
from advisor.evidence.outliers import unit
from advisor.evidence.signed_root import signed_root
from benchmarks.results import markdown

MOST, COPIED = 1000, 100


def as_jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def smaller(image: Image.Image) -> Image.Image:
    width, height = (max(8, round(0.6 * side)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.15)


def cut(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(0.05 * width), round(0.05 * height), round(0.95 * width), round(0.95 * height)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 50": as_jpeg,
    "60 % of the size": smaller,
    "15 % brighter": brighter,
    "cut by 5 %": cut,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders, CSV files, or sklearn:digits")
    rows = [row(source) for source in parser.parse_args().data]
    print(markdown(["images", "pairs", "cut ones beside them", *COPIES], rows))


def row(source: str) -> list[str]:
    """What is found in one data set."""
    data, network = sources.load(source), backbones.load(backbones.BUNDLED)
    size, run = network.image_size, runner(network, network.image_size)
    seen = embed(network, data, sample(data.labels, MOST, 0), size)
    features, thumbnails = seen.features.last(), seen.thumbnails
    near, cut_ones = (set(map(tuple, pairs.tolist())) for pairs in found(features, thumbnails))
    cells = [source, f"{len(near):,}", f"{len(cut_ones - near):,}"]
    copied = np.random.default_rng(0).permutation(len(features))[:COPIED]
    for change in COPIES.values():
        pixels = []
        for at in copied:
            with tempfile.NamedTemporaryFile(suffix=".png") as file:
                change(images.read(data.paths[seen.positions[at]])).save(file.name)
                pixels.append(images.load_square(file.name, size))
        parts = [np.stack(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        told = np.concatenate([run(part)[len(network.taps) - 1] for part in parts])
        own = np.stack([near_copies.thumbnail(square) for square in pixels])
        pairs = found(np.concatenate([features, told]), np.concatenate([thumbnails, own]))
        wanted = np.stack([copied, len(features) + np.arange(len(copied))], axis=1)
        right = {*map(tuple, wanted.tolist())} & {*map(tuple, np.concatenate(pairs).tolist())}
        cells.append(f"{len(right) / len(copied):.0%}")
    return cells


def found(features: np.ndarray, thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of nearly the same pictures, and of those of which one is a part of the other, int64 [m, 2]."""
    return near_copies.find(thumbnails), cut_copies.find(unit(signed_root(features)), thumbnails)


if __name__ == "__main__":
    main()

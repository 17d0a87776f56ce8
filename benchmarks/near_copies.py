"""How many copies `advisor/data/near_copies.py` finds, and how many pairs it names among images as they are.

    python -m benchmarks.near_copies DATA...

Of each data set up to 1,000 images are compared with each other, and 100 of them are copied: saved as JPEG
with quality 50, shrunk to 60 % of the size, 15 % brighter, and cut by 5 % at each side. Shown are the pairs
that are named though nothing was copied (some data sets do hold copies) and the share of the copies that
is found.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from advisor import backbones
from advisor.data import images, near_copies, sources
from advisor.data.sampling import sample
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
    size = backbones.load(backbones.BUNDLED).image_size
    rows = []
    for source in parser.parse_args().data:
        data = sources.load(source)
        chosen = [data.paths[i] for i in sample(data.labels, MOST, 0)]
        own = [near_copies.thumbnail(images.load_square(path, size)) for path in chosen]
        copied = np.random.default_rng(0).permutation(len(chosen))[:COPIED]
        cells = [source, f"{len(near_copies.find(np.stack(own))):,}"]
        for change in COPIES.values():
            found = 0
            for i in copied:
                with tempfile.NamedTemporaryFile(suffix=".png") as file:
                    change(images.read(chosen[i])).save(file.name)
                    copy = near_copies.thumbnail(images.load_square(file.name, size))
                found += len(near_copies.find(np.stack([own[i], copy])))
            cells.append(f"{found / len(copied):.0%}")
        rows.append(cells)
    print(markdown(["images", "pairs", *COPIES], rows))


if __name__ == "__main__":
    main()

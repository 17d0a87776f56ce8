"""How long images should become squares: `--fit auto` against each way by hand.

    python -m benchmarks.long_images --output benchmarks/results/long-images.jsonl

Makes images of 4:1 from those of flowers in $ADVISOR_DATA: the photograph, cut to its square, is at one end,
and the rest is from pictures of ImageNet that have nothing to do with it. So the square in the middle knows
nothing. For each way a head on all depths is solved, and tested on as many images again. Prints accuracy with
its standard error, and which way was chosen.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.results import markdown, measured, read, write

WAYS = ("crop", "squash", "pad", "auto")
SIDE = 96  # pixels of the shorter side
LENGTH = 4  # times that


def main() -> None:
    """Measure what is missing, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500, help="to train on; as many to test on")
    parser.add_argument("--size", type=int, default=128, help="pixels of the square that the network sees")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("long-images.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="print the table of these results")
    print(table(measured(parser.parse_args(), measure)))


def measure(asked: argparse.Namespace) -> None:
    """Add the lines that --output has not."""
    import advisor

    lines = read(asked.output)
    known = {(line["fit"], line["images"], line["size"], line["seed"]) for line in lines}
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as name:
            data = photographs(Path(os.environ["ADVISOR_DATA"]), Path(name, "long"), asked.images, seed)
            for fit in WAYS:
                if (fit, asked.images, asked.size, seed) in known:
                    continue
                run = advisor.run(
                    str(data),
                    recipe="shallow_features",
                    fit=fit,
                    image_size=asked.size,
                    seed=seed,
                    output=Path(name, fit),
                )
                line = {"fit": fit, "images": asked.images, "size": asked.size, "seed": seed}
                told = {"chosen": run.metrics.settings.fit, "tested": run.metrics.images["test"]}
                lines.append({**line, **told, "accuracy": run.metrics.test.accuracy})
                write(asked.output, lines)


def table(lines: list[dict[str, Any]]) -> str:
    """One row for each line."""
    rows = []
    for line in lines:
        right = line["accuracy"]
        error = math.sqrt(right * (1 - right) / line["tested"])
        shown = f"{100 * right:.1f} ± {100 * error:.1f}"
        rows.append((f"{line['images']:,}", str(line["size"]), line["fit"], line["chosen"], shown))
    return markdown(("images", "px", "--fit", "chosen", "accuracy, %"), rows)


def photographs(real: Path, folder: Path, count: int, seed: int) -> Path:
    """Long images for training and for testing, of five classes in turn."""
    generator = np.random.default_rng(seed)
    classes = sorted(path for path in (real / "flowers").iterdir() if path.is_dir())
    files = [generator.permutation(sorted(str(file) for file in path.iterdir())) for path in classes]
    beside = sorted((real / "imagenet-samples").glob("*.jpg"))
    for number in range(2 * count):
        label = number % len(classes)
        split = "train" if number < count else "test"
        into = folder / split / classes[label].name
        into.mkdir(parents=True, exist_ok=True)
        others = [beside[at] for at in generator.integers(len(beside), size=LENGTH - 1)]
        row = [*map(_square, others)]
        row.insert(int(generator.integers(2)) * (LENGTH - 1), _square(files[label][number // len(classes)]))
        Image.fromarray(np.concatenate(row, axis=1)).save(into / f"{number:05}.jpg", quality=90)
    return folder


def _square(path: str | Path) -> np.ndarray:
    """The square in the middle of a picture, uint8 [SIDE, SIDE, 3]."""
    from advisor.data import images

    return images.load_square(path, SIDE)


if __name__ == "__main__":
    main()

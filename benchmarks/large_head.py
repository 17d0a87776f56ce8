"""The head on more features than memory holds: do its memory and its time keep their promise?

    python -m benchmarks.large_head --images 100000 1000000 --output benchmarks/results/large-head.jsonl

Each number of images is solved in a process of its own. Their features are made when they are read, a block
at a time from a seed, and never all in memory. One line is written as each is done; those that are there are
skipped.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from advisor.evidence import linear_head
from advisor.evidence.head_input import ROWS, HeadInput
from benchmarks import results

WIDTH, CLASSES = 4_000, 10
APART = 0.04  # of the class means, in standard deviations of a feature


class Synthetic:
    """Features [n, d] of a Gaussian for each class, made when they are read."""

    def __init__(self, images: int, width: int, classes: int) -> None:
        rng = np.random.default_rng(0)
        self.shape, self.dtype = (images, width), np.dtype(np.float32)
        self.labels = rng.integers(0, classes, images)
        self._means = APART * rng.standard_normal((classes, width), np.float32)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Those of some images that follow on each other, as the head asks for them, within one block."""
        at = np.arange(len(self.labels))[rows]
        block, first = divmod(int(at[0]), ROWS)
        noise = np.random.default_rng([1, block]).standard_normal((ROWS, self.shape[1]), np.float32)
        return noise[first : first + len(at)] + self._means[self.labels[at]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--output", type=Path, default=Path("large-head.jsonl"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_solve(arguments.images[0], arguments.width)))
        return
    lines = results.read(arguments.output)
    done = {(line["images"], line["width"]) for line in lines}
    for images in arguments.images:
        if (images, arguments.width) not in done:
            asked = ["--one", "--images", str(images), "--width", str(arguments.width)]
            command = [sys.executable, "-m", "benchmarks.large_head", *asked]
            lines.append(
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            )
            results.write(arguments.output, lines)
    print(table(lines))


def _solve(images: int, width: int) -> dict[str, Any]:
    seen = Synthetic(images, width, CLASSES)
    before, began, busy = _peak(), time.monotonic(), time.process_time()
    fitted = linear_head.fit(HeadInput((seen,)), seen.labels, CLASSES)
    judged = linear_head.judge(fitted.held_out, seen.labels)
    return {
        "images": images,
        "width": width,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "megabytes_before": before,
        "megabytes": _peak(),
        "accuracy": round(judged.accuracy, 4),
        "log_loss": round(judged.loss, 4),
    }


def _peak() -> int:
    """Most memory so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def table(lines: list[dict[str, Any]]) -> str:
    """Memory and time by the number of images, as Markdown."""
    head = ["images", "features", "peak memory, MB", "processor seconds", "per 1,000 images", "accuracy"]
    rows = [
        [
            f"{line['images']:,}",
            f"{line['width']:,}",
            f"{line['megabytes']:,}",
            f"{line['processor_seconds']:,.0f}",
            f"{1000 * line['processor_seconds'] / line['images']:.2f}",
            f"{line['accuracy']:.3f}",
        ]
        for line in sorted(lines, key=lambda line: line["images"])
    ]
    return results.markdown(head, rows)


if __name__ == "__main__":
    main()

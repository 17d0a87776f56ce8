"""What `advisor recommend` costs on a folder of very many files, of which it measures a sample.

    python -m benchmarks.large_folder IMAGES --output benchmarks/results/large-folder.jsonl

Folders of 10,000 to a million files, ten classes of hard links to the files of IMAGES, are each measured in
a process of its own, with an empty cache. As nearly all of the links are copies of each other, each file that
is looked at is read twice to tell so, which it is not elsewhere. One line is written as each is done; those
that are there are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from advisor import api
from advisor.data.image_files import is_picture
from benchmarks import results
from benchmarks.speed import Clock

CLASSES, SAMPLE = 10, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder with some thousand images, at any depth")
    parser.add_argument("--files", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--output", type=Path, default=Path("large-folder.jsonl"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_measure(arguments.images)))
        return
    lines = results.read(arguments.output)
    for files in arguments.files:
        if all(line["files"] != files for line in lines):
            lines.append({"files": files, **_measured(arguments.images, files)})
            results.write(arguments.output, lines)
    print(table(lines))


def _measured(images: Path, files: int) -> dict[str, Any]:
    """Make the folder beside the images, for links do not leave a disk, and measure it."""
    found = sorted(path for path in images.rglob("*") if is_picture(path.name))
    with tempfile.TemporaryDirectory(dir=images.parent) as folder, tempfile.TemporaryDirectory() as cache:
        for number in range(CLASSES):
            Path(folder, f"class {number}").mkdir()
        for n in range(files):
            file = found[n % len(found)]
            os.link(file, Path(folder, f"class {n % CLASSES}", f"{n:07d}{file.suffix}"))
        command = [sys.executable, "-m", "benchmarks.large_folder", folder, "--one"]
        environment = os.environ | {"ADVISOR_CACHE": cache}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


def _measure(folder: Path) -> dict[str, Any]:
    clock = Clock()
    clock.steps("listing")
    api.recommend(str(folder), sample=SAMPLE, display=clock)
    return {
        "seconds": {what: [round(took, 2), round(busy, 2)] for what, took, busy in clock.stages()},
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Processor seconds by phase and memory by the number of files, as Markdown."""
    phases = list(lines[0]["seconds"])
    head = ["files", *(f"{what.lower()}, s" for what in phases), "peak memory, MB"]
    rows = [
        [
            f"{line['files']:,}",
            *(f"{line['seconds'][what][1]:.1f}" for what in phases),
            f"{line['megabytes']:,}",
        ]
        for line in sorted(lines, key=lambda line: line["files"])
    ]
    return results.markdown(head, rows)


if __name__ == "__main__":
    main()

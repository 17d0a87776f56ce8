"""What archives, arrays and Parquet cost more than a folder: `advisor recommend`, unpacking included.

    python -m benchmarks.containers --images 20000

Makes so many photographs from those of flowers in $ADVISOR_DATA, each a part of one, turned a little, so that
no two are copies; as a folder, and the same in each container. Then runs `advisor recommend` on each, in a
process and a cache of its own that knows the network already, twice: the second time all is unpacked. Prints
seconds on the clock and of processors, peak memory, and what the cache holds more. Needs 2 GB in --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.results import markdown, write

KINDS = ("folder", "zip", "tar.gz", "npz", "parquet")
WARM_UP = 40  # images


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=96, help="pixels of the photographs")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--folder", type=Path, help="where the images are made; temporary if left out")
    parser.add_argument("--output", type=Path, help="results, a line for each kind")
    asked = parser.parse_args()
    flowers = Path(os.environ["ADVISOR_DATA"], "flowers")
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        root = Path(name)
        photographs(flowers, root / "folder", asked.images, asked.side)
        photographs(flowers, root / "few", WARM_UP, asked.side)
        recommend(root / "few", root / "warm")
        lines = []
        for kind in asked.kinds:
            data = root / "folder" if kind == "folder" else root / f"images.{kind}"
            if kind != "folder":
                # In a process of its own: what this one holds counts as memory of the commands it starts.
                making = get_context("spawn").Process(target=MADE[kind], args=(root / "folder", data))
                making.start()
                making.join()
            cache = root / f"cache of {kind}"
            shutil.copytree(root / "warm", cache)
            before = size(cache)
            first, second = recommend(data, cache), recommend(data, cache)
            line = {"kind": kind, "images": asked.images, "side": asked.side, "data": size(data)}
            lines.append({**line, "cache": size(cache) - before, "first": first, "second": second})
            print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(cache)
            if kind != "folder":
                data.unlink()
    if asked.output:
        write(asked.output, lines)
    print(table(lines))


def table(lines: list[dict[str, Any]]) -> str:
    """One row for each kind."""
    head = ("images in", "MB", "cache, MB", "s, first", "processor s", "peak MB", "s, again", "processor s")
    rows = [
        (
            line["kind"],
            *(f"{line[name] / 1e6:,.0f}" for name in ("data", "cache")),
            *(f"{line['first'][name]:,.0f}" for name in ("seconds", "processor", "megabytes")),
            *(f"{line['second'][name]:,.0f}" for name in ("seconds", "processor")),
        )
        for line in lines
    ]
    return markdown(head, rows)


def photographs(flowers: Path, folder: Path, count: int, side: int) -> None:
    """Parts of photographs, of five classes in turn, as JPEG files."""
    classes = sorted(path for path in flowers.iterdir() if path.is_dir())
    files = [sorted(path.iterdir()) for path in classes]
    for path in classes:
        (folder / path.name).mkdir(parents=True)

    def make(number: int) -> None:
        generator, label = np.random.default_rng(number), number % len(classes)
        own = files[label]
        with Image.open(own[number // len(classes) % len(own)]) as image:
            image.draft("RGB", (2 * side, 2 * side))
            turned = image.convert("RGB").rotate(generator.uniform(-20, 20), Image.Resampling.BILINEAR)
        length = int(min(turned.size) * generator.uniform(0.5, 0.8))
        left, top = (int(generator.integers(0, whole - length + 1)) for whole in turned.size)
        part = turned.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + length, top + length))
        part.save(folder / classes[label].name / f"{number:06}.jpg", quality=90)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, range(count)))


def recommend(data: Path, cache: Path) -> dict[str, float]:
    """Seconds on the clock and of processors, and peak memory in MB, of one command."""
    command = [sys.executable, "-m", "advisor.cli", "recommend", str(data), "--json"]
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, "ADVISOR_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said.decode())
    return {
        "seconds": time.monotonic() - began,
        "processor": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss / 1024,  # Linux has kilobytes
    }


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]))


def _zip(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path in _files(folder):
            archive.write(path, path.relative_to(folder))


def _tar(folder: Path, file: Path) -> None:
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        archive.add(folder, "images")


def _npz(folder: Path, file: Path) -> None:
    """As MedMNIST writes it."""
    files = list(_files(folder))
    names = sorted({path.parent.name for path in files})
    pixels = np.stack([np.asarray(Image.open(path)) for path in files])
    labels = np.array([[names.index(path.parent.name)] for path in files], np.uint8)
    np.savez_compressed(file, train_images=pixels, train_labels=labels)


def _parquet(folder: Path, file: Path) -> None:
    """As the Hugging Face Hub has it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = list(_files(folder))
    names = sorted({path.parent.name for path in files})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    rows = pa.table({"image": images, "label": [names.index(path.parent.name) for path in files]})
    told = json.dumps({"info": {"features": features}})
    pq.write_table(rows.replace_schema_metadata({"huggingface": told}), file, row_group_size=1000)


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


MADE: dict[str, Callable[[Path, Path], None]] = {
    "zip": _zip,
    "tar.gz": _tar,
    "npz": _npz,
    "parquet": _parquet,
}

if __name__ == "__main__":
    main()

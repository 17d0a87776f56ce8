"""Where the rows of the feature cache should lie: in one table that is replaced as a whole, or in SQLite.

    python -m benchmarks.feature_cache --rows 40000 400000

Rows are as wide as those of EfficientNet-Lite0: 2,256 features and a thumbnail. For each number of rows in
the cache, prints the seconds to add more and to read some, on the clock and of a processor, and the peak
memory, each in a process of its own. Then prints the size on disk, how many of 2 x 1,000 rows are there after
two processes added them at once, and how many of the earlier rows are there after a process that added some
was killed. The files are in the memory of the operating system, as they are after a run. 400,000 rows need
12 GB of disk and as much memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import tempfile
import time
import zlib
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from advisor.evidence.feature_cache import FeatureCache, Rows
from advisor.system.storage import replacing
from benchmarks.results import markdown

WIDTHS = (64, 192, 720, 1280)
MOST_ADDED = 10_000
ROW = np.dtype(
    [("key", "S32"), ("check", "u4"), ("values", "f4", sum(WIDTHS)), ("thumbnail", "u1", (24, 24))]
)


class Table:
    """One .npy file that is mapped to be read and replaced to be added to, as the cache was at first."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.file = folder / "table.npy"

    def _open(self) -> np.ndarray:
        return np.load(self.file, mmap_mode="r") if self.file.exists() else np.empty(0, ROW)

    def add(self, start: int, count: int) -> None:
        old = self._open()
        table = np.empty(len(old) + count, ROW)
        table[: len(old)] = old
        new = table[len(old) :]
        new["key"] = [str(number).encode() for number in range(start, start + count)]
        new["values"], new["thumbnail"] = features(count), 0
        new["check"] = [zlib.crc32(row["values"]) for row in new]
        with replacing(self.file) as unfinished:
            np.save(unfinished, table)

    def read(self, numbers: np.ndarray) -> int:
        table = self._open()
        rows = {key: row for row, key in enumerate(table["key"])}
        found = [row for row in (rows.get(str(number).encode()) for number in numbers) if row is not None]
        values = np.empty((len(found), sum(WIDTHS)), np.float32)
        sound = 0
        for start in range(0, len(found), 2_000):
            part = np.array(table[found[start : start + 2_000]])
            sound += sum(zlib.crc32(row["values"]) == row["check"] for row in part)
            values[start : start + 2_000] = part["values"]
        return sound


class Database:
    """The cache as it is."""

    def __init__(self, folder: Path, rows: int) -> None:
        os.environ["ADVISOR_CACHE"] = str(folder / "cache")
        names = [f"/data/images/class/{number}.jpg" for number in range(rows + 2 * MOST_ADDED)]
        self.cache = FeatureCache("benchmark", names, ["123456:1700000000000000000"] * len(names))

    def add(self, start: int, count: int) -> None:
        rows = Rows(np.arange(start, start + count))
        small, contents = np.zeros((count, 24, 24), np.uint8), np.zeros((count, 32), np.uint8)
        rows.put(np.arange(count), WIDTHS, features(count), small, contents)
        self.cache.add(rows, range(count))

    def read(self, numbers: np.ndarray) -> int:
        return int(self.cache.read(numbers).known.sum())


WAYS: dict[str, Callable[[Path, int], Table | Database]] = {"table": Table, "SQLite": Database}


def features(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, sum(WIDTHS)), np.float32)


def timed(work: Callable[[], int]) -> tuple[str, int]:
    """Seconds on the clock, those of a processor, and the peak memory of this process; then the result."""
    began, busy = time.perf_counter(), time.process_time()
    result = work()
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{seconds:.2f} s ({busy:.2f} s), {peak:,.0f} MB", result


def add(way: str, folder: Path, rows: int, start: int, count: int) -> tuple[str, int]:
    cache = WAYS[way](folder, rows)
    return timed(lambda: cache.add(start, count) or count)


def read(way: str, folder: Path, rows: int, numbers: np.ndarray) -> tuple[str, int]:
    cache = WAYS[way](folder, rows)
    return timed(lambda: cache.read(numbers))


def fill(way: str, folder: Path, rows: int) -> None:
    """In parts, as a long command saves them; the table in one, for it would take hours."""
    part = MOST_ADDED if way == "SQLite" else rows
    for start in range(0, rows, part):
        WAYS[way](folder, rows).add(start, min(part, rows - start))


def measure(way: str, folder: Path, rows: int) -> dict[str, str]:
    """What a cache of so many rows does, in an empty folder."""
    told = {}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        pool.apply(fill, (way, folder, rows))
        told["size on disk"] = (
            f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e6:,.0f} MB"
        )
        drawn = np.random.default_rng(1).choice(rows, 1_000, replace=False)
        for name, numbers in (("read 1,000 at random", drawn), ("read all in order", np.arange(rows))):
            told[name], found = pool.apply(read, (way, folder, rows, numbers))
            assert found == len(numbers)
        for count, start in ((16, rows), (1_000, rows + 16)):
            told[f"add {count:,}"], _ = pool.apply(add, (way, folder, rows, start, count))
    told["there of 2 x 1,000 added at once"] = f"{_added_at_once(way, folder, rows):,}"
    told["there of the rows before, after kill -9"] = f"{_killed(way, folder, rows):,}"
    return told


def _added_at_once(way: str, folder: Path, rows: int) -> int:
    starts = [rows + 2_000, rows + 3_000]
    spawn = get_context("spawn")
    both = [spawn.Process(target=add, args=(way, folder, rows, start, 1_000)) for start in starts]
    for process in both:
        process.start()
    for process in both:
        process.join()
    with spawn.Pool(1) as pool:
        return pool.apply(read, (way, folder, rows, np.arange(rows + 2_000, rows + 4_000)))[1]


def _killed(way: str, folder: Path, rows: int) -> int:
    """Kill a process that adds rows as soon as it writes; then read."""
    spawn = get_context("spawn")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    process = spawn.Process(target=add, args=(way, folder, rows, rows + 5_000, MOST_ADDED))
    process.start()
    while process.is_alive() and not any(
        file not in before and (file.suffix == ".npy" or "journal" in file.name) for file in folder.rglob("*")
    ):
        time.sleep(0.001)
    time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with spawn.Pool(1) as pool:
        return pool.apply(read, (way, folder, rows, np.arange(rows)))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[40_000])
    parser.add_argument("--folder", type=Path, default=tempfile.gettempdir(), help="on the disk to measure")
    arguments = parser.parse_args()
    lines = []
    for rows in arguments.rows:
        measured = []
        for way in WAYS:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                measured.append(measure(way, Path(folder), rows))
        lines += [(f"{rows:,}", what, *(one[what] for one in measured)) for what in measured[0]]
    print(markdown(("rows", "", *WAYS), lines))


if __name__ == "__main__":
    main()

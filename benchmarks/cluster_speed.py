"""What a Ray cluster of this machine's cores gains over one process, and what it costs.

    python -m benchmarks.cluster_speed DATA --images 2000 --image-size 128

Embeds the same sample of DATA, each time into an empty cache: in this process, and on one worker for each
core. Prints the seconds until the first images were done, the images a second from then on, and the
processor's seconds of all processes together for an image. Needs pip install "transfer-advisor[ray]".
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import psutil

from advisor import backbones
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import embedding
from advisor.system.ray_cluster import connected
from benchmarks.results import markdown


def measure(data: str, images: int, image_size: int, where: str | None) -> list[str]:
    """A row of the table."""
    listed, backbone = sources.load(data), backbones.load(backbones.BUNDLED)
    positions = sample(listed.labels, images, 0)
    moments: list[tuple[float, int]] = []
    spent = 0.0

    def note(done: int, total: int) -> None:
        nonlocal spent
        moments.append((time.monotonic(), done))
        if done == total:
            spent = _processor_seconds()

    with tempfile.TemporaryDirectory() as cache:
        os.environ["ADVISOR_CACHE"] = cache
        began, before = time.monotonic(), _processor_seconds()
        with connected(where):
            embedding.embed(backbone, listed, positions, image_size, note)
    (first, early), (last, late) = moments[0], moments[-1]
    rate = (late - early) / (last - first)
    each = 1000 * (spent - before) / images
    return [where or "this process", f"{first - began:.1f}", f"{rate:.0f}", f"{each:.1f}"]


def _processor_seconds() -> float:
    """Of this process and of all that it has started and that still run."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=128)
    arguments = parser.parse_args()
    of = arguments.data, arguments.images, arguments.image_size
    rows = [measure(*of, where) for where in (None, "local")]
    header = ["where", "first images (s)", "images/s from then on", "processor ms an image"]
    print(markdown(header, rows))


if __name__ == "__main__":
    main()

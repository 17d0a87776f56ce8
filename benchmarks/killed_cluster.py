"""What is lost where a worker of a Ray cluster dies in the middle of embedding, and then the command itself.

    python -m benchmarks.killed_cluster DATA --images 4000 --image-size 128

Embeds images of DATA on two workers of this machine into an empty cache. After a quarter of the images a
worker is killed, after half of them the command (both with `kill -9`). Then it is given again. Prints how
many images the first command had told to be done, how many of these the second one did not find, and how
long each of them ran. Needs pip install "transfer-advisor[ray]".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from advisor import backbones
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import embedding
from advisor.system.ray_cluster import connected

GONE_SECONDS = 5.0


def embed(data: str, images: int, image_size: int) -> None:
    """Embed a sample on a cluster; print images done and images to do, a line each time."""
    listed, backbone = sources.load(data), backbones.load(backbones.BUNDLED)

    def tell(done: int, total: int) -> None:
        print(json.dumps([done, total]), flush=True)

    with connected("local"):
        embedding.embed(backbone, listed, sample(listed.labels, images, 0), image_size, tell)
    print(json.dumps("finished"), flush=True)


def measure(data: str, images: int, image_size: int, block: int) -> dict[str, Any]:
    """Kill a worker and the command as the module says; what came of it."""
    with tempfile.TemporaryDirectory() as cache:
        of = data, images, image_size, block, cache
        began, told, is_hurt = time.monotonic(), 0, False
        with _command(*of) as command:
            for line in _lines(command):
                told, total = line
                if told >= total / 4 and not is_hurt:
                    is_hurt = _kill_a_worker(command.pid)
                if told >= total / 2:
                    _kill_all_of(command)
                    break
        first, began = time.monotonic() - began, time.monotonic()
        with _command(*of) as command:
            lines = list(_lines(command))
        return {
            "images": images,
            "block": block,
            "worker_killed": is_hurt,
            "told": told,
            "lost": lines[0][1] - (images - told),
            "embedded_by_the_second": lines[0][1],
            "finished": lines[-1] == "finished",
            "seconds": [round(first, 1), round(time.monotonic() - began, 1)],
        }


@contextmanager
def _command(
    data: str, images: int, image_size: int, block: int, cache: str
) -> Iterator[subprocess.Popen[str]]:
    arguments = [data, "--images", str(images), "--image-size", str(image_size), "--block", str(block)]
    command = [sys.executable, "-m", "benchmarks.killed_cluster", *arguments, "--embed"]
    environment = {**os.environ, "ADVISOR_CACHE": cache}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _lines(command: subprocess.Popen[str]) -> Iterator[Any]:
    assert command.stdout is not None
    return map(json.loads, command.stdout)


def _kill_a_worker(command: int) -> bool:
    """Kill a process of the cluster that embeds; whether there was one."""
    import psutil

    for process in psutil.Process(command).children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith("ray::_Worker.work"):
                process.kill()
                return True
    return False


def _kill_all_of(command: subprocess.Popen[str]) -> None:
    """Kill a command; Ray's processes end by themselves then, but for those that take a minute for it."""
    import psutil

    started = psutil.Process(command.pid).children(recursive=True)
    command.kill()
    for process in psutil.wait_procs(started, GONE_SECONDS)[1]:
        process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--block", type=int, default=embedding.BLOCK)
    parser.add_argument("--embed", action="store_true", help=argparse.SUPPRESS)  # the command that is killed
    arguments = parser.parse_args()
    embedding.BLOCK = arguments.block
    of = arguments.data, arguments.images, arguments.image_size
    if arguments.embed:
        embed(*of)
    else:
        print(json.dumps(measure(*of, arguments.block)))


if __name__ == "__main__":
    main()

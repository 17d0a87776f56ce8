"""How much work a command does, counted and not timed, for machines are noisy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SAMPLE = 90
# What counts: images that are decoded, files that are read for their digest, batches through a network, and
# decompositions. Then what was imported, and the most memory.
COUNTING = """
import json, sys
from collections import Counter

import numpy as np

from advisor import api
from advisor.data import copies, images
from advisor.evidence import forward

done = []  # threads append to it, too, and none loses what another one did

def counted(module, name, what):
    plain = getattr(module, name)
    def counting(*of, **named):
        done.append(what)
        return plain(*of, **named)
    setattr(module, name, counting)

counted(images, "load_square", "decoded")
counted(copies, "content", "digests")
counted(np.linalg, "eigh", "decompositions")
made = forward.runner

def runner(*of):
    run = made(*of)
    def counting(pixels):
        done.extend(["images through the network"] * len(pixels))
        return run(pixels)
    return counting

forward.runner = runner
api.recommend(sys.argv[1], sample=int(sys.argv[2]))
slow = ("tensorflow", "keras", "sklearn", "scipy", "matplotlib")
count = Counter(done)
# Not ru_maxrss, which begins with what the process held that started this one.
most = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
count["megabytes"] = int(most.split()[1]) / 1024
print(json.dumps({"count": count, "imported": [name for name in slow if name in sys.modules]}))
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of 80 images."""
    folder, generator = tmp_path_factory.mktemp("work"), np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 180)):
        (folder / name).mkdir()
        for number in range(80):
            pixels = np.clip(generator.normal(shade, 50, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def work(data: Path, cache: Path) -> tuple[Counter[str], list[str]]:
    """What `recommend` did, in a process of its own, and what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(data), str(SAMPLE)],
        capture_output=True, text=True, env=os.environ | {"ADVISOR_CACHE": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    return Counter(told["count"]), told["imported"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units elsewhere")
def test_recommend_computes_each_thing_once(photographs, tmp_path):
    first, imported = work(photographs, tmp_path)
    again, imported_again = work(photographs, tmp_path)
    mirrored = first["decoded"] - SAMPLE
    assert 0 < mirrored <= SAMPLE / 3
    assert first["images through the network"] == first["decoded"]
    assert first["digests"] - again["digests"] == first["decoded"]  # beside those of files of equal sizes
    assert first["decompositions"] <= 33
    assert not imported
    assert not imported_again
    assert again["decoded"] == again["images through the network"] == 0
    assert again["decompositions"] == first["decompositions"]
    assert max(first["megabytes"], again["megabytes"]) < 700

"""Work on a Ray cluster gives what it gives in this process, and no death on the way loses more than a block.

Most of it needs Ray, which has an environment of its own in .ci/run, and is skipped without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from advisor import api, backbones
from advisor.data import sources
from advisor.errors import InputError
from advisor.evidence import embedding
from advisor.evidence.embedder import Batch
from advisor.system import cluster, ray_cluster

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='needs Ray: pip install "transfer-advisor[ray]"'
)
CODE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A folder of two classes of 300 images each."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for name, most in (("dark", 100), ("light", 256)):
        (folder / name).mkdir()
        for number in range(300):
            pixels = random.integers(0, most, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def rows_in(cache: Path) -> int:
    """Rows of features that lie in a cache."""
    count = 0
    for file in cache.glob("features/*.sqlite"):
        with closing(sqlite3.connect(file)) as base:
            count += base.execute("SELECT count(*) FROM features").fetchone()[0]
    return count


def test_an_address_that_is_none_is_refused(noise, refused):
    assert "local, auto or ray://HOST:PORT" in refused("recommend", str(noise), "--cluster", "10.0.0.1")


def test_without_ray_it_is_said_how_to_get_it(noise, refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert 'pip install "transfer-advisor[ray]"' in refused(
        "run", str(noise), "--auto", "--cluster", "local", "--output", str(noise.parent / "run")
    )


def test_a_cluster_that_does_not_answer_is_refused(noise, refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    with socket.socket() as taken:  # and does not listen
        taken.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        assert f"{address} does not answer" in refused("compare", str(noise), "--cluster", address)


def test_images_that_only_this_machine_sees_are_refused(noise):
    class OtherDisk(cluster.Here):
        def blocks(self, make, items, size) -> Iterator[list[tuple[int, Batch]]]:
            none = np.empty(0, np.int64)
            yield [(size, Batch(none, [], none, none, {3: os.strerror(2)}))]

    data = sources.load(str(noise))
    with cluster.used(OtherDisk()), pytest.raises(InputError) as refusal:
        embedding.embed(backbones.load(backbones.BUNDLED), data, np.arange(len(data)), 32)
    assert data.paths[embedding.BLOCK + 3] in str(refusal.value)
    assert "all of its machines see" in str(refusal.value)


@needs_ray
def test_without_a_cluster_around_it_auto_is_refused(noise, refused, monkeypatch, tmp_path):
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path))
    assert "ray job submit" in refused("recommend", str(noise), "--image-size", "32", "--cluster", "auto")


class Squares:
    """Work of its own for the test of what can go wrong: it comes to the workers as it is."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(self):
        def work(items):
            if self.fault == "death":
                os._exit(1)
            if self.fault == "memory":
                raise MemoryError
            if self.fault == "package":
                import a_package_that_nobody_has  # noqa: F401
            yield [item**2 for item in items]

        return work


@needs_ray
def test_blocks_come_back_whole_and_faults_in_one_line():
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not have the tests
    with ray_cluster.connected("local"):
        where = cluster.current()
        found = [result for group in where.blocks(Squares(""), list(range(1000)), 64) for result in group]
        squares = {start + n: square for start, part in found for n, square in enumerate(part)}
        assert len(found) == 16
        assert squares == {n: n**2 for n in range(1000)}
        for fault, said in (
            ("memory", "too little memory"),
            ("package", "have no a_package_that_nobody_has: install"),
            ("death", "workers died at the same work"),
        ):
            with pytest.raises(InputError, match=said) as refusal:
                list(where.blocks(Squares(fault), [1, 2, 3], 2))
            assert "\n" not in str(refusal.value)


@needs_ray
def test_a_killed_worker_and_a_killed_command_lose_no_block_that_was_told(noise):
    from benchmarks import killed_cluster

    outcome = killed_cluster.measure(str(noise), 600, 64, 16)
    assert outcome["worker_killed"]
    assert outcome["lost"] <= 0
    assert outcome["finished"]


@needs_ray
def test_after_ctrl_c_what_was_embedded_is_kept_and_ray_is_gone(noise, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "advisor.cli", "recommend", str(noise), "--cluster", "local"]
    environment = {**os.environ, "ADVISOR_CACHE": str(cache), "PYTHONPATH": str(CODE)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not rows_in(cache):
            assert process.poll() is None
            time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("what was measured is kept in the cache")
    assert 0 < rows_in(cache) < 600
    assert psutil.wait_procs(started, 30)[1] == []


@needs_ray
def test_a_run_is_the_same_with_a_cluster_and_without(real_data, tmp_path, monkeypatch):
    import keras

    models, metrics, advice = [], [], []
    for where in ("local", None):
        monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / f"cache-{where}"))
        folder = tmp_path / f"run-{where}"
        of = {"image_size": 64, "sample": 200, "cluster": where}
        ran = api.run(str(real_data / "hymenoptera"), recipe="shallow_features", output=folder, **of)
        models.append(keras.models.load_model(folder / "model.keras").get_weights())
        metrics.append(ran.metrics)
        advice.append(json.loads((folder / "recommendation.json").read_text()))
    for cell, other in zip(*models, strict=True):
        assert np.abs(cell - other).max() <= 1e-5
    assert metrics[0].test == metrics[1].test
    for name in ("dataset", "size", "similarity", "quadrant", "recipe", "settings", "evidence"):
        assert advice[0][name] == advice[1][name]


@pytest.mark.slow
@needs_ray
def test_a_comparison_is_the_same_with_a_cluster_and_without(real_data, tmp_path, monkeypatch):
    boards = []
    for where in ("local", None):
        monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / f"cache-{where}"))
        of = {"image_size": 64, "sample": 200, "epochs": 1, "cluster": where}
        compared = api.compare(str(real_data / "hymenoptera"), output=tmp_path / f"compared-{where}", **of)
        boards.append([(row.name, row.status, row.accuracy, row.macro_f1) for row in compared.rows])
    assert boards[0] == boards[1]
    assert all(status == "finished" for _, status, *_ in boards[0])

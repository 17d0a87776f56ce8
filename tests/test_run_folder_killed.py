"""`kill -9` at any moment of a training, then `--resume`: the model is the one of a training left alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor.errors import InputError
from recipes.runs import prediction

# In the order in which one training meets them: (what, of which name, after how many of it in this process).
MOMENTS = [
    ("stage", "Looking at files", 0),
    ("file", "recommendation.json", 0),
    ("file", "started.json", 0),
    ("file", "pixels-training-*.npy", 0),
    ("stage", "Training", 0),
    ("batch", "", 2),
    ("file", "best-1.npz", 0),
    ("file", "last-1.npz", 0),
    ("file", "state.json", 0),
    ("batch", "", 5),  # in the second epoch, after all of the first
    ("file", "last-2.npz", 0),
    ("batch", "", 1),
    ("file", "state.json", 0),
    ("stage", "Testing", 0),
    ("file", "model.keras", 0),
    ("file", "labels.json", 0),
    ("file", "neighbours.npz", 0),
    ("file", "metrics.json", 0),
    ("file", "report.html", 0),
]


FROM_RANDOM_WEIGHTS = {
    "recipe": "full_training", "init": "random", "backbone": "simple_cnn", "epochs": 3, "batch_size": 8,
}  # fmt: skip
TO_A_POOL = {"recipe": "fine_tuning", "train_from": "block_14_expand", "epochs": 2, "batch_size": 8}


def train(data: Path, run: Path, options: dict, moment: tuple[str, str, int] | None) -> None:
    """Run in a process of its own, which kills itself at the moment."""
    from advisor import api
    from advisor.system import devices, storage
    from advisor.system.progress import Silent

    devices.load_tensorflow()
    import keras

    what, name, after = moment or ("", "", 0)
    seen = 0

    def met() -> None:
        nonlocal seen
        seen += 1
        if seen > after:
            os.kill(os.getpid(), signal.SIGKILL)

    class Watched(Silent):
        def steps(self, stage):
            if (what, stage) == ("stage", name):
                met()
            return super().steps(stage)

    class WatchedSystem:
        """The module `os`, which kills the process before the file gets its name."""

        def __getattr__(self, function):
            return getattr(os, function)

        def replace(self, source, target):
            if what == "file" and Path(target).match(name):
                met()
            os.replace(source, target)

    class WatchedBoard(keras.callbacks.TensorBoard):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if what == "batch":
                met()

    storage.os = WatchedSystem()  # type: ignore[assignment]
    keras.callbacks.TensorBoard = WatchedBoard
    api.run(str(data), image_size=32, output=run, resume=True, display=Watched(), **options)


@pytest.fixture
def trained(tmp_path: Path) -> Iterator:
    """Train in another process, to the end or to a moment: its exit code."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tensorflow", "keras", "advisor.api", "recipes.runs.run"])

    draw = np.random.default_rng(0)
    for label, mean in (("dark", 100), ("light", 150)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(20):
            pixels = draw.normal(mean, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")

    def to(run: Path, options: dict, moment: tuple[str, str, int] | None = None) -> int | None:
        process = processes.Process(target=train, args=(tmp_path / "data", run, options, moment))
        process.start()
        process.join()
        return process.exitcode

    return to


def weights(run: Path) -> list[np.ndarray]:
    import keras

    return keras.saving.load_model(run / "model.keras").get_weights()


def read(run: Path, name: str) -> dict:
    return json.loads((run / name).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_training_killed_at_each_moment_ends_with_the_same_weights(trained, tmp_path):
    alone, run = tmp_path / "alone", tmp_path / "run"
    assert trained(alone, FROM_RANDOM_WEIGHTS) == 0
    for moment in MOMENTS:
        assert (moment, trained(run, FROM_RANDOM_WEIGHTS, moment)) == (moment, -signal.SIGKILL)
    assert trained(run, FROM_RANDOM_WEIGHTS, ("batch", "", 0)) == 0  # all epochs are kept: none anew
    for expected, found in zip(weights(alone), weights(run), strict=True):
        np.testing.assert_array_equal(expected, found)
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in alone.iterdir())
    metrics = [read(folder, "metrics.json") for folder in (alone, run)]
    assert metrics[0]["test"] == metrics[1]["test"]
    history = [(folder / "history.csv").read_text(encoding="utf-8").splitlines() for folder in (alone, run)]
    for expected, found in zip(*history, strict=True):  # the last column is the time that it took
        assert expected.rpartition(",")[0] == found.rpartition(",")[0]


@pytest.mark.slow
def test_a_training_killed_before_its_pool_ends_with_the_same_pool(trained, tmp_path):
    """Killed between the last epoch and the pool, and again while the pool takes the frozen model's place.

    The folder holds one model or the other, or it is said that it holds half of each.
    """
    first, run = tmp_path / "first", tmp_path / "run"
    assert trained(run, TO_A_POOL, ("stage", "Choosing what to keep", 0)) == -signal.SIGKILL
    frozen = weights(run)
    assert (prediction.load(run).recipe, read(run, "metrics.json")["complete"]) == ("fine_tuning", False)
    assert read(run, "metrics.json")["kept"]["rule"] == "frozen"
    shutil.copytree(run, first)
    assert trained(first, TO_A_POOL, ("batch", "", 0)) == 0  # all epochs are kept: none anew
    for name in ("model.keras", "validation.npz", "metrics.json"):
        assert (name, trained(run, TO_A_POOL, ("file", name, 0))) == (name, -signal.SIGKILL)
        if name == "model.keras":
            assert all(map(np.array_equal, weights(run), frozen))
            prediction.load(run)
        else:
            with pytest.raises(InputError, match=rf"complete it with .* --output {run} --resume"):
                prediction.load(run)
    assert trained(run, TO_A_POOL, ("batch", "", 0)) == 0
    prediction.load(run)
    for expected, found in zip(weights(first), weights(run), strict=True):
        np.testing.assert_array_equal(expected, found)
    metrics = [read(folder, "metrics.json") for folder in (first, run)]
    for each in metrics:
        assert 0.1 <= each["kept"]["weight"] <= 0.9
        del each["kept"]["second"]["milliseconds"]
    assert metrics[0]["kept"] == metrics[1]["kept"]
    assert metrics[0]["test"] == metrics[1]["test"]
    with np.load(first / "validation.npz") as expected, np.load(run / "validation.npz") as found:
        for name in ("frozen", "trained", "labels"):
            np.testing.assert_array_equal(expected[name], found[name])

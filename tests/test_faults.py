"""Ctrl-C, kill -9, two commands at once, a full disk, vanished files, damaged caches."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor import backbones
from advisor.cli import main
from advisor.data import images, sources
from advisor.evidence import embedding
from advisor.evidence.feature_cache import FeatureCache
from advisor.system.progress import Bars
from recipes.runs import prediction, run_files


@pytest.fixture
def data(tmp_path) -> Path:
    """Two classes of twelve images that are easy to tell apart."""
    generator = np.random.default_rng(0)
    for label, mean in (("dark", 60), ("light", 190)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(12):
            pixels = generator.normal(mean, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{i}.png")
    return tmp_path / "data"


def call(capfd, *arguments: str) -> tuple[int, str]:
    """Exit code, and what the command said last on standard error."""
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    lines = capfd.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in lines)
    return exit.value.code, (lines or [""])[-1]


def at_stage(monkeypatch, stage: str, fault) -> None:
    """Do something when a stage begins."""
    steps = Bars.steps

    def watched(self, what):
        if what == stage:
            fault()
        return steps(self, what)

    monkeypatch.setattr(Bars, "steps", watched)


def finished(run: Path) -> dict:
    """The metrics of a run that is complete and left nothing behind."""
    assert not (run / "checkpoints").exists()
    assert not list(run.glob(".*"))
    assert {"model.keras", "labels.json", "history.csv", "report.html"} <= {
        path.name for path in run.iterdir()
    }
    return json.loads((run / "metrics.json").read_text())


STAGES = (
    "Looking at files",
    "Measuring images",
    "Probing",
    "Embedding images",
    "Solving the head",
    "Testing",
)


@pytest.mark.slow
def test_ctrl_c_at_each_stage_then_resumed(data, tmp_path, monkeypatch, capfd):
    """One run, interrupted at one stage after the other, gets to its end."""
    run = tmp_path / "run"
    command = ["run", str(data), "--recipe", "feature_extraction", "--output", str(run)]
    for stage in STAGES:
        with monkeypatch.context() as patched:
            at_stage(patched, stage, lambda: signal.raise_signal(signal.SIGINT))
            code, said = call(capfd, *command, "--resume")
        assert (stage, code) == (stage, 130)
        assert (
            said == f"advisor: interrupted; what was done is kept: give the same command with "
            f"--output {run} --resume"
        )
        assert not (run / "metrics.json").exists()
    assert call(capfd, *command, "--resume")[0] == 0
    assert finished(run)["test"]["accuracy"] == 1.0


def test_ctrl_c_while_recommending(data, monkeypatch, capfd):
    at_stage(monkeypatch, "Probing", lambda: signal.raise_signal(signal.SIGINT))
    code, said = call(capfd, "recommend", str(data))
    assert code == 130
    assert "what was measured is kept" in said


def test_full_disk(data, tmp_path, capfd):
    """Files may grow to 2 MB only; the model needs more."""
    run = tmp_path / "run"
    command = ["run", str(data), "--recipe", "feature_extraction", "--output", str(run)]
    assert call(capfd, "recommend", str(data))[0] == 0  # the cache holds larger files
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        code, said = call(capfd, *command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert str(run / "model.keras") in said
    assert "free some space" in said
    assert not (run / "metrics.json").exists()
    assert not (run / "model.keras").exists()
    assert call(capfd, *command, "--resume")[0] == 0
    finished(run)


def test_image_that_vanishes_before_training(data, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    loaded = sources.load(str(data))
    gone = Path(loaded.paths[loaded.indices("train")[0]])
    at_stage(monkeypatch, "Decoding training images", gone.unlink)
    code, said = call(
        capfd, "run", str(data), "--recipe", "fine_tuning", "--image-size", "64", "--output", str(run)
    )
    assert code == 2
    assert f"{gone} changed during the run (No such file or directory); put it back and add --resume" in said


@pytest.mark.slow
def test_image_that_vanishes_before_testing(data, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    loaded = sources.load(str(data))
    gone = Path(loaded.paths[loaded.indices("test")[0]])
    moved = tmp_path / "moved.png"
    command = ["run", str(data), "--recipe", "feature_extraction", "--output", str(run)]
    with monkeypatch.context() as patched:
        at_stage(patched, "Testing", lambda: gone.rename(moved))
        code, said = call(capfd, *command)
    assert code == 2
    assert f"{gone} changed during the run" in said
    moved.rename(gone)
    assert call(capfd, *command, "--resume")[0] == 0
    finished(run)


def test_data_on_a_read_only_disk(data, capfd):
    """Nothing is written beside the images."""
    before = sorted((str(path), path.stat().st_mtime_ns) for path in [data, *data.rglob("*")])
    for path in [data, *data.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert call(capfd, "recommend", str(data))[0] == 0
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in [data, *data.rglob("*")])
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755)


# ---------------------------------------------------------------------------------------------------
# The cache


@pytest.fixture
def embed(data, tmp_path, monkeypatch):
    """Embed the data with a small network into a cache of its own."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    backbone = backbones.load("simple_cnn")

    def embed(count: int) -> np.ndarray:
        found = embedding.embed(backbone, sources.load(str(data)), np.arange(count), 32)
        return found.features.values

    return embed


def test_features_are_those_of_the_network(embed, data):
    """Each tap's where it belongs: the converted network must not put its outputs in another order."""
    backbone = backbones.load("efficientnet_lite0")
    loaded = sources.load(str(data))
    found = embedding.embed(backbone, loaded, np.arange(3), 64).features
    pixels = np.stack([images.load_square(path, 64) for path in loaded.paths[:3]]).astype(np.float32)
    for tap, expected in zip(
        backbone.taps, backbone.features(backbone.taps)(pixels, training=False), strict=True
    ):
        np.testing.assert_allclose(found.at(tap), np.asarray(expected), atol=1e-3)


def cached(tmp_path) -> Path:
    (file,) = (tmp_path / "cache" / "features").iterdir()
    return file


def rows_cached(tmp_path) -> int:
    with closing(sqlite3.connect(cached(tmp_path))) as base:
        return base.execute("SELECT count(*) FROM features").fetchone()[0]


def damage_by_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def damage_by_text(file):
    file.write_text("<html>")


def damage_by_other_array(file):
    with file.open("wb") as out:
        np.save(out, np.zeros(3))


def damage_by_pickle(file):
    with file.open("wb") as out:
        np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def damage_by_nothing_left(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [damage_by_half, damage_by_text, damage_by_other_array, damage_by_pickle, damage_by_nothing_left],
)
def test_damaged_cache_is_computed_again(damage, embed, tmp_path):
    before = embed(6)
    damage(cached(tmp_path))
    np.testing.assert_array_equal(embed(6), before)
    assert rows_cached(tmp_path) == 6


def test_cache_grows_and_forgets_changed_files(embed, data, tmp_path):
    before = embed(3)
    np.testing.assert_array_equal(embed(5)[:3], before)
    assert rows_cached(tmp_path) == 5
    first = Path(sources.load(str(data)).paths[0])
    Image.new("RGB", (32, 32), "red").save(first)
    assert (embed(5)[0] != before[0]).any()
    assert rows_cached(tmp_path) == 5


def test_other_command_takes_the_cache_file_in_between(embed, tmp_path, monkeypatch):
    """Its rows replace ours right after we wrote them: ours still come back."""
    theirs = embed(2)
    other = cached(tmp_path).read_bytes()
    add = FeatureCache.add

    def add_and_lose(self, rows, at):
        add(self, rows, at)
        self.file.with_suffix(".new").write_bytes(other)
        os.replace(self.file.with_suffix(".new"), self.file)

    monkeypatch.setattr(FeatureCache, "add", add_and_lose)
    np.testing.assert_array_equal(embed(6)[:2], theirs)


def test_other_command_loses_rows_that_are_still_needed(embed, tmp_path, monkeypatch):
    """What was in the file when we started is gone from it when we add to it."""
    embed(2)
    add = FeatureCache.add

    def lose_and_add(self, rows, at):
        self.file.unlink()
        add(self, rows, at)

    monkeypatch.setattr(FeatureCache, "add", lose_and_add)
    assert len(embed(6)) == 6
    assert rows_cached(tmp_path) == 6


def test_two_lists_of_images_in_one_folder_share_a_cache(data, tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    backbone, whole = backbones.load("simple_cnn"), sources.load(str(data))
    for rows in (np.arange(4), np.arange(4, 7)):
        embedding.embed(backbone, whole.take(rows), np.arange(len(rows)), 32)
    computed = []
    embedding.embed(backbone, whole, np.arange(8), 32, lambda done, total: computed.append(total))
    assert computed == [1]
    assert rows_cached(tmp_path) == 8


# ---------------------------------------------------------------------------------------------------
# Processes

FINE_TUNING = ("--recipe", "fine_tuning", "--epochs", "3", "--image-size", "64")


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "advisor.cli", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen, file: Path) -> None:
    for _ in range(3000):
        if file.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise TimeoutError(file)


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_training_killed_in_an_epoch_then_resumed(blow, data, tmp_path, capfd):
    """The metrics are those of a run that was left alone, within noise."""
    run, alone = tmp_path / "run", tmp_path / "alone"
    process = start("run", str(data), *FINE_TUNING, "--output", str(run))
    wait_for(process, run / "checkpoints" / "state.json")
    process.send_signal(blow)
    said = process.communicate()[1].splitlines()
    if blow == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert said[-1].endswith(f"--output {run} --resume")
    there = json.loads((run / "metrics.json").read_text())  # of a model that was finished before
    assert not there["complete"]
    assert there["kept"]["rule"] == ("frozen" if blow == signal.SIGKILL else "better")
    assert call(capfd, "predict", str(run), str(data / "dark"))[0] == 0
    done = len(json.loads((run / "checkpoints" / "state.json").read_text()))
    assert 2 <= done <= 4
    assert call(capfd, "run", str(data), *FINE_TUNING, "--output", str(run), "--resume")[0] == 0
    resumed = finished(run)
    rows = (run / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2", "3"]
    if blow == signal.SIGKILL:
        assert call(capfd, "run", str(data), *FINE_TUNING, "--output", str(alone))[0] == 0
        whole = finished(alone)
        assert abs(resumed["test"]["accuracy"] - whole["test"]["accuracy"]) < 0.51  # one image of two
        assert abs(resumed["validation"]["log_loss"] - whole["validation"]["log_loss"]) < 0.3


@pytest.mark.slow
def test_ctrl_c_at_twenty_moments_leaves_a_valid_model(real_data, tmp_path):
    """On ants and bees, at any moment from the first model on; one run, gone on with each time."""
    run, draw, moments = tmp_path / "run", np.random.default_rng(0), 0
    command = ["run", str(real_data / "hymenoptera"), "--recipe", "fine_tuning", "--image-size", "96"]
    while moments < 20:
        process = start(*command, "--output", str(run), "--resume", ADVISOR_CACHE=os.environ["ADVISOR_CACHE"])
        wait_for(process, run / "metrics.json")
        time.sleep(draw.uniform(0, 25))
        process.send_signal(signal.SIGINT)
        process.communicate()
        prediction.ready(prediction.load(run))
        if process.returncode == 0:
            shutil.rmtree(run)
            continue
        assert process.returncode == 130
        assert not run_files.read_metrics(run).complete or (run / "checkpoints").exists()
        moments += 1


@pytest.mark.slow
def test_two_commands_at_once(data, tmp_path):
    """On the same images and the same empty cache, with no --output: two folders, two right answers."""
    command = ["run", str(data), "--recipe", "feature_extraction"]
    environment = {**os.environ, "ADVISOR_CACHE": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "advisor.cli", *command],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["data-feature_extraction", "data-feature_extraction-2"]
    assert [finished(run)["test"]["accuracy"] for run in runs] == [1.0, 1.0]
    assert not list((tmp_path / "cache").rglob(".*"))

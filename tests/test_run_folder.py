"""A run folder: one writer at a time, and `--resume` on one that is damaged or a stranger's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import hostile_runs
import numpy as np
import pytest

from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Settings
from advisor.advice.settings_values import SHAPES
from advisor.data import sources
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.results import Epoch
from advisor.system.folder_lock import LOCK, locked
from recipes.runs import run_files
from recipes.runs.run_folder import RunFolder
from recipes.training.checkpoints import Checkpoints

# ---------------------------------------------------------------------------------------------------
# One at a time

HOLD = """
import sys, time
from pathlib import Path
from advisor.system.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_command(tmp_path):
    """A process that writes to a folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.communicate()


def test_the_second_command_is_told_at_once(other_command, finished_run, refused):
    folder, process = other_command
    images = str(finished_run.parent / "images")
    for more in ([], ["--resume"], ["--overwrite"]):
        said = refused("run", images, "--auto", "--output", str(folder), *more)
        assert said.startswith(f"advisor: another command is writing to {folder}; wait until it is done")
    assert [path.name for path in folder.iterdir()] == [LOCK]
    process.send_signal(signal.SIGKILL)
    process.wait()
    with RunFolder(folder).writing():
        (folder / "labels.json").touch()
    assert [path.name for path in folder.iterdir()] == ["labels.json"]


def test_a_folder_is_free_again_and_an_empty_one_is_gone(tmp_path):
    folder = tmp_path / "new"
    for _ in range(2):
        with RunFolder(folder).writing(), pytest.raises(InputError), locked(folder):
            pass
        assert not folder.exists()
    folder.mkdir()
    (folder / LOCK).touch()  # of a process that was killed
    with RunFolder(folder).writing():
        pass
    assert not folder.exists()


def test_a_lock_that_leads_elsewhere_is_refused(tmp_path):
    outside = tmp_path / "outside"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(outside)
    with pytest.raises(InputError, match="cannot write to "), locked(tmp_path / "run"):
        pass
    assert not outside.exists()


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    left = [".metrics-ab3_defg.json", ".model-abcdefgh.keras", "checkpoints/.state-abcdefgh.json"]
    kept = [".notes", ".logs-20240101", ".metrics-of-mine.json", "labels.json"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    RunFolder(tmp_path).prepare(resume=True, overwrite=False)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {*kept, "checkpoints"}


# ---------------------------------------------------------------------------------------------------
# Damaged settings

ASKED: dict = {"recipe": None}


@pytest.fixture(scope="module")
def data(finished_run) -> Dataset:
    return sources.load(str(finished_run.parent / "images"))


@pytest.fixture
def advice(finished_run) -> Recommendation:
    return Recommendation.from_json(json.loads((finished_run / "recommendation.json").read_text()))


@pytest.fixture
def settings(advice) -> Settings:
    return advice.settings


@pytest.fixture
def unfinished(tmp_path, data, advice) -> Path:
    """A run folder as it is when training begins."""
    RunFolder(tmp_path).start(data, 0, advice, ASKED, resume=False)
    return tmp_path


def resume(folder: Path, data: Dataset, advice: Recommendation) -> Settings:
    RunFolder(folder).prepare(resume=True, overwrite=False)
    return RunFolder(folder).start(data, 0, advice, ASKED, resume=True).settings


def test_settings_in_json_are_all_known():
    assert list(SHAPES) == [field.name for field in fields(Settings)]


def test_settings_are_all_mandatory(settings):
    values = json.loads(json.dumps(settings.to_json()))
    assert run_files.settings_from(values) == settings
    for name in values:
        with pytest.raises(TypeError):
            run_files.settings_from({other: values[other] for other in values if other != name})


def test_a_sound_folder_is_resumed_with_its_settings(unfinished, data, advice, settings):
    now = advice.with_settings(replace(settings, batch_size=1, taps=settings.taps[:1], mode="augmented"))
    assert resume(unfinished, data, now) == settings
    told, expected = json.loads((unfinished / "recommendation.json").read_text()), advice.to_json()
    for each in (told, expected):  # what is known of this machine's speed changes
        del each["plan"]["seconds_estimated"]
    assert told == json.loads(json.dumps(expected))


STARTED = {
    "nested deeply": "[" * 100_000,
    "cut": '{"data": "',
    "not UTF-8": b"\xff\xfe",
    "a list": "[]",
    "null": "null",
    "other asked": {"asked": [1]},
    "no settings": {"settings": None},
    "an unknown setting": {"settings": {"sharpness": "high"}},
    "an unknown pooling": {"settings": {"pooling": "cells:3"}},
    "an unknown recipe": {"settings": {"recipe": "guess"}},
    "an unknown mode": {"settings": {"mode": "partial"}},
    "an unknown head": {"settings": {"head": "mlp:99999999"}},
    "another network": {"settings": {"backbone": "/tmp/evil.keras"}},
    "other weights": {"settings": {"weights": "/tmp/evil.h5"}},
    "no taps": {"settings": {"taps": []}},
    "taps that are a word": {"settings": {"taps": "abc"}},
    "a tap twice": {"settings": {"taps": ["a", "a"]}},
    "a huge image": {"settings": {"image_size": 20_000}},
    "a huge training image": {"settings": {"training_size": 2000}},
    "a batch of nothing": {"settings": {"batch_size": 0}},
    "an infinite learning rate": {"settings": {"learning_rate": float("inf")}},
    "a learning rate in words": {"settings": {"learning_rate": "fast"}},
    "truth for epochs": {"settings": {"epochs": True}},
}


@pytest.mark.parametrize("damage", STARTED)
def test_damaged_settings_are_refused(damage, unfinished, data, advice):
    file, changed = unfinished / "checkpoints" / "started.json", STARTED[damage]
    if isinstance(changed, dict):
        started = json.loads(file.read_text())
        for key, value in changed.items():
            started[key] = {**started[key], **value} if isinstance(value, dict) else value
        changed = json.dumps(started)
    hostile_runs.put(file, changed)
    with pytest.raises(InputError, match=r"is damaged: |another version of advisor") as error:
        resume(unfinished, data, advice)
    assert str(error.value).startswith(f"{unfinished} ")


@pytest.mark.parametrize("name", ["checkpoints", "logs"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_folders_that_are_none_are_refused(name, kind, unfinished, data, advice):
    outside = unfinished / "outside"
    if (unfinished / name).exists():
        (unfinished / name).rename(outside)
    outside.mkdir(exist_ok=True)
    (unfinished / name).symlink_to(outside) if kind == "link" else (unfinished / name).touch()
    before = sorted(outside.iterdir())
    with pytest.raises(InputError, match=f"is damaged: {name} is not a folder"):
        resume(unfinished, data, advice)
    assert sorted(outside.iterdir()) == before
    RunFolder(unfinished).clear()
    assert sorted(outside.iterdir()) == before


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: socket.socket(socket.AF_UNIX).bind("started.json")])
def test_settings_that_never_end_are_refused(make, unfinished, data, advice, monkeypatch):
    monkeypatch.chdir(unfinished / "checkpoints")
    Path("started.json").unlink()
    make("started.json")
    with pytest.raises(InputError, match=r"is damaged: checkpoints/started.json "):
        resume(unfinished, data, advice)


# ---------------------------------------------------------------------------------------------------
# Damaged weights


@pytest.fixture
def keeper(tmp_path, settings):
    """Makes checkpoints of a small network that has a random layer; each has other weights."""
    import keras

    def make() -> Checkpoints:
        layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return Checkpoints(model, tmp_path / "checkpoints", [], replace(settings, epochs=5))

    return make


def row(epoch: int, brier: float = 0.5) -> Epoch:
    return Epoch(epoch, "training", float("nan"), 0.5, float("inf"), 0.5, brier, 0.1, 1.0)


def test_the_last_epoch_is_taken_up_with_all_that_it_needs(keeper, tmp_path):
    first = keeper()
    for epoch, brier in ((1, 0.3), (2, 0.2), (3, 0.4)):
        first.model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
        first.add(row(epoch, brier))
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {
        "state.json", "best-2.npz", "last-3.npz",
    }  # fmt: skip
    second = keeper()
    second.restore()
    assert second.epochs_done() == 3
    assert repr(second.history) == repr(first.history)  # NaN is not equal to itself
    for one, other in ((first.best, second.best), (first.variables(), second.variables())):
        for expected, found in zip(one, other, strict=True):
            np.testing.assert_array_equal(np.asarray(expected), np.asarray(found))
    assert any("seed" in getattr(variable, "path", "") for variable in second.variables())


def cut(file: Path) -> None:
    hostile_runs.is_cut(file.parent, file.name)


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    hostile_runs.put(file, bytes(content))


def other_shapes(file: Path) -> None:
    with np.load(file) as arrays:
        changed = [array[..., :1] if array.ndim else array for array in arrays.values()]
    hostile_runs.put(file, b"")
    np.savez(file, *changed)


def other_types(file: Path) -> None:
    with np.load(file) as arrays:
        changed = [array.astype(np.float64) for array in arrays.values()]
    hostile_runs.put(file, b"")
    np.savez(file, *changed)


def fewer(file: Path) -> None:
    with np.load(file) as arrays:
        changed = [*arrays.values()][:-1]
    hostile_runs.put(file, b"")
    np.savez(file, *changed)


def pickled(file: Path) -> None:
    hostile_runs.put(file, b"")
    runs = np.array([hostile_runs.Runs(file.parent)], dtype=object)
    np.savez(file, runs, allow_pickle=True)


def link(file: Path) -> None:
    file.rename(file.parent / "elsewhere")
    file.symlink_to("elsewhere")


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("name", ["best-1.npz", "last-1.npz"])
@pytest.mark.parametrize("damage", [cut, flipped, other_shapes, other_types, fewer, pickled, link, gone])
def test_damaged_weights_are_trained_again(damage, name, keeper, tmp_path):
    keeper().add(row(1))
    damage(tmp_path / "checkpoints" / name)
    again = keeper()
    before = [np.array(variable) for variable in again.variables()]
    again.restore()
    assert again.epochs_done() == 0
    for expected, found in zip(before, again.variables(), strict=True):
        np.testing.assert_array_equal(expected, np.asarray(found))
    assert not (tmp_path / "checkpoints" / hostile_runs.MARK).exists()
    again.add(row(1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "7",
        "{}",
        "null",
        "[7]",
        '[{"epoch": 1}]',
        "ROW2",
        "[ROW1, ROW1]",
        "[ROW0]",
        "[TRUE]",
        "[MORE]",
        "[ENDLESS]",
        "[LONG]",
    ],
)
def test_a_damaged_history_is_trained_again(text, keeper, tmp_path):
    from dataclasses import asdict

    keeper().add(row(1))
    rows = {f"ROW{epoch}": asdict(row(epoch)) for epoch in range(3)}
    rows |= {"TRUE": rows["ROW1"] | {"accuracy": True}, "MORE": rows["ROW1"] | {"more": 1}}
    rows |= {"ENDLESS": rows["ROW1"] | {"seconds": float("inf")}, "LONG": rows["ROW1"] | {"loss": 10**350}}
    for name, value in rows.items():
        text = text.replace(name, json.dumps(value))
    hostile_runs.put(tmp_path / "checkpoints" / "state.json", text)
    again = keeper()
    again.restore()
    assert again.history == []

"""Each run folder of `hostile_runs` ends in one line: nothing runs, nothing hangs, nothing is swallowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fuzzing
import hostile_runs
import pytest
from hypothesis import given, settings

from advisor.errors import InputError
from recipes.runs import prediction, splits_file

# Gives each folder to one command; prints those that were not refused, or took more than 500 MB more memory.
MEASURE = """
import contextlib, io, resource, sys
sys.modules["tensorflow"] = None  # slow: all of this is refused before it
from advisor.cli import main
from recipes.runs import prediction, evaluation, export
from advisor.data import sources

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

command, images, *folders = sys.argv[1:]
began = peak()
for folder in folders:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main([command, folder, images])
        except SystemExit as end:
            code = end.code
    if code != 2 or said.getvalue().count("\\n") != 1:
        print(folder, code, said.getvalue())
    if peak() > began + 500:
        print(folder, "took", peak() - began)
        began = peak()
"""


def images_of(finished_run: Path) -> Path:
    return finished_run.parent / "images"


@pytest.mark.parametrize("damage", hostile_runs.BEFORE_LOADING)
def test_refused_before_anything_slow(damage, finished_run, tmp_path, refused, monkeypatch):
    run = hostile_runs.make(finished_run, tmp_path, hostile_runs.BEFORE_LOADING[damage])
    monkeypatch.setattr(
        "advisor.system.devices.load_tensorflow", lambda: pytest.fail("TensorFlow was loaded")
    )
    monkeypatch.chdir(tmp_path / "outside")
    images = images_of(finished_run)
    for command in (
        ("predict", str(run), str(images)),
        ("evaluate", str(run), str(images), "--output", str(tmp_path / "out")),
        ("export", str(run), "--format", "tflite", "--output", str(tmp_path / "out.tflite")),
    ):
        said = refused(*command)
        assert said.startswith(f"advisor: {run} ")
        assert "; " in said  # and what to do
    assert hostile_runs.MARK not in {path.name for path in tmp_path.rglob("*")}
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize("damage", hostile_runs.OF_SPLITS)
def test_damaged_splits_are_refused(damage, finished_run, tmp_path, refused):
    run = hostile_runs.make(finished_run, tmp_path, hostile_runs.OF_SPLITS[damage])
    said = refused("evaluate", str(run), str(images_of(finished_run)), "--output", str(tmp_path / "out"))
    assert said.startswith(f"advisor: {run} is damaged: splits.csv ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", hostile_runs.OF_MODELS)
def test_a_model_that_does_not_fit_is_refused(damage, finished_run, tmp_path, refused):
    run = hostile_runs.make(finished_run, tmp_path, hostile_runs.OF_MODELS[damage])
    hostile_runs.belong(run)
    images = str(images_of(finished_run))
    target = tmp_path / "out.tflite"
    for command in (
        ("predict", str(run), images),
        ("evaluate", str(run), images, "--output", str(tmp_path / "out")),
        ("export", str(run), "--format", "tflite", "--output", str(target)),
    ):
        said = refused(*command)
        assert str(run) in said
        assert "most recent call" not in said
    assert not target.exists()


def test_no_run_folder_takes_much_memory(finished_run, tmp_path):
    for table in ("BEFORE_LOADING", "OF_SPLITS"):
        damages = getattr(hostile_runs, table)
        folders = [
            str(hostile_runs.make(finished_run, tmp_path / f"{table}-{number}", damage))
            for number, damage in enumerate(damages.values())
        ]
        command = "predict" if table == "BEFORE_LOADING" else "evaluate"
        found = subprocess.run(
            [sys.executable, "-c", MEASURE, command, str(images_of(finished_run)), *folders],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "name", ["metrics.json", "labels.json", "neighbours.npz", "calibration.npz", "splits.csv"]
)
def test_any_run_folder_is_read_or_refused(name, finished_run, tmp_path):
    run = hostile_runs.make(finished_run, tmp_path / "runs", lambda run: None)
    good = (finished_run / name).read_bytes()
    contents = fuzzing.changed(good)
    if name.endswith(".json"):
        contents |= fuzzing.changed_json(json.loads(good)).map(lambda tree: json.dumps(tree).encode())

    @settings(max_examples=150, deadline=None, database=None)
    @given(contents)
    def check(content):
        hostile_runs.put(run / name, content)
        try:
            found = prediction.load(run)
            splits_file.read(run)
        except InputError:
            return
        assert len(found.class_names) >= 2

    check()

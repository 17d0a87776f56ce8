"""Prediction sets: they hold the true class as often as asked for, wherever predictions are shown."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import api
from advisor.cli import main
from advisor.errors import InputError
from advisor.evidence import prediction_sets
from advisor.evidence.prediction_sets import VALIDATION, Calibration
from advisor.report import prediction_tables, set_lines
from advisor.results import Prediction
from recipes.job import Trained
from recipes.runs import calibration_file, prediction


def answers(generator: np.random.Generator, images: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a model that is right about two times in three, and too sure of itself."""
    labels = generator.integers(0, classes, images)
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.7
    powers = np.exp(2 * logits)
    return labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("asked", [0.9, 0.95])
@pytest.mark.parametrize("images", [19, 40, 358])
def test_new_images_are_covered_as_often_as_asked_for(asked, images):
    generator, found = np.random.default_rng(0), []
    for _ in range(400):
        labels, probabilities = answers(generator, images + 100)
        truth = probabilities[np.arange(images), labels[:images]]
        found.append(
            prediction_sets.covered(
                Calibration.of(truth, VALIDATION), labels[images:], probabilities[images:], asked
            ).measured
        )
    error = np.std(found) / np.sqrt(len(found))
    assert asked - 4 * error <= np.mean(found) <= asked + 1 / (images + 1) + 4 * error


@given(st.integers(1, 400), st.floats(1e-9, 0.999))
def test_a_threshold_leaves_out_as_many_images_as_the_paper_says_or_there_are_too_few(images, asked):
    truth = np.random.default_rng(images).permutation(np.linspace(0.01, 0.99, images)).astype(np.float32)
    calibration = Calibration.of(truth, VALIDATION)
    if not calibration.reaches(asked):
        assert images < 1 / (1 - asked) - 1 + 1e-3
        with pytest.raises(InputError, match="take"):
            calibration.threshold(asked)
        return
    kept = int((truth >= calibration.threshold(asked)).sum())
    assert kept == max(1, images + 1 - np.floor(round((images + 1) * (1 - asked), 6)))


def test_a_set_holds_one_class_several_or_none():
    calibration = Calibration.of(np.linspace(0.3, 1, 99), VALIDATION)
    probabilities = np.float32([[0.9, 0.1, 0.0, 0.0], [0.4, 0.38, 0.22, 0], [0.25, 0.25, 0.25, 0.25]])
    assert calibration.sets(probabilities, 0.95).sum(axis=1).tolist() == [1, 2, 0]


@pytest.fixture
def two_images(finished_run):
    images = finished_run.parent / "images"
    return [str(images / "red" / "0.png"), str(images / "blue" / "0.png")]


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def test_a_run_of_a_solved_head_is_calibrated_on_all_images_but_the_test_images(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    calibration = calibration_file.read(finished_run)
    assert calibration.source == "leave-one-out"
    assert len(calibration.truth) == metrics["images"]["train"] + metrics["images"]["validation"]
    for row in metrics["prediction_sets"]:
        assert row["calibrated"] == len(calibration.truth)
        assert 0 <= row["measured"] <= 1
    assert [row["asked"] for row in metrics["prediction_sets"]] == [0.9, 0.95]
    card = (finished_run / "README.md").read_text()
    assert "| Asked | Measured | Classes in a set |" in card
    assert "\n| 95% | " in card


def test_a_trained_network_is_calibrated_on_the_validation_images():
    said = np.float32([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    data = SimpleNamespace(labels=np.array([0, 1, 1, 0, 1]), indices=lambda split: np.array([1, 3, 4]))
    job, trained = SimpleNamespace(data=data), Trained(None, (), said)
    found = calibration_file.calibration(job, trained)
    assert found.source == VALIDATION
    assert found.truth == pytest.approx([0.1, 0.3, 0.4])
    left_out = calibration_file.calibration(job, replace(trained, truth=np.float32([0.9, 0.2])))
    assert (left_out.source, left_out.truth.tolist()) == ("leave-one-out", pytest.approx([0.2, 0.9]))


def test_predict_gives_the_sets_as_lines_json_and_csv(finished_run, two_images, capsys):
    assert leave("predict", finished_run, *two_images, "--coverage", 0.9, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["coverage"] == 0.9
    least = calibration_file.read(finished_run).threshold(0.9)
    for row in answer["predictions"]:
        assert row["set"] == [one["label"] for one in row["top"] if one["probability"] >= least - 1e-6]
    assert leave("predict", finished_run, *two_images, "--coverage", 0.9) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.endswith("set for coverage 0.9")
    for row, said in zip(rows, answer["predictions"], strict=True):
        assert row.endswith(", ".join(said["set"]) or set_lines.NONE)
    assert leave("predict", finished_run, *two_images, "--coverage", 0.9, "--csv") == 0
    for row, said in zip(
        csv.DictReader(io.StringIO(capsys.readouterr().out)), answer["predictions"], strict=True
    ):
        assert row["set"] == "|".join(said["set"])
        assert int(row["set_size"]) == len(said["set"])
    found = api.predict(finished_run, two_images, coverage=0.9)
    assert [list(one.possible) for one in found] == [row["set"] for row in answer["predictions"]]


def test_without_a_coverage_nothing_is_said_of_sets(finished_run, two_images, capsys):
    assert leave("predict", finished_run, *two_images, "--json") == 0
    out = capsys.readouterr().out
    assert '"set"' not in out
    assert "coverage" not in out


@pytest.mark.parametrize("asked", ["0.999", "1", "0", "-1", "nan"])
def test_a_coverage_that_cannot_be_had_is_one_line(finished_run, two_images, refused, asked):
    said = refused("predict", str(finished_run), *two_images, "--coverage", asked)
    assert ("takes 999 images" if asked == "0.999" else "cannot be had") in said


def test_the_run_of_an_older_version_is_one_line(finished_run, two_images, tmp_path, refused):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "calibration.npz").unlink()
    assert "has no calibration.npz" in refused("predict", str(run), *two_images, "--coverage", "0.9")
    assert len(list(prediction.predict(prediction.load(run), two_images, lambda *_: None))) == 2


def shown(probabilities: list[float], least: float, unlike: bool = False) -> Prediction:
    names = tuple(f"class {n}" for n in range(len(probabilities)))
    return Prediction("a.png", names, np.float32(probabilities), 0.2, unlike, least)


def test_lines_say_none_cut_long_sets_and_mark_strangers():
    few = shown([0.2, 0.5, 0.3], 0.6), shown([0.2, 0.5, 0.3], 0.25, unlike=True), shown([0.05] * 20, 0.01)
    none, strange, many = list(set_lines.lines(few, 0.95, ["a.png"] * 3))[1:]
    assert none.endswith(set_lines.NONE)
    assert strange.endswith(f"class 1, class 2  {prediction_tables.UNLIKE}")
    assert many.endswith("class 7 and 12 more")


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_lines_fit_a_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = shown([0.2, 0.5, 0.3], 0.01, unlike=True), shown([0.05] * 20, 0.01)
    lines = list(set_lines.lines(rows, 0.95, ["a.png"] * 2))
    assert max(map(len, lines[1:])) <= max(columns, 42)
    assert any("class 1" in line for line in lines)


def test_a_set_in_a_table_is_no_formula():
    names, said = ("-2+3", "=1"), np.float32([0.5, 0.5])
    written = io.StringIO()
    prediction_tables.write_csv(written, [Prediction("a.png", names, said, 0.1, False, 0.4)])
    assert ',2,"\'-2+3|=1"\n' in written.getvalue()

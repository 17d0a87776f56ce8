"""`advisor evaluate`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from advisor.cli import main
from recipes import evaluation


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def test_own_data_give_the_test_split_of_the_run(finished_run, tmp_path, capsys):
    data = finished_run.parent / "images"
    assert leave("evaluate", finished_run, data, "--output", tmp_path / "out", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    recorded = json.loads((finished_run / "metrics.json").read_text())
    assert answer["images"] == recorded["images"]["test"]
    assert answer["accuracy"] == recorded["test"]["accuracy"]
    assert answer["log_loss"] == pytest.approx(recorded["test"]["log_loss"], abs=1e-4)
    assert "own test split" in answer["used"]


def test_new_data_with_some_of_the_classes_and_mistakes(finished_run, tmp_path, capsys):
    images, data = finished_run.parent / "images", tmp_path / "new"
    for name, source in (("red", "red"), ("blue", "green")):
        shutil.copytree(images / source, data / name)
    (data / "red" / "broken.png").write_text("no image")
    assert leave("evaluate", finished_run, data) == 0
    out = capsys.readouterr().out
    assert "Accuracy 50.0% (95 % interval" in out
    assert "broken.png" in out
    folder = finished_run / "evaluation-new"
    answer = json.loads((folder / "evaluation.json").read_text())
    low, high = answer["accuracy_interval"]
    assert 0 < low < answer["accuracy"] == 0.5 < high < 1
    assert answer["per_class"]["red"]["recall"] == 1
    assert answer["per_class"]["blue"]["recall"] == 0
    assert len(answer["worst_mistakes"]) == 20
    assert {item["label"] for item in answer["worst_mistakes"]} == {"blue"}
    assert {item["predicted"] for item in answer["worst_mistakes"]} == {"green"}
    for picture in ("confusion_matrix.png", "reliability.png", "mistakes.png"):
        with Image.open(folder / picture) as image:
            assert min(image.size) > 300
    shutil.rmtree(folder)


def test_a_given_test_split_is_used_alone(finished_run, tmp_path, capsys):
    images = finished_run.parent / "images"
    for split, name, source in (("train", "red", "blue"), ("test", "red", "red")):
        shutil.copytree(images / source, tmp_path / "data" / split / name)
    assert leave("evaluate", finished_run, tmp_path / "data", "--json", "--output", tmp_path / "out") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["images"], answer["accuracy"], answer["used"]) == (20, 1.0, "its test split")
    assert not (tmp_path / "out" / "mistakes.png").exists()


def test_unknown_classes_are_named(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run.parent / "images" / "red", tmp_path / "data" / "scarlet")
    assert leave("evaluate", finished_run, tmp_path / "data") == 2
    err = capsys.readouterr().err
    assert "scarlet" in err
    assert "blue, green, red" in err
    assert len(err.splitlines()) == 1


def test_calibration_error_of_known_cases():
    sure = np.tile(np.float32([0.9, 0.1]), (10, 1))
    assert evaluation.calibration_error(np.array([0] * 9 + [1]), sure) == pytest.approx(0, abs=1e-6)
    assert evaluation.calibration_error(np.zeros(10, int), sure) == pytest.approx(0.1, abs=1e-6)
    assert evaluation.calibration_error(np.ones(10, int), sure) == pytest.approx(0.9, abs=1e-6)
    mixed = np.concatenate([sure, np.tile(np.float32([0.4, 0.6]), (10, 1))])
    labels = np.array([0] * 10 + [1] * 5 + [0] * 5)
    assert evaluation.calibration_error(labels, mixed) == pytest.approx(0.1, abs=1e-6)


def test_reliability_bins_hold_every_image():
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([0.3, 0.3, 0.3], 500)
    probabilities[0] = [1, 0, 0]
    images, confidence, accuracy = evaluation.reliability(draw.integers(0, 3, 500), probabilities)
    assert images.sum() == 500
    held = images > 0
    edges = np.arange(evaluation.BINS + 1) / evaluation.BINS
    assert ((confidence > edges[:-1]) & (confidence <= edges[1:] + 1e-12))[held].all()
    assert ((accuracy >= 0) & (accuracy <= 1)).all()

"""`advisor evaluate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor import results
from advisor.cli import main
from advisor.evidence import answer_scores
from recipes.runs import splits_file


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def mirror(source: Path, folder: Path) -> None:
    """Make images that the run has not seen from some that it has."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / path.name)


def of_split(run: Path, split: str) -> list[str]:
    return [image.path for image in splits_file.read(run) if image.split == split]


@pytest.fixture
def answer(finished_run, tmp_path, capsys):
    """What `advisor evaluate --json` says."""

    def evaluate(data: Path | str, run: Path = finished_run) -> dict:
        assert leave("evaluate", run, data, "--json", "--output", tmp_path / "out") == 0
        return json.loads(capsys.readouterr().out)

    return evaluate


@pytest.fixture
def moved(finished_run, tmp_path):
    """The run's own data in another folder."""
    return shutil.copytree(finished_run.parent / "images", tmp_path / "moved")


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
        mirror(images / source, data / name)
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


def test_a_given_test_split_is_used_alone(finished_run, tmp_path, answer):
    images = finished_run.parent / "images"
    for split, name, source in (("train", "red", "blue"), ("test", "red", "red")):
        mirror(images / source, tmp_path / "data" / split / name)
    found = answer(tmp_path / "data")
    assert (found["images"], found["accuracy"], found["used"]) == (20, 1.0, "its test split")
    assert found["warnings"] == []
    assert not (tmp_path / "out" / "mistakes.png").exists()


def test_unknown_classes_are_named(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run.parent / "images" / "red", tmp_path / "data" / "scarlet")
    assert leave("evaluate", finished_run, tmp_path / "data") == 2
    err = capsys.readouterr().err
    assert "scarlet" in err
    assert "blue, green, red" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("at", ["moved", "images"])
def test_own_data_are_known_in_any_folder(finished_run, moved, monkeypatch, answer, at):
    monkeypatch.chdir(moved.parent if at == "moved" else finished_run.parent)
    found = answer(at)
    recorded = json.loads((finished_run / "metrics.json").read_text())
    assert (found["images"], found["used"]) == (recorded["images"]["test"], "the run's own test split")
    assert found["accuracy"] == recorded["test"]["accuracy"]
    assert found["warnings"] == []


def test_a_new_image_among_the_own_data_changes_nothing(finished_run, moved, monkeypatch, answer):
    evaluated = []
    monkeypatch.setattr("advisor.report.plots.write_evaluation", lambda it, *_: evaluated.append(it))
    with Image.open(moved / "red" / "0.png") as image:
        image.rotate(90).save(moved / "red" / "new.png")
    found = answer(moved)
    assert found["used"] == "the run's own test split"
    assert sorted(evaluated[0].predictions.shown) == sorted(of_split(finished_run, "test"))
    assert len(found["warnings"]) == 1
    assert "1; the first: red/new.png" in found["warnings"][0]


def test_a_broken_test_image_among_the_own_data_is_told(finished_run, moved, answer):
    broken, *rest = of_split(finished_run, "test")
    content = (moved / broken).read_bytes()
    (moved / broken).write_bytes(content[: len(content) // 2])
    found = answer(moved)
    assert found["images"] == len(rest)
    assert found["used"] == f"{len(rest)} of the run's {len(rest) + 1} test images"
    assert f"not among these, or have changed: 1; the first: {broken}" in found["warnings"][0]


def test_what_the_run_was_trained_on_is_left_out(finished_run, tmp_path, answer):
    images, data = finished_run.parent / "images", tmp_path / "data"
    mirror(images / "red", data / "red")
    for split in ("train", "validation"):
        shutil.copy(images / of_split(finished_run, split)[0], data / "red" / f"{split}.png")
    found = answer(data)
    assert (found["images"], found["used"]) == (20, "the images that the run has not seen")
    assert found["warnings"] == ["images left out, for the run was trained or validated on them: 2"]


def test_nothing_but_what_the_run_was_trained_on_is_refused(finished_run, moved, refused):
    for path in of_split(finished_run, "test"):
        (moved / path).unlink()
    assert "not seen" in refused("evaluate", str(finished_run), str(moved))


@pytest.mark.parametrize("text", ["", "path,split\n", "path,split,sha256\nred/0.png\n", "\xff\0"])
def test_damaged_splits_are_one_line(finished_run, moved, tmp_path, refused, text):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "splits.csv").write_text(text, encoding="latin-1")
    assert "is damaged: splits.csv " in refused("evaluate", str(run), str(moved))


def test_calibration_error_of_known_cases():
    sure = np.tile(np.float32([0.9, 0.1]), (10, 1))
    assert results.calibration_error(np.array([0] * 9 + [1]), sure) == pytest.approx(0, abs=1e-6)
    assert results.calibration_error(np.zeros(10, int), sure) == pytest.approx(0.1, abs=1e-6)
    assert results.calibration_error(np.ones(10, int), sure) == pytest.approx(0.9, abs=1e-6)
    mixed = np.concatenate([sure, np.tile(np.float32([0.4, 0.6]), (10, 1))])
    labels = np.array([0] * 10 + [1] * 5 + [0] * 5)
    assert results.calibration_error(labels, mixed) == pytest.approx(0.1, abs=1e-6)


def test_reliability_bins_hold_every_image():
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([0.3, 0.3, 0.3], 500)
    probabilities[0] = [1, 0, 0]
    images, confidence, accuracy = results.reliability(draw.integers(0, 3, 500), probabilities)
    assert images.sum() == 500
    held = images > 0
    edges = np.arange(results.BINS + 1) / results.BINS
    assert ((confidence > edges[:-1]) & (confidence <= edges[1:] + 1e-12))[held].all()
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


def write_costs(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


COSTS = "true,green,red,blue\nred,5,0,1\nblue,3,100,0\ngreen,0,1,1\n"


def test_costs_of_confusions_and_the_decision_that_costs_least(finished_run, tmp_path, capsys):
    images, data = finished_run.parent / "images", tmp_path / "new"
    for name, source in (("red", "red"), ("blue", "green")):
        mirror(images / source, data / name)
    of = "evaluate", finished_run, data, "--output", tmp_path / "out"
    assert leave(*of, "--costs", write_costs(tmp_path / "costs.csv", COSTS), "--json") == 0
    found = json.loads(capsys.readouterr().out)["costs"]
    assert found["usual"] == pytest.approx(1.5)  # half of the images are blue ones taken for green, 3 each
    assert 0 <= found["changed"] <= 40
    dear = COSTS.replace("green,0,1,1", "green,1000,1000,0").replace("red,5,0,1", "red,1000,1000,0")
    assert leave(*of, "--costs", write_costs(tmp_path / "dear.csv", dear), "--json") == 0
    assert json.loads(capsys.readouterr().out)["costs"] == {"usual": 501.5, "least": 0, "changed": 40}
    assert leave(*of, "--costs", tmp_path / "dear.csv") == 0
    assert "Mean cost 501.5 of the most probable class, 0 of the one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "lacks"),
        ("true,green,red\nred,5,0\ngreen,0,1\n", "lacks 'blue'"),
        (COSTS.replace("blue,3", "azure,3"), "first column names 'azure'"),
        (COSTS.replace("blue,3", "red,3"), "first column lacks 'blue'"),
        (COSTS + "red,5,0,1\n", "names a class twice"),
        (COSTS.replace("100", "dear"), "line 3: 'dear' is no number"),
        (COSTS.replace("100", "inf"), "'inf' is no number"),
        (COSTS.replace(",100", ""), "line 3: 3 fields"),
        ('"', "not a readable CSV"),
    ],
)
def test_costs_that_cannot_be_understood_are_one_line(finished_run, tmp_path, refused, text, told):
    data, file = finished_run.parent / "images", write_costs(tmp_path / "costs.csv", text)
    assert told in refused("evaluate", str(finished_run), str(data), "--costs", file)
    assert told not in refused("evaluate", str(finished_run), str(data), "--costs", str(tmp_path))


def test_the_evaluation_says_ranks_confidence_and_sets(finished_run, tmp_path, capsys):
    data, out = finished_run.parent / "images", tmp_path / "out"
    assert leave("evaluate", finished_run, data, "--output", out) == 0
    said = capsys.readouterr().out
    answer = json.loads((out / "evaluation.json").read_text())
    assert f"AUROC {answer['auroc']:.3f}" in said
    assert answer["accuracy_of_surest"]["1"] == answer["accuracy"]
    assert answer["top"]["2"] >= answer["accuracy"]
    assert set(answer["top"]) == {"2"}  # of three classes
    recorded = json.loads((finished_run / "metrics.json").read_text())["prediction_sets"]
    assert answer["prediction_sets"] == recorded
    assert f"Sets for coverage 0.95: {recorded[1]['measured']:.1%} covered" in said


def test_answer_scores_of_known_cases():
    labels = np.array([0, 0, 0, 1])
    said = np.float32([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]])
    found = answer_scores.answer_scores(labels, said)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 0) / 2)
    assert found.top == {2: 1.0}
    # Class 0 beats the one other image in all three pairs; class 1 beats one of three.
    assert found.auroc == pytest.approx((1 + 1 / 3) / 2)
    assert found.accuracy_of_surest[0.5] == 0.5  # the 0.9 is right, the 0.7 wrong
    assert found.accuracy_of_surest[1.0] == 0.5
    assert answer_scores.answer_scores(labels[:1], said[:1]).auroc is None


def test_equal_costs_change_no_decision():
    draw = np.random.default_rng(0)
    said, labels = draw.dirichlet([0.5] * 4, 300), draw.integers(0, 4, 300)
    found = answer_scores.measured_costs(labels, said, 1 - np.eye(4))
    assert found.changed == 0
    assert found.usual == found.least == pytest.approx((said.argmax(axis=1) != labels).mean())

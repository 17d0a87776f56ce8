"""`advisor compare`, and the benchmark that continuous integration runs."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advisor.advice import recommendation
from advisor.advice.recommendation import Recommendation
from advisor.advice.rule import Decision, Quadrant, decide
from advisor.advice.settings import Options, Settings
from advisor.cli import main
from advisor.data import sources
from advisor.evidence.probe import Probes
from advisor.report import terminal
from advisor.results import ClassScores, Comparison, Metrics, Predictions, Row, Run, Scores
from advisor.system.progress import Silent
from benchmarks import ci
from recipes.runs import comparison
from recipes.runs.run import run
from recipes.runs.run_folder import RunFolder


def leave(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a comparison."""
    with pytest.raises(SystemExit) as end:
        main(["compare", "--json", *arguments])
    return end.value.code, *capsys.readouterr()


def compare(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    code, out, err = leave(capsys, *arguments)
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ci.textures(tmp_path_factory.mktemp("data") / "textures", images_of_each=15)


class Trainer:
    """In the place of `run.run`: writes what a comparison reads, and trains nothing.

    Attributes:
        complete: whether the recipes come to their end in time.
        interrupted: the recipe at which Ctrl-C is pressed.
        trained: the settings that it was called with, by recipe, and whether it was to resume.
    """

    def __init__(self) -> None:
        self.complete, self.interrupted = True, ""
        self.trained: dict[str, tuple[Settings, bool]] = {}

    def __call__(self, data, settings, folder, seed, display, resume, seconds) -> Run:
        name = folder.path.name
        self.trained[name] = settings, resume
        if name == self.interrupted:
            raise KeyboardInterrupt
        right = 0.5 + 0.1 * len(self.trained)
        scores = Scores(right, right - 0.01, 0.5, {"any": ClassScores(right, right, right, 10)})
        metrics = Metrics(
            recipe=settings.recipe,
            settings=settings,
            test=scores,
            validation=scores,
            images={"train": 80, "validation": 10, "test": 10},
            parameters={"total": 1000, "trained": 100 + len(self.trained)},
            complete=self.complete,
            seed=seed,
            seconds={"embed": 1.0, "train": 8.0, "total": 9.5},
            device="none",
            precision="float32",
            versions={},
        )
        (folder.path / "metrics.json").write_text(json.dumps(metrics.to_json()))
        nothing = Predictions(("any",), (), (), np.empty(0, np.int64), np.empty((0, 1), np.float32))
        return Run(folder.path, (), nothing, metrics)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = Trainer()
    monkeypatch.setattr(comparison, "run", trainer)
    return trainer


@pytest.mark.slow
def test_all_recipes_stand_on_one_leaderboard(capsys, tmp_path):
    data = ci.textures(tmp_path / "textures", images_of_each=15)
    arguments = (
        str(data),
        "--image-size",
        "32",
        "--epochs",
        "1",
        "--baseline",
        "--output",
        str(tmp_path / "out"),
    )
    compared = compare(capsys, *arguments)
    rows = compared["leaderboard"]
    assert {row["name"] for row in rows} == {
        "feature_extraction", "fine_tuning", "shallow_features", "full_training", "simple_cnn",
    }  # fmt: skip
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        if row["status"] != "finished":  # on unlike data the two trainings are one
            twin = by_name[row["status"].removeprefix("as ")]
            assert (twin["status"], twin["accuracy"]) == ("finished", row["accuracy"])
    assert [row["accuracy"] for row in rows] == sorted((row["accuracy"] for row in rows), reverse=True)
    advised = next(row for row in rows if row["advised"])
    best = max(row["accuracy"] for row in rows if row["name"] != "simple_cnn")
    assert compared["regret"] >= best - advised["accuracy"]
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["leaderboard"] == rows
    for name in ("report.html", "leaderboard.png", f"{compared['advised']}/model.keras"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_what_did_not_finish_is_shown(capsys, tmp_path):
    data = ci.textures(tmp_path / "textures", images_of_each=15)
    arguments = ("--image-size", "32", "--budget", "0.001", "--output", str(tmp_path / "out"))
    statuses = {row["name"]: row["status"] for row in compare(capsys, str(data), *arguments)["leaderboard"]}
    assert len(statuses) == 4
    assert "finished" in statuses.values()
    assert {statuses["fine_tuning"], statuses["full_training"]} <= {"not run", "out of time"}


def test_an_interrupted_comparison_goes_on_where_it_was(capsys, tmp_path, textures, trainer, refused):
    out = tmp_path / "out"
    arguments = (str(textures), "--image-size", "32", "--epochs", "2", "--baseline", "--output", str(out))
    trainer.interrupted = "simple_cnn"
    code, printed, said = leave(capsys, *arguments)
    assert (code, printed) == (130, "")
    assert said.endswith(f"give the same command with --output {out} --resume\n")
    assert "add --resume or --overwrite" in refused("compare", *arguments)
    for other in (["--epochs", "3"], ["--sample", "50"], ["--seed", "1"]):
        assert f"another {other[0]}" in refused("compare", "--json", *arguments, *other, "--resume")

    trainer.interrupted = ""
    trainer.trained.clear()
    resumed = compare(capsys, *arguments, "--resume")
    assert list(trainer.trained) == ["simple_cnn"]
    for row in resumed["leaderboard"]:
        if row["status"] == "finished":
            metrics = json.loads((out / row["name"] / "metrics.json").read_text())
            assert row["accuracy"] == metrics["test"]["accuracy"]
            assert row["macro_f1"] == metrics["test"]["macro_f1"]
            assert row["parameters"] == metrics["parameters"]["trained"]
            assert row["seconds"] == metrics["seconds"]["total"]
            assert not (out / row["name"] / "checkpoints").exists()
    trainer.trained.clear()
    assert compare(capsys, *arguments, "--resume", "--budget", "1e-9") == resumed  # nothing is left to do
    assert not trainer.trained


def test_what_ran_out_of_time_is_gone_on_with(capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    trainer.complete = False
    before = compare(capsys, *arguments)["leaderboard"]
    assert {row["status"] for row in before} == {"out of time"}
    first = dict(trainer.trained)
    assert not any(resume for _, resume in first.values())
    for name in first:
        assert (tmp_path / "out" / name / "checkpoints").exists()
    trainer.trained.clear()
    assert compare(capsys, *arguments, "--resume", "--budget", "1e-9")["leaderboard"] == before
    assert not trainer.trained  # no time for it, and nothing is lost

    trainer.complete = True
    after = compare(capsys, *arguments, "--resume")["leaderboard"]
    assert trainer.trained == {name: (settings, True) for name, (settings, _) in first.items()}
    assert all(row["status"] == "finished" or row["status"].startswith("as ") for row in after)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "{}", '{"test": {"accuracy": "high"}}'])
def test_a_damaged_run_in_a_comparison_is_named(content, capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    compare(capsys, *arguments)
    run = tmp_path / "out" / "feature_extraction"
    (run / "metrics.json").write_text(content)
    code, printed, said = leave(capsys, *arguments, "--resume")
    assert (code, printed) == (2, "")
    assert said.startswith(f"advisor: {run} is damaged: metrics.json ")
    assert said.count("\n") == 1


def test_each_recipe_is_told_with_its_own_settings(capsys, tmp_path, textures, trainer):
    out = tmp_path / "out"
    arguments = ("--image-size", "32", "--epochs", "2", "--baseline", "--output", str(out))
    compare(capsys, str(textures), *arguments)
    parameters = {}
    for name, (settings, _) in trainer.trained.items():
        told = json.loads((out / name / "recommendation.json").read_text())
        assert Settings.from_json(told["settings"]) == settings
        parameters[name] = told["plan"]["parameters_trained"]
    assert trainer.trained["simple_cnn"][0].epochs == 2
    assert parameters["feature_extraction"] == 4 * 1281
    assert parameters["feature_extraction"] < parameters["shallow_features"]


def test_overwrite_removes_only_what_a_comparison_writes(capsys, tmp_path, textures, trainer):
    out = tmp_path / "out"
    arguments = (str(textures), "--image-size", "32", "--output", str(out))
    compare(capsys, *arguments, "--baseline")
    (out / "fine_tuning").mkdir(exist_ok=True)
    (out / "fine_tuning" / "notes.txt").touch()
    trainer.interrupted = next(iter(trainer.trained))
    assert leave(capsys, *arguments, "--overwrite")[0] == 130
    kept = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    state = {"recommendation.json", "checkpoints/started.json"}
    assert kept == {"fine_tuning/notes.txt", *state, *(f"{trainer.interrupted}/{file}" for file in state)}


def test_compare_keeps_what_is_no_comparison(tmp_path, refused):
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ([], ["--overwrite"], ["--resume"]):
        message = refused("compare", "sklearn:digits", "--output", str(tmp_path), *more)
        assert "choose another --output" in message
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_training_interrupted_in_an_epoch_goes_on_with_the_next(capsys, tmp_path, textures):
    out = tmp_path / "out"
    arguments = (str(textures), "--image-size", "32", "--epochs", "3", "--output", str(out))
    process = subprocess.Popen(
        [sys.executable, "-m", "advisor.cli", "compare", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (states := list(out.glob("*/checkpoints/state.json"))):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].splitlines()[-1].endswith(f"--output {out} --resume")
    assert process.returncode == 130
    interrupted = states[0].parents[1]
    before = json.loads(states[0].read_text())
    before[-1]["seconds"] = 1000.0
    states[0].write_text(json.dumps(before))
    finished = [file.parent for file in out.glob("*/metrics.json")]
    written = [(folder / "model.keras").stat().st_mtime_ns for folder in finished]
    rows = compare(capsys, *arguments, "--resume")["leaderboard"]
    assert [(folder / "model.keras").stat().st_mtime_ns for folder in finished] == written
    with (interrupted / "history.csv").open(newline="") as stream:
        epochs = list(csv.DictReader(stream))
    assert [row["epoch"] for row in epochs] == ["0", "1", "2", "3"]
    assert [float(row["seconds"]) for row in epochs][: len(before)] == [row["seconds"] for row in before]
    seconds = json.loads((interrupted / "metrics.json").read_text())["seconds"]
    in_epochs = sum(float(row["seconds"]) for row in epochs)
    assert in_epochs + 0.05 < seconds["train"] < seconds["total"] < 1600  # more than epochs takes time
    assert all(row["status"] == "finished" or row["status"].startswith("as ") for row in rows)
    assert compare(capsys, *arguments, "--resume", "--budget", "1e-9")["leaderboard"] == rows


def test_recipes_that_are_one_training_are_told_as_such(capsys, finished_run):
    advice = Recommendation.from_json(json.loads((finished_run / "recommendation.json").read_text()))
    row = Row("fine_tuning", "finished", 0.9, (0.8, 0.95), 0.9, 60.0, 3_338_020, advised=True)
    twin = replace(row, name="full_training", status="as fine_tuning", advised=False)
    terminal.print_comparison(Comparison(replace(advice, recipe="fine_tuning"), (row, twin), regret=0.0))
    told = " ".join(capsys.readouterr().out.split())
    assert "full_training 90.0% 80.0%-95.0% 0.900 60 3,338,020 trained once" in told
    assert "full_training is the same training as fine_tuning" in told


def test_a_budget_of_zero_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["compare", "sklearn:digits", "--budget", "0", "--output", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "--budget" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_benchmark_fails_when_the_advice_is_broken():
    def broken(place: Quadrant, probes: Probes, validation_images: int) -> Decision:
        decision = decide(place, probes, validation_images)
        return replace(decision, recipe="feature_extraction")  # digits need the lower layers

    assert ci.main(["--only", "advice"]) == 0
    assert ci.main(["--only", "advice"], decide=broken) == 1


def test_an_epoch_that_time_cut_short_is_trained_again(tmp_path, textures):
    data = sources.load(str(textures))
    advised = recommendation.recommend(data, Options(image_size=32, epochs=2), Silent())
    settings = advised.with_recipe("fine_tuning").settings

    def train(name: str, **limits) -> Run:
        (tmp_path / name).mkdir(exist_ok=True)
        return run(data, settings, RunFolder(tmp_path / name), 0, Silent(), **limits)

    cut = train("cut", seconds=0.0)
    assert [row.epoch for row in cut.history] == [0]
    assert not cut.metrics.complete
    resumed, whole = train("cut", resume=True), train("whole")
    assert resumed.metrics.complete
    assert [row.loss for row in resumed.history] == pytest.approx([row.loss for row in whole.history])

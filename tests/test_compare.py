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
from advisor.results import Comparison, Epoch, Metrics, Paired, Predictions, Row, Run
from advisor.system.json_file import write_json
from advisor.system.progress import Silent
from benchmarks import ci
from recipes.runs import budget, comparison, splits_file, test_file
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
        at = data.indices("test")
        paths = tuple(data.shown(data.paths[i]) for i in at)
        probabilities = np.eye(len(data.class_names), dtype=np.float32)[data.labels[at]]
        wrong = slice(len(self.trained), None)  # the first recipe gets one image right, the next one two
        probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
        test = Predictions(data.class_names, paths, paths, data.labels[at], probabilities)
        metrics = Metrics(
            recipe=settings.recipe,
            settings=settings,
            test=test.scores(),
            validation=test.scores(),
            images={"train": 80, "validation": 10, "test": len(at)},
            parameters={"total": 1000, "trained": 100 + len(self.trained)},
            complete=self.complete,
            model_sha256="0" * 64,
            seed=seed,
            seconds={"embed": 1.0, "train": 8.0, "total": 9.5},
            device="none",
            precision="float32",
            versions={},
        )
        write_json(folder.path / "labels.json", list(data.class_names))
        splits_file.write(data, [bytes(32)] * len(data), folder.path)
        test_file.write(test, folder.path)
        write_json(folder.path / "metrics.json", metrics.to_json())
        return Run(folder.path, (Epoch(0, "head", 1.0, 0.5, 1.0, 0.5, 0.5, 0.0, 1.0),), test, metrics)


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
        assert row["status"] == "finished"
        if row["same_as"]:  # on unlike data the two trainings are one
            assert by_name[row["same_as"]]["accuracy"] == row["accuracy"]
    assert [row["accuracy"] for row in rows] == sorted((row["accuracy"] for row in rows), reverse=True)
    advised = next(row for row in rows if row["advised"])
    best = max(row["accuracy"] for row in rows if row["name"] != "simple_cnn")
    assert compared["regret"] >= best - advised["accuracy"]
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["leaderboard"] == rows
    for name in ("report.html", "leaderboard.png", f"{compared['advised']}/model.keras"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    page = (tmp_path / "out" / "report.html").read_text()
    for name in (row["name"] for row in rows if not row["same_as"]):
        assert f'<a href="{name}/report.html">' in page
        assert "advisor compare" in (tmp_path / "out" / name / "report.html").read_text()


def test_what_did_not_finish_is_shown(capsys, tmp_path):
    data = ci.textures(tmp_path / "textures", images_of_each=15)
    arguments = ("--image-size", "32", "--minutes", "0.001", "--output", str(tmp_path / "out"))
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
        if not row["same_as"]:
            metrics = json.loads((out / row["name"] / "metrics.json").read_text())
            assert row["accuracy"] == metrics["test"]["accuracy"]
            assert row["macro_f1"] == metrics["test"]["macro_f1"]
            assert row["parameters"] == metrics["parameters"]["trained"]
            assert row["seconds"] == metrics["seconds"]["total"]
            assert not (out / row["name"] / "checkpoints").exists()
    trainer.trained.clear()
    assert compare(capsys, *arguments, "--resume", "--minutes", "1e-9") == resumed  # nothing is left to do
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
    assert compare(capsys, *arguments, "--resume", "--minutes", "1e-9")["leaderboard"] == before
    assert not trainer.trained  # no time for it, and nothing is lost

    trainer.complete = True
    after = compare(capsys, *arguments, "--resume")["leaderboard"]
    assert trainer.trained == {name: (settings, True) for name, (settings, _) in first.items()}
    assert {row["status"] for row in after} == {"finished"}


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
    spent = f"{trainer.interrupted}/checkpoints/seconds.json"
    begun = {f"{trainer.interrupted}/{file}" for file in state}
    assert kept == {"fine_tuning/notes.txt", *state, *begun, spent}


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
    assert {row["status"] for row in rows} == {"finished"}
    assert compare(capsys, *arguments, "--resume", "--minutes", "1e-9")["leaderboard"] == rows


@pytest.fixture
def advice(finished_run: Path) -> Recommendation:
    advice = Recommendation.from_json(json.loads((finished_run / "recommendation.json").read_text()))
    return replace(advice, recipe="fine_tuning")


def told(capsys: pytest.CaptureFixture[str], advice: Recommendation, *rows: Row, **more) -> str:
    """What is printed of a comparison, on one line."""
    values = {"regret": 0.0, "paired": None, "tested": {}, "seconds": 61.0, "budget": 60.0, **more}
    terminal.print_comparison(Comparison(advice, rows, **values))
    return " ".join(capsys.readouterr().out.split())


ADVISED = Row("fine_tuning", "finished", 0.9, (0.8, 0.95), 0.9, 60.0, 3_338_020, advised=True)


@pytest.mark.parametrize(
    ("status", "shown"), [("finished", "finished"), ("out of time", "out of time"), ("not run", "not run")]
)
def test_recipes_that_are_one_training_are_told_as_such(capsys, advice, status, shown):
    own = replace(ADVISED, status=status)
    twin = replace(own, name="full_training", same_as="fine_tuning", advised=False)
    out = told(capsys, advice, own, twin)
    assert f"fine_tuning * 90.0% 80.0%-95.0% 0.900 60 3,338,020 {shown}" in out
    assert "full_training 90.0% 80.0%-95.0% 0.900 60 3,338,020 as fine_tuning" in out
    assert "full_training is the same training as fine_tuning on these data: it is done once." in out


@pytest.mark.parametrize(
    ("paired", "regret", "expected"),
    [
        (Paired("frozen", 40, 1, 1), 0.0, "the advice, fine_tuning, and frozen cannot be told apart"),
        (Paired("frozen", 10, 0, 0), 0.0, "both get equally many of them right"),
        (Paired("frozen", 40, 1, 2), 0.025, "frozen is 2.5 points better, but"),
        (Paired("frozen", 40, 2, 1), 0.0, "fine_tuning is 2.5 points better, but"),
        (Paired("frozen", 400, 1, 13), 0.03, "The advice, fine_tuning, loses 3.0 points against frozen"),
        (Paired("frozen", 400, 13, 1), 0.0, "was the best, 3.0 points before frozen"),
        (None, 0.0, "there is nothing to compare it with"),
        (None, None, "fine_tuning, did not come to run"),
    ],
)
def test_the_verdict_says_no_more_than_the_test_images_can_tell(capsys, advice, paired, regret, expected):
    out = told(capsys, advice, ADVISED, paired=paired, regret=regret)
    assert expected in out
    assert ("the best" in out) == (paired is not None and paired.is_clear and not regret)


def test_the_two_best_recipes_are_compared_on_the_same_images(capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    compared = compare(capsys, *arguments)
    paired, right = compared["paired"], {row["name"]: row["accuracy"] for row in compared["leaderboard"]}
    others = [row for row in compared["leaderboard"] if not row["advised"] and not row["same_as"]]
    assert paired["name"] == others[0]["name"]
    ahead = paired["only_other"] - paired["only_advised"]
    assert ahead / paired["images"] == pytest.approx(right[paired["name"]] - right[compared["advised"]])
    assert not paired["is_clear"]  # of so few test images


@pytest.mark.parametrize("content", [b"", b"no arrays"])
def test_damaged_answers_in_a_comparison_are_named(content, capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    compare(capsys, *arguments)
    run = tmp_path / "out" / "feature_extraction"
    (run / "test.npz").write_bytes(content)
    code, printed, said = leave(capsys, *arguments, "--resume")
    assert (code, printed) == (2, "")
    assert said.startswith(f"advisor: {run} is damaged: test.npz ")


def test_the_seconds_of_earlier_processes_count(capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    trainer.interrupted = "shallow_features"
    assert leave(capsys, *arguments)[0] == 130
    spent = tmp_path / "out" / "shallow_features" / "checkpoints" / "seconds.json"
    assert 0 <= json.loads(spent.read_text()) < 60
    spent.write_text("1000")
    trainer.interrupted = ""
    rows = {row["name"]: row for row in compare(capsys, *arguments, "--resume")["leaderboard"]}
    assert 1000 <= rows["shallow_features"]["seconds"] < 1060
    assert rows["feature_extraction"]["seconds"] == 9.5


def test_what_is_finished_but_for_its_page_gets_it(capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--output", str(tmp_path / "out"))
    compare(capsys, *arguments)
    (tmp_path / "out" / "feature_extraction" / "checkpoints").mkdir()  # killed before they were removed
    trainer.trained.clear()
    compare(capsys, *arguments, "--resume")
    assert list(trainer.trained) == ["feature_extraction"]


def test_a_training_is_not_begun_that_cannot_come_to_an_end(capsys, tmp_path, textures, trainer):
    arguments = (str(textures), "--image-size", "32", "--minutes", "0.1", "--output", str(tmp_path / "out"))
    rows = {row["name"]: row for row in compare(capsys, *arguments)["leaderboard"]}
    assert set(trainer.trained) == {"shallow_features", "feature_extraction"}
    assert rows["fine_tuning"]["status"] == "not run"
    assert rows["fine_tuning"]["needs"] > 6


def test_what_is_left_is_shared_among_as_many_as_it_is_enough_for():
    minutes = budget.Budget(1.0)
    assert minutes.share(0.0, 3) == pytest.approx(15, abs=1)
    assert minutes.share(25.0, 3) == pytest.approx(30, abs=1)
    assert minutes.share(40.0, 3) == pytest.approx(60, abs=1)
    assert minutes.share(70.0, 3) is None
    minutes.late = 30.0
    assert minutes.share(40.0, 3) is None


def test_a_budget_of_zero_leaves_no_folder_where_runs_are_kept(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["compare", "sklearn:digits", "--minutes", "0"])
    assert end.value.code == 2
    assert "--minutes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_budget_of_zero_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["compare", "sklearn:digits", "--minutes", "0", "--output", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "--minutes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_benchmark_fails_when_the_advice_is_broken():
    def broken(place: Quadrant, probes: Probes, validation_images: int, worth) -> Decision:
        decision = decide(place, probes, validation_images, worth)
        return replace(decision, recipe="feature_extraction")  # digits need the lower layers

    assert ci.main(["--only", "advice"]) == 0
    assert ci.main(["--only", "advice"], decide=broken) == 1


@pytest.mark.slow
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

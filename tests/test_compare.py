"""`advisor compare`, and the benchmark that continuous integration runs."""

from __future__ import annotations

import json

import pytest

from advisor import comparison_report
from advisor.cli import main
from advisor.quadrant import Quadrant
from benchmarks import ci, regret


def compare(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit) as end:
        main(["compare", "--json", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == 0, captured.err
    return json.loads(captured.out)


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


def test_recipes_that_are_one_training_are_told_as_such(capsys):
    row = {
        "name": "fine_tuning", "status": "finished", "accuracy": 0.9, "interval": (0.8, 0.95),
        "macro_f1": 0.9, "seconds": 60.0, "parameters": 3_338_020, "advised": True,
    }  # fmt: skip
    twin = {**row, "name": "full_training", "status": "as fine_tuning", "advised": False}
    comparison_report.print_comparison({"advised": "fine_tuning", "regret": 0.0, "leaderboard": [row, twin]})
    told = " ".join(capsys.readouterr().out.split())
    assert "full_training 90.0% 80.0%-95.0% 0.900 60 3,338,020 trained once" in told
    assert "full_training is the same training as fine_tuning" in told


def test_a_budget_of_zero_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["compare", "sklearn:digits", "--budget", "0", "--output", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "--budget" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_regret_is_counted_against_the_best_recipe():
    def line(advice: str) -> dict:
        accuracy = {
            "feature_extraction": 0.8,
            "fine_tuning": 0.9,
            "shallow_features": 0.85,
            "full_training": 0.7,
        }
        recipes = {name: {"test": value} for name, value in accuracy.items()}
        return {
            "data": "made up", "size": 300, "images": 300, "seed": 0, "quadrant": "small-similar",
            "advice": advice,
            "frozen_advice": "shallow_features", "score": 0.7,
            "evidence": {"gain_of_all_depths": [0.01, 0.02]},
            "recipes": recipes,
        }  # fmt: skip

    assert regret.regret(line("fine_tuning"), "fine_tuning") == 0
    assert regret.regret(line("fine_tuning"), "shallow_features") == pytest.approx(5)
    text = regret.table([line("fine_tuning"), line("full_training")])
    assert "| the advisor | 10.00 | 20.0 |" in text
    assert "| quadrant alone | 10.00 | 10.0 |" in text


def test_the_benchmark_fails_when_the_advice_is_broken():
    def broken(place: Quadrant, evidence: object) -> tuple:
        return "feature_extraction", ()  # digits need the lower layers

    assert ci.main(["--only", "advice"]) == 0
    assert ci.main(["--only", "advice"], decide=broken) == 1

"""What the benchmarks conclude from their lines, on lines with a known answer."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import made_up
import numpy as np
import pytest

from advisor.data.dataset import SPLITS
from benchmarks import averaging, calibration, ci, coverage, grid, kept, kernel, prices, regret, tables, tasks

FROZEN = ("feature_extraction", "shallow_features")


def line(size: int, gain: float, score: float, seed: int = 0, data: str = "made up") -> dict:
    """A task where frozen features reach 0.8 and training adds `gain`: the same images and some more."""
    test = {"feature_extraction": 0.8, "shallow_features": 0.79, "fine_tuning": 0.8, "full_training": 0.8}
    test["fine_tuning" if score > 0.5 else "full_training"] += gain
    frozen = {recipe: {"expected_accuracy": 0.8} for recipe in FROZEN}
    told = {
        "recipe": "feature_extraction", "quadrant": "small-similar", "similarity": {"score": score},
        "dataset": {"images": size, "classes": 4},
        "evidence": {"frozen_recipe": "feature_extraction", "frozen": frozen},
        "steps": [
            {"action": "feature_extraction", "gain": 0.0, "seconds": 5.0},
            {"action": "fine_tuning", "gain": 0.02, "seconds": 50.0},
            {"action": "more images", "gain": 0.5, "seconds": None},
        ],
    }  # fmt: skip
    recipes = {recipe: result(accuracy) for recipe, accuracy in test.items()}
    for recipe in FROZEN:
        recipes[recipe]["processor_seconds"] = 12.0
    return {"data": data, "size": size, "seed": seed, "tested": 500, "recommend": told, "recipes": recipes}


def result(accuracy: float, first: int = 0) -> dict:
    """Of 500 test images, all from the first one on are right until the accuracy is reached."""
    at = np.arange(500)
    right = (at >= first) & (at < first + round(500 * accuracy))
    bits = np.packbits(right).tobytes().hex()
    averaging = {"trained": accuracy - 0.1}
    return {
        "test": float(right.mean()), "correct": bits, "processor_seconds": 120.0, "averaging": averaging
    }  # fmt: skip


def ladder(score: float, wins_from: int) -> list[dict]:
    generator = np.random.default_rng(0)
    return [
        line(size, (0.03 if size >= wins_from else -0.03) + generator.normal(0, 0.002), score, seed)
        for size, seed in itertools.product((50, 100, 200, 500, 1000), range(3))
    ]


@pytest.mark.parametrize(("wins_from", "between"), [(50, (0, 50)), (200, (100, 200)), (1000, (500, 1000))])
def test_the_size_from_which_training_wins_is_found(wins_from, between):
    found = calibration.gains(ladder(0.7, wins_from))
    assert calibration.threshold(calibration.ladder(found)) == between


def test_training_that_never_wins_has_no_threshold():
    found = calibration.gains(ladder(0.3, wins_from=10_000))
    assert calibration.threshold(calibration.ladder(found)) is None
    assert not any(gain.similar for gain in found)


def test_a_gain_within_the_noise_does_not_count():
    found = calibration.gains([line(200, gain, 0.7, seed) for seed, gain in enumerate((0.1, -0.08, 0.01))])
    assert not calibration.ladder(found)[0].wins


def test_solved_tasks_do_not_count():
    solved = line(200, 0.1, 0.7)
    solved["recommend"]["evidence"]["frozen"]["feature_extraction"]["expected_accuracy"] = 0.999
    assert "| 200 | 1 | +10.00 |" in calibration.report([solved, line(200, 0.1, 0.7)])


def test_the_gain_is_told_by_what_frozen_features_leave():
    nearly = line(1000, 0.01, 0.3)
    nearly["recommend"]["evidence"]["frozen"]["feature_extraction"]["expected_accuracy"] = 0.97
    few, many = line(200, 0.1, 0.3), line(1000, 0.1, 0.3)
    many["recommend"]["evidence"]["frozen"]["feature_extraction"]["expected_accuracy"] = 0.7
    rows = calibration.by_expected_error(calibration.gains([nearly, few, many])).splitlines()[2:]
    assert [row.split(" | ")[0:2] for row in rows] == [["| 2% to 5%", "1"], ["| 20% to 100%", "1"]]
    assert ["+1.00" in rows[0], "+10.00" in rows[1]] == [True, True]


def test_what_explains_the_gain_is_told():
    lines = ladder(0.7, 200)
    for number, one in enumerate(lines):
        one["recommend"]["dataset"]["classes"] = 2 + number % 5
    shares = calibration.explained(calibration.gains(lines))
    assert shares["images"] > 0.5 > shares["classes"]


def test_the_report_names_both_kinds_of_data():
    told = calibration.report(ladder(0.7, 200) + ladder(0.3, 10_000))
    assert "between 100 and 200 images" in told
    assert "at no size" in told


def test_regret_is_what_the_advice_lost(tmp_path, capsys, monkeypatch):
    lines = [line(200, 0.05, 0.7), line(200, -0.05, 0.7, seed=1)]
    assert regret.regret(lines[0], "feature_extraction")[0] == pytest.approx(5)
    assert regret.regret(lines[1], "feature_extraction")[0] == pytest.approx(0)
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    picture = tmp_path / "frontier.svg"
    monkeypatch.setattr("sys.argv", ["regret", str(file), "--picture", str(picture)])
    regret.main()
    rows = {row.split(" | ")[0].strip("| "): row for row in capsys.readouterr().out.splitlines()}
    assert "| 2.50 | 5.0 | 1 | 10% | 10% |" in rows["the advice"]
    assert "| 2.50 | 5.0 | 1 | 100% | 100% |" in rows["always fine-tuning"]
    assert "| 2.50 | 5.0 | 1 |" in rows["the quadrant alone"]
    assert "| 3.50 | 6.0 | 2 |" in rows["always shallow features"]
    assert "| 12.50 | 15.0 |" in rows["fine-tuning without a way back"]
    assert "the advice" in picture.read_text(encoding="utf-8")


def test_within_some_minutes_the_advice_takes_what_gains_most_of_what_fits():
    gaining = [line(200, 0.05, 0.7, seed) for seed in range(2)]
    rows = {row[0]: row[1:] for row in tables.rows_of(regret.budgets(gaining))}
    assert rows["0.17"][0] == "80.00"  # only the frozen model fits
    assert rows["1"] == ["85.00", "always fine-tuning", "85.00", "+0.00 ± 0.00", "0"]
    for one in gaining:
        one["recipes"]["fine_tuning"]["processor_seconds"] = 1200.0  # longer than was foretold
    rows = {row[0]: row[1:] for row in tables.rows_of(regret.budgets(gaining))}
    assert rows["1"][-1] == "2"


def test_a_loss_is_clear_only_where_the_same_images_show_it():
    lost = line(200, 0.02, 0.7)
    assert regret.is_clear(regret.regret(lost, "feature_extraction"))
    lost["recipes"]["fine_tuning"] = result(0.82, first=90)  # ten images more, but other ones
    points, error = regret.regret(lost, "feature_extraction")
    assert points == pytest.approx(2)
    assert error == pytest.approx(100 * np.sqrt(0.38 / 500), rel=0.01)
    assert not regret.is_clear((points, error))


def test_over_seeds_the_luckiest_recipe_of_each_task_is_not_the_best():
    lines = [line(200, 0.05, 0.7), line(200, -0.05, 0.7, seed=1)]  # training gains and loses by chance
    assert regret.regret_over_seeds(lines, lambda line: "fine_tuning") == pytest.approx([0])
    clever = {0: "fine_tuning", 1: "feature_extraction"}
    assert regret.regret_over_seeds(lines, lambda line: clever[line["seed"]]) == pytest.approx([-2.5])


def test_a_task_is_split_as_a_users_data_would_be(tmp_path):
    source = str(ci.textures(tmp_path / "textures", images_of_each=80))
    task = tasks.cut(source, 100, seed=0)
    assert task is not None
    sizes = [len(task.held.indices(split)) for split in SPLITS]
    assert sizes == [80, 10, 10]
    assert len(task.judged.indices("train")) == 80
    judges = {task.judged.paths[i] for i in task.judged.indices("test")}
    assert not judges & set(task.held.paths)


def test_what_another_bound_on_a_clear_gain_would_keep():
    def trained(gains: list[float], accuracy: float) -> dict:
        one = line(200, 0.0, 0.3)
        seen = {"trained": 0.7, "best average": accuracy, "share": 0.4, "gains": gains * 5}
        one["recipes"]["full_training"]["averaging"] = seen
        return one

    sure, unsure = trained([0.1, 0.11, 0.09, 0.1], 0.84), trained([0.2, -0.1, 0.1, -0.1], 0.75)
    rows = [row.strip("| ").split(" | ") for row in averaging.table([sure, unsure]).splitlines()]
    bounds = {row[0]: row[1:] for row in rows if len(row) == 4}
    assert bounds["0.0"] == ["+0.50", "+0.50", "-4.0"]
    assert bounds["1.0"] == ["+2.50", "+2.50", "+0.0"]
    assert bounds["never"] == ["+0.00", "+0.00", "+0.0"]


def test_what_each_rule_keeps_is_told_in_points_over_the_whole_picture():
    def logits(right: range, images: int = 100) -> np.ndarray:
        truth = np.where(np.isin(np.arange(images), right), 2.0, -2.0)
        return np.stack([truth, -truth], axis=1)

    said = {"labels validation": np.zeros(100, int), "labels test": np.zeros(100, int)}
    for split in ("validation", "test"):
        said |= {f"frozen {split}": logits(range(80)), f"trained {split}": 2 * logits(range(10, 100))}
        said |= {f"averaged {split}": logits(range(85))}
        said |= {f"whole {split}": logits(range(78))}
    averaging = {"share": 0.4, "gains": [0.1, 0.2] * 50}
    task, unclear = (
        {"data": "made up", "size": 1000, "seed": 0, "recipes": {"full_training": {"averaging": seen}}}
        for seen in (averaging, averaging | {"gains": [0.1] * 10})
    )
    rows = [row.strip("| ").split(" | ") for row in kept.table([(task, said), (unclear, said)]).splitlines()]
    assert rows[0][-6:] == ["frozen", "trained", "before", "single", "half", "kept"]
    assert rows[2][5:] == ["78.0", "+2.0", "+12.0", "+7.0", "+7.0", "+12.0", "+12.0"]
    assert rows[3][5:] == ["78.0", "+2.0", "+12.0", "+7.0", "+2.0", "+12.0", "+12.0"]
    assert rows[4][:2] + rows[4][-3:-1] == ["mean of 2", "1,000", "+4.50", "+12.00"]
    assert rows[5][:2] + rows[5][-3:-1] == ["worst of 2", "1,000", "+2.00", "+12.00"]


def test_gains_are_foretold_from_other_data_sets():
    """Training takes away half of the errors, whatever the data are: the share is known exactly."""
    seen = []
    for number, errors in enumerate((6, 10, 20, 40)):
        known = made_up.evidence(made_up.summary(1000))
        expected = {
            name: replace(one, accuracy=1 - errors / 100) for name, one in known.probes.expected.items()
        }
        told = made_up.recommendation(
            evidence=replace(known, probes=replace(known.probes, expected=expected))
        )
        wrong = {"frozen": errors, "trained": errors // 2, "whole": errors, "averaged": errors}
        said = {f"labels {split}": np.zeros(100, int) for split in ("validation", "test")}
        for network, count in wrong.items():
            truth = np.where(np.arange(100) < count, -4.0, 4.0)
            said |= {
                f"{network} {split}": np.stack([truth, -truth], axis=1) for split in ("validation", "test")
            }
        trained = {"full_training": {"test": 0.9, "processor_seconds": 120.0}}
        seen.append(({"data": str(number), "recommend": told.to_json(), "recipes": trained}, said))
    rows = {row[0]: row[1:] for row in tables.rows_of(prices.table(seen).split("\n\n")[1])}
    assert rows["a share of the expected error"][0] == "0.00"
    assert float(rows["the mean gain"][0]) > 1
    of_root = sum(errors / 2 * errors**0.5 for errors in (6, 10, 20, 40)) / 76  # least squares
    assert f"gains {of_root:.3f} points" in prices.table(seen)
    trains = {row[0]: row[1:] for row in tables.rows_of(prices.decisions(seen))}
    assert trains["always"][:3] == ["0.00", "0.0", "4 of 4"]
    assert trains["never"][1:] == ["20.0", "0 of 4", "0 of 4", "0%"]
    assert trains["by the steps, as advised"][2:4] == ["4 of 4", "4 of 4"]


def test_lines_are_kept_while_others_are_measured_or_advised_anew(tmp_path, monkeypatch):
    file, trained = tmp_path / "new" / "results.jsonl", []
    advised = SimpleNamespace(advice=SimpleNamespace(to_json=lambda: {"recipe": "shallow_features"}))

    def judge(task, image_size):
        trained.append(task.size)
        key = {"data": task.name, "size": task.size, "seed": 0, "image_size": image_size}
        return line(task.size, 0.05, 0.7) | key, {"frozen test": np.zeros((500, 4))}

    def cut(source, size, seed):
        return SimpleNamespace(name=source, size=size, seed=seed)

    monkeypatch.setattr(grid, "cut", cut)
    monkeypatch.setattr(tasks, "cut", cut)
    monkeypatch.setattr(grid, "judge", judge)
    monkeypatch.setattr(grid, "_advise", lambda *_: advised)
    for more in (["--sizes", "200"], ["--sizes", "50", "200", "--advise-anew"]):
        monkeypatch.setattr("sys.argv", ["grid", "x", *more, "--output", str(file)])
        grid.main()
    lines = {one["size"]: one["recommend"]["recipe"] for one, said in grid.read(file) if len(said) == 1}
    assert lines == {50: "feature_extraction", 200: "shallow_features"}
    assert trained == [200, 50]


def test_the_pages_show_what_the_results_give(tmp_path, monkeypatch, capsys):
    assert tables.main(["--check"]) == 0
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- table: speed -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(tables, "PAGES", (page,))
    assert tables.main(["--check"]) == 1
    assert "old" in page.read_text(encoding="utf-8")
    assert tables.main([]) == 0
    assert page.read_text(encoding="utf-8") == (
        f"before\n<!-- table: speed -->\n{tables.speed()}\n<!-- end -->\nafter\n"
    )
    assert tables.main(["--check"]) == 0


def test_sets_of_a_benchmark_cover_as_often_as_asked_for():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 6000)
    said = generator.dirichlet([0.4] * 4, 6000)
    truth = said[np.arange(6000), labels] * 0.3 + 0.7 * generator.random(6000) * said.max(axis=1)
    said[np.arange(6000), labels] = truth
    said /= said.sum(axis=1, keepdims=True)
    told = coverage.sets_of(labels[:3000], said[:3000], labels[3000:], said[3000:], 0)
    assert set(told) == {"plain 0.9", "plain 0.95", "adaptive 0.9", "adaptive 0.95"}
    for key, one in told.items():
        assert abs(one["covered"] / 3000 - float(key.split()[1])) < 0.02
        assert one["worst class"] <= one["covered"] / 3000
    few = coverage.sets_of(labels[:12], said[:12], labels[3000:], said[3000:], 0)
    assert set(few) == {"plain 0.9", "adaptive 0.9"}  # 12 images cannot say more


def test_what_a_kernel_brings_is_told_by_size_and_by_training():
    def head(frozen: float, kept: float, nats: float) -> dict[str, float]:
        return {"frozen": frozen, "kept": kept, "nats": nats, "left_out": frozen, "log_loss": nats / 100}

    lines = [
        {"data": name, "size": size, "heads": {"linear": head(80.0, 84.0, 100.0), "gaussian": curved}}
        for name, size, curved in (
            ("a", 200, head(79.0, 83.0, 97.0)),  # too little better to be taken
            ("b", 200, head(83.0, 85.0, 90.0)),
            ("b", 1000, head(82.0, 84.5, 95.0)),
        )
    ]
    by_belief = {row[0]: row[1:] for row in tables.rows_of(kernel.by_belief(lines))}
    assert by_belief["always"] == ["+1.00 ± 1.41, -1.0, 2 of 2", "+2.00 ± 0.00, +2.0, 1 of 1"]
    assert by_belief["from 4 nats on, as advised"][0] == "+1.50 ± 1.06, +0.0, 1 of 2"
    table, *laws = kernel.with_training(lines).split("\n\n")
    assert tables.rows_of(table)[0] == [
        "200", "2", "+1.50 ± 1.06, +0.0", "+0.50 ± 0.35, +0.0", "-0.050", "+4.00", "+3.00",
    ]  # fmt: skip
    assert [law.split(":")[0] for law in laws] == ["Without the kernel", "With it"]

"""All recipes on one and the same split: which was best, and what following the advice costs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from advisor.choices import RECIPES
from advisor.display import Display
from advisor.errors import InputError
from advisor.recommendation import Recommendation
from advisor.report import wilson_interval
from advisor.settings import Settings
from advisor.storage import replacing
from recipes import run_folder

BASELINE = "simple_cnn"


@dataclass(frozen=True)
class Row:
    """One recipe on the leaderboard; without an accuracy it did not come to run.

    Attributes:
        name: of the recipe, or `BASELINE`.
        status: "finished", "out of time" (the best epoch so far is judged), "not run", or "as" with the name
            of the recipe that trains the very same network on these data: it was trained once, and both rows
            tell of it.
        accuracy: on the test split, 0..1.
        interval: 95 % Wilson interval of it.
        macro_f1: 0..1.
        seconds: that it took.
        parameters: how many were trained.
        advised: whether it is the advised one.
    """

    name: str
    status: str
    accuracy: float | None
    interval: tuple[float, float] | None
    macro_f1: float | None
    seconds: float
    parameters: int | None
    advised: bool


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        advice: what was advised.
        rows: best first.
        regret: accuracy that the advised recipe loses against the best one, 0..1; None if it did not run.
    """

    advice: Recommendation
    rows: tuple[Row, ...]
    regret: float | None

    def to_json(self) -> dict[str, Any]:
        advice = self.advice.to_json()
        return {
            "schema": 1,
            "dataset": advice["dataset"],
            "quadrant": advice["quadrant"],
            "advised": advice["recipe"],
            "leaderboard": [asdict(row) for row in self.rows],
            "regret": self.regret,
        }


def compare(
    advice: Recommendation, folder: Path, minutes: float, baseline: bool, seed: int, display: Display
) -> Comparison:
    """Train all recipes, each into its own run folder below `folder`, and write compare.json.

    Args:
        advice: from `recommend`; its data and splits serve all recipes, and what was embedded, too.
        folder: exists.
        minutes: for all recipes together; each may use an equal share of what is left.
        baseline: add a plain convolutional network from random weights.
        seed: of everything random.
        display: where progress is shown.
    """
    jobs = {name: advice.settings_for(name) for name in RECIPES if name != "full_training"}
    full = advice.settings_for("full_training")
    jobs["full_training"] = full
    if baseline:
        jobs[BASELINE] = _plain_network(full, len(advice.data.indices("train")))
    # The quick ones first: what they leave of their share is left to the others.
    order = sorted(jobs, key=lambda name: (jobs[name].epochs > 0, name == BASELINE, name != advice.recipe))
    trained_as = {name: next(other for other in order if jobs[other].trains_as(jobs[name])) for name in order}
    different = [name for name in order if trained_as[name] == name]
    deadline = time.monotonic() + 60 * minutes
    trained = {}
    for number, name in enumerate(different):
        share = (deadline - time.monotonic()) / (len(different) - number)
        trained[name] = _row(name, jobs[name], advice, folder / name, share, seed, display)
    rows = [_named(name, trained[trained_as[name]]) for name in order]
    rows.sort(key=lambda row: -1.0 if row.accuracy is None else row.accuracy, reverse=True)
    accuracy = {row.name: row.accuracy for row in rows if row.accuracy is not None}
    advised = accuracy.get(advice.recipe)
    regret = None if advised is None else max(accuracy[name] for name in accuracy) - advised
    compared = Comparison(advice, tuple(rows), regret)
    with replacing(folder / "compare.json") as unfinished:
        unfinished.write_text(json.dumps(compared.to_json(), ensure_ascii=False, indent=1) + "\n")
    return compared


def _plain_network(full: Settings, training_images: int) -> Settings:
    """The baseline of the source documents: a small convolutional network from random weights."""
    from advisor import backbones, settings

    network = backbones.load(BASELINE)
    size = min(full.image_size, network.image_size)
    return replace(
        full,
        backbone=BASELINE,
        weights=None,
        init="random",
        image_size=size,
        training_size=size,
        taps=(network.taps[-1],),
        epochs=settings.epochs_for(training_images, random=True),
        learning_rate=settings.RANDOM_INIT_LEARNING_RATE,
        batch_norm="adapt",
    )


def _row(
    name: str,
    settings: Settings,
    advice: Recommendation,
    folder: Path,
    seconds: float,
    seed: int,
    display: Display,
) -> Row:
    advised = name == advice.recipe
    if seconds <= 0:
        return Row(name, "not run", None, None, None, 0.0, None, advised)
    began = time.monotonic()
    display.note(name)
    run_folder.prepare(folder, resume=False, overwrite=False)
    run_folder.start(folder, advice.data, seed, settings, advice.to_json(), {}, resume=False)
    finished = run_folder.run(advice.data, settings, folder, seed, display, seconds=seconds)
    run_folder.finish(folder)
    test = finished.metrics["test"]
    return Row(
        name=name,
        status="finished" if finished.metrics["complete"] else "out of time",
        accuracy=test["accuracy"],
        interval=wilson_interval(test["accuracy"], len(finished.test_labels)),
        macro_f1=test["macro_f1"],
        seconds=time.monotonic() - began,
        parameters=finished.metrics["parameters"]["trained"],
        advised=advised,
    )


def _named(name: str, row: Row) -> Row:
    """The row of a recipe that trains what another one has trained."""
    if name == row.name:
        return row
    status = f"as {row.name}" if row.status == "finished" else row.status
    return replace(row, name=name, status=status, advised=False)


def check_minutes(minutes: float) -> None:
    """Raises `InputError` for a budget that nothing can be done in."""
    if not minutes > 0:
        raise InputError(f"--budget is {minutes:g} minutes; give more than 0")

"""All recipes on one and the same split: which was best, and what following the advice costs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from advisor import backbones
from advisor.advice.recommendation import Advised, Recommendation
from advisor.advice.settings import RANDOM_INIT_LEARNING_RATE, Settings, epochs_for
from advisor.choices import RECIPES
from advisor.errors import InputError
from advisor.results import Comparison, Row
from advisor.system import devices
from advisor.system.json_file import write_json
from advisor.system.progress import Display
from recipes.runs import run_files
from recipes.runs.run import run
from recipes.runs.run_folder import RunFolder

BASELINE = "simple_cnn"


def compare(
    advised: Advised,
    folder: RunFolder,
    minutes: float,
    baseline: bool,
    seed: int,
    display: Display,
    asked: dict[str, Any],
    resume: bool = False,
) -> Comparison:
    """Train all recipes, each into its own run folder below `folder`, and write compare.json.

    Args:
        advised: the advice with the images; what was embedded for it serves all recipes.
        folder: exists.
        minutes: for all recipes together; each may use an equal share of what is left.
        baseline: add a plain convolutional network from random weights.
        seed: of everything random.
        display: where progress is shown.
        asked: what else the user asked for, in JSON; a resumed comparison must be asked for the same.
        resume: go on with what is not finished in `folder`; what is finished is read back.

    Raises:
        InputError: the comparison to resume is of other images, another seed, or was asked for otherwise.
        KeyboardInterrupt: after Ctrl-C; what was done is in `folder`, for `resume`.
    """
    advice = advised.advice
    folder.start(advised.data, seed, advice, {**asked, "baseline": baseline}, resume)
    jobs = _jobs(advised, baseline)
    order = list(jobs)
    trained_as = {
        name: next(other for other in order if jobs[other].settings.trains_as(jobs[name].settings))
        for name in order
    }
    rows = {name: _row(folder.path / name, advice.recipe) for name in order if trained_as[name] == name}
    deadline = time.monotonic() + 60 * minutes
    unfinished = [name for name in rows if rows[name].status != "finished"]
    for number, name in enumerate(unfinished):
        share = (deadline - time.monotonic()) / (len(unfinished) - number)
        if share > 0:
            display.note(name)
            inner = RunFolder(folder.path / name)
            inner.path.mkdir(exist_ok=True)
            job = inner.start(advised.data, seed, jobs[name], {}, resume)
            finished = run(advised.data, job.settings, inner, seed, display, resume, share)
            if finished.metrics.complete:
                inner.finish()  # else it keeps its checkpoints, to be gone on with
            rows[name] = _row(inner.path, advice.recipe)
    compared = _compared(advice, [_named(name, rows[trained_as[name]]) for name in order])
    write_json(folder.path / "compare.json", compared.to_json())
    return compared


def clear(folder: RunFolder) -> None:
    """Remove what a comparison writes, and nothing else."""
    for name in (*RECIPES, BASELINE):
        inner = RunFolder(folder.path / name)
        inner.clear()
        inner.remove_if_empty()
    folder.clear()
    for name in ("compare.json", "leaderboard.png"):
        (folder.path / name).unlink(missing_ok=True)


def check_minutes(minutes: float) -> None:
    """Refuse a budget that nothing can be done in.

    Raises:
        InputError: it is not more than 0.
    """
    if not minutes > 0:
        raise InputError(f"--budget is {minutes:g} minutes; give more than 0")


def _jobs(advised: Advised, baseline: bool) -> dict[str, Recommendation]:
    """The advice with the settings of each recipe, in the order of training: the quick ones first, for what
    they leave of their share is left to the others; the advised one first among equals."""
    jobs = {name: advised.with_recipe(name) for name in RECIPES}
    if baseline:
        plain = _plain_network(jobs["full_training"].settings, advised)
        jobs[BASELINE] = advised.advice.with_settings(plain)

    def rank(name: str) -> tuple[bool, bool, bool]:
        return jobs[name].settings.trains_on_images, name == BASELINE, name != advised.advice.recipe

    return {name: jobs[name] for name in sorted(jobs, key=rank)}


def _plain_network(full: Settings, advised: Advised) -> Settings:
    """The baseline of the source documents: a small convolutional network from random weights."""
    devices.load_tensorflow()
    network = backbones.load(BASELINE)
    size = min(full.image_size, network.image_size)
    training_images = advised.advice.data.splits["train"]
    return replace(
        full,
        backbone=BASELINE,
        weights=None,
        init="random",
        image_size=size,
        training_size=size,
        taps=(network.taps[-1],),
        epochs=advised.options.epochs or epochs_for(training_images, random=True),
        learning_rate=RANDOM_INIT_LEARNING_RATE,
        batch_norm="adapt",
    )


def _row(folder: Path, advised: str) -> Row:
    """What a run folder, named after its recipe, tells: the same today as when it was trained."""
    name = folder.name
    if not os.path.lexists(folder / "metrics.json"):
        return Row(name, "not run", None, None, None, 0.0, None, name == advised)
    metrics = run_files.read_metrics(folder)
    return Row(
        name=name,
        status="finished" if metrics.complete else "out of time",
        accuracy=metrics.test.accuracy,
        interval=metrics.test.interval,
        macro_f1=metrics.test.macro_f1,
        seconds=metrics.seconds["total"],
        parameters=metrics.parameters["trained"],
        advised=name == advised,
    )


def _named(name: str, row: Row) -> Row:
    """The row of a recipe that trains what another one has trained."""
    if name == row.name:
        return row
    status = f"as {row.name}" if row.status == "finished" else row.status
    return replace(row, name=name, status=status, advised=False)


def _compared(advice: Recommendation, rows: list[Row]) -> Comparison:
    """The rows, best first, and what the advised recipe loses against the best one."""
    rows = sorted(rows, key=lambda row: -1.0 if row.accuracy is None else row.accuracy, reverse=True)
    accuracy = {row.name: row.accuracy for row in rows if row.accuracy is not None}
    own = accuracy.get(advice.recipe)
    return Comparison(advice, tuple(rows), None if own is None else max(accuracy.values()) - own)

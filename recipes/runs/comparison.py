"""All recipes on one and the same split: which was best, and what following the advice costs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from advisor import backbones
from advisor.advice import times
from advisor.advice.recommendation import Advised, Recommendation
from advisor.advice.settings import RANDOM_INIT_LEARNING_RATE, Settings, epochs_for
from advisor.choices import AUTO, RECIPES
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.evidence.gaussian import LINEAR
from advisor.evidence.pooling import AVERAGE
from advisor.results import Comparison, Row, Run, pair
from advisor.system import cluster, devices
from advisor.system.json_file import read_json, write_json
from advisor.system.json_shape import conform
from advisor.system.progress import Display, Headed
from recipes.runs import run_files, test_file
from recipes.runs.budget import Budget
from recipes.runs.run import embed_ahead, run
from recipes.runs.run_folder import RunFolder

BASELINE = "simple_cnn"
SPENT = "checkpoints/seconds.json"  # that a run has taken so far, in all of its processes
MOST_SECONDS = 1e9  # that are believed: thirty years

Document: TypeAlias = Callable[[Run, Recommendation], None]


def compare(
    advised: Advised,
    folder: RunFolder,
    minutes: float,
    baseline: bool,
    seed: int,
    display: Display,
    asked: dict[str, Any],
    resume: bool = False,
    document: Document | None = None,
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
        document: called with each run that has come to its end or out of time, and with its settings.

    Raises:
        InputError: the comparison to resume is of other images, another seed, or was asked for otherwise.
        KeyboardInterrupt: after Ctrl-C; what was done is in `folder`, for `resume`.
    """
    advice, budget = advised.advice, Budget(minutes)
    folder.start(advised.data, seed, advice, {**asked, "baseline": baseline}, resume)
    jobs = _jobs(advised, baseline)
    trained_as = {
        name: next(other for other in jobs if jobs[other].settings.trains_as(jobs[name].settings))
        for name in jobs
    }
    own = {name: jobs[name] for name in jobs if trained_as[name] == name}
    _train(own, advised.data, folder, budget, seed, display, resume, document)
    rows = {name: _row(folder.path / name, job, advice.recipe) for name, job in own.items()}
    compared = _compared(advice, [_named(name, rows[trained_as[name]]) for name in jobs], folder.path, budget)
    write_json(folder.path / "compare.json", compared.to_json())
    return compared


def _train(
    jobs: dict[str, Recommendation],
    data: Dataset,
    folder: RunFolder,
    budget: Budget,
    seed: int,
    display: Display,
    resume: bool,
    document: Document | None,
) -> None:
    """Train what is not finished yet, as many at once as the cluster has places for, as far as the budget
    goes; see `compare`."""
    where = cluster.current()
    unfinished = [name for name in jobs if not _is_finished(folder.path / name)]
    started: dict[str, Recommendation] = {}
    ends: dict[str, float] = {}

    def trainings() -> Iterator[_Training]:
        for number, name in enumerate(unfinished):
            settings, splits = jobs[name].settings, jobs[name].data.splits
            behind = math.ceil((len(unfinished) - number - 1) / where.slots())  # in the same place
            share = budget.share(times.needed(settings, splits), behind)
            if share is None:
                continue
            ends[name] = budget.spent() + share
            inner = RunFolder(folder.path / name)
            inner.path.mkdir(exist_ok=True)
            job = started[name] = inner.start(data, seed, jobs[name], {}, resume)
            seconds = share - times.after_steps(settings, splits) - budget.late
            # A task that is begun anew where another machine died goes on from its checkpoints.
            yield _Training(data, job.settings, inner, seed, resume or not where.is_here, seconds)

    if not where.is_here:
        for name in unfinished:
            embed_ahead(data, jobs[name].settings, folder, display)
    for finished in where.tasks(trainings(), len(unfinished), display):
        name = finished.folder.name
        if document:
            document(finished, started[name])
        if finished.metrics.complete:
            RunFolder(folder.path / name).finish()  # else it keeps its checkpoints, to be gone on with
        else:
            budget.late += budget.spent() - ends[name]


@dataclass(frozen=True)
class _Training:
    """One of the trainings, as a task for `advisor.system.cluster`.

    Attributes:
        data: the images.
        settings: what to build.
        folder: the run folder, which bears the recipe's name.
        seed: of everything random.
        resume: go on from its checkpoints, if there are any.
        seconds: from now, after which no gradient step begins.
    """

    data: Dataset
    settings: Settings
    folder: RunFolder
    seed: int
    resume: bool
    seconds: float

    def __call__(self, display: Display) -> Run:
        """Train; progress stands behind the recipe's name.

        Raises:
            InputError: this machine of the cluster does not see the folder or the images.
        """
        began = time.monotonic()
        for path in (self.folder.path, Path(self.data.paths[0])):
            if not path.exists():
                raise InputError(
                    f"a machine of the cluster does not see {path.absolute()}: "
                    "put it where all of them see it under this name"
                )
        devices.load_tensorflow()  # which takes seconds, too
        left, shown = self.seconds - (time.monotonic() - began), Headed(self.folder.path.name, display)
        return _run(self.data, self.settings, self.folder, self.seed, shown, self.resume, left)


def clear(folder: RunFolder) -> None:
    """Remove what a comparison writes, and nothing else."""
    for name in (*RECIPES, BASELINE):
        inner = RunFolder(folder.path / name)
        inner.clear()
        inner.remove_if_empty()
    folder.clear()
    for name in ("compare.json", "leaderboard.png"):
        (folder.path / name).unlink(missing_ok=True)


def check(minutes: float, backbone: str) -> None:
    """Refuse a budget that nothing can be done in, and networks that are still to be compared.

    Raises:
        InputError: the budget is not more than 0, or no network is named.
    """
    if not minutes > 0:
        raise InputError(f"--minutes is {minutes:g}; give more than 0")
    if backbone == AUTO:
        raise InputError(
            "compare has all recipes train one network; name it, as advisor recommend --backbone auto does"
        )


def _jobs(advised: Advised, baseline: bool) -> dict[str, Recommendation]:
    """The advice with the settings of each recipe, in the order of training: the quick ones first, for what
    they leave of their share is left to the others; then those that see cells, for averages come with them
    and no image is embedded twice; the advised one first among equals."""
    jobs = {name: advised.with_recipe(name) for name in RECIPES}
    if baseline:
        plain = _plain_network(jobs["full_training"].settings, advised)
        jobs[BASELINE] = advised.advice.with_settings(plain)

    def rank(name: str) -> tuple[bool, bool, bool, bool]:
        settings = jobs[name].settings
        sees_cells, is_advised = settings.sees_cells, name == advised.advice.recipe
        return settings.trains_on_images, name == BASELINE, not sees_cells, not is_advised

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
        pooling=AVERAGE,
        kernel=LINEAR,
    )


def _is_finished(folder: Path) -> bool:
    """Whether nothing is left to do for a run, not even its pages: after these its checkpoints go."""
    is_done = os.path.lexists(folder / "metrics.json") and not (folder / "checkpoints").exists()
    return is_done and run_files.read_metrics(folder).complete


def _run(
    data: Dataset,
    settings: Settings,
    folder: RunFolder,
    seed: int,
    display: Display,
    resume: bool,
    seconds: float,
) -> Run:
    """As `run`, with the seconds of earlier processes in those of metrics.json."""
    began, earlier = time.monotonic(), _spent(folder.path) if resume else 0.0
    try:
        finished = run(data, settings, folder, seed, display, resume, seconds)
    finally:
        spent = round(earlier + time.monotonic() - began, 3)
        write_json(folder.path / SPENT, spent)
    total = max(
        finished.metrics.seconds["total"], spent
    )  # of a process that was killed only its epochs count
    metrics = replace(finished.metrics, seconds={**finished.metrics.seconds, "total": total})
    write_json(folder.path / "metrics.json", metrics.to_json())
    return replace(finished, metrics=metrics)


def _spent(folder: Path) -> float:
    """Seconds that earlier processes have written down; 0 where they have not."""
    try:
        spent = read_json(folder / SPENT)
        conform(spent, (float, 0, MOST_SECONDS))
    except (OSError, ValueError):
        return 0.0
    return float(spent)


def _row(folder: Path, job: Recommendation, advised: str) -> Row:
    """What a run folder, named after its recipe, tells: the same today as when it was trained."""
    name = folder.name
    if not os.path.lexists(folder / "metrics.json"):
        needs = times.needed(job.settings, job.data.splits)
        return Row(name, "not run", None, None, None, 0.0, None, name == advised, needs=needs)
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
    """The row of a recipe, by that of the training which is its own or another one's, too."""
    return row if name == row.name else replace(row, name=name, advised=False, same_as=row.name)


def _compared(advice: Recommendation, rows: list[Row], folder: Path, budget: Budget) -> Comparison:
    """The rows, best first, and the advised recipe beside the best other one."""
    rows = sorted(rows, key=lambda row: -1.0 if row.accuracy is None else row.accuracy, reverse=True)
    accuracy = {row.name: row.accuracy for row in rows if row.accuracy is not None and not row.same_as}
    tested = {name: test_file.read(folder / name, run_files.read_metrics(folder / name)) for name in accuracy}
    own, others = accuracy.get(advice.recipe), [name for name in accuracy if name != advice.recipe]
    return Comparison(
        advice=advice,
        rows=tuple(rows),
        regret=None if own is None else max(accuracy.values()) - own,
        paired=pair(others[0], tested[advice.recipe], tested[others[0]])
        if own is not None and others
        else None,
        tested=tested,
        seconds=budget.spent(),
        budget=budget.seconds,
    )

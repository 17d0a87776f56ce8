"""All recipes on one and the same split: which was best, and what following the advice costs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor import backbones
from advisor.advice.settings import RANDOM_INIT_LEARNING_RATE, Settings, epochs_for
from advisor.choices import RECIPES
from advisor.errors import InputError
from advisor.results import wilson_interval
from advisor.system import devices
from advisor.system.progress import Display
from advisor.system.storage import replacing
from recipes.runs import run_folder

if TYPE_CHECKING:
    from advisor.advice.recommendation import Recommendation

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
        seconds: that it took, before an interruption, too.
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
    advice: Recommendation,
    folder: Path,
    minutes: float,
    baseline: bool,
    seed: int,
    display: Display,
    options: dict[str, Any],
    resume: bool = False,
) -> Comparison:
    """Train all recipes, each into its own run folder below `folder`, and write compare.json.

    Args:
        advice: from `recommend`; its data and splits serve all recipes, and what was embedded, too.
        folder: exists.
        minutes: for all recipes together; each may use an equal share of what is left.
        baseline: add a plain convolutional network from random weights.
        seed: of everything random.
        display: where progress is shown.
        options: what else the user asked for, in JSON; a resumed comparison must be asked for the same.
        resume: go on with what is not finished in `folder`; what is finished is read back.

    Raises:
        InputError: the comparison to resume is of other images, another seed, or was asked for otherwise.
        KeyboardInterrupt: after Ctrl-C; what was done is in `folder`, for `resume`.
    """
    asked = {**options, "baseline": baseline}
    run_folder.start(folder, advice.data, seed, advice.settings, advice.to_json(), asked, resume)
    jobs = {name: advice.settings_for(name) for name in RECIPES if name != "full_training"}
    full = advice.settings_for("full_training")
    jobs["full_training"] = full
    if baseline:
        jobs[BASELINE] = _plain_network(full, len(advice.data.indices("train")), options.get("epochs"))
    # The quick ones first: what they leave of their share is left to the others.
    order = sorted(
        jobs, key=lambda name: (jobs[name].trains_on_images, name == BASELINE, name != advice.recipe)
    )
    trained_as = {name: next(other for other in order if jobs[other].trains_as(jobs[name])) for name in order}
    different = [name for name in order if trained_as[name] == name]
    deadline = time.monotonic() + 60 * minutes
    trained = {name: _row(folder / name, advice.recipe) for name in different}
    unfinished = [name for name in different if trained[name].status != "finished"]
    for number, name in enumerate(unfinished):
        share = (deadline - time.monotonic()) / (len(unfinished) - number)
        if share > 0:
            display.note(name)
            _train(jobs[name], advice, folder / name, share, seed, display, resume)
            trained[name] = _row(folder / name, advice.recipe)
    rows = [_named(name, trained[trained_as[name]]) for name in order]
    rows.sort(key=lambda row: -1.0 if row.accuracy is None else row.accuracy, reverse=True)
    accuracy = {row.name: row.accuracy for row in rows if row.accuracy is not None}
    advised = accuracy.get(advice.recipe)
    regret = None if advised is None else max(accuracy[name] for name in accuracy) - advised
    compared = Comparison(advice, tuple(rows), regret)
    with replacing(folder / "compare.json") as written:
        written.write_text(
            json.dumps(compared.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    return compared


def clear(folder: Path) -> None:
    """Remove what a comparison writes, and nothing else."""
    for name in (*RECIPES, BASELINE):
        run_folder.clear(folder / name)
        run_folder.remove_if_empty(folder / name)
    run_folder.clear(folder)
    for name in ("compare.json", "leaderboard.png"):
        (folder / name).unlink(missing_ok=True)


def _plain_network(full: Settings, training_images: int, epochs: int | None) -> Settings:
    """The baseline of the source documents: a small convolutional network from random weights."""
    devices.load_tensorflow()
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
        epochs=epochs or epochs_for(training_images, random=True),
        learning_rate=RANDOM_INIT_LEARNING_RATE,
        batch_norm="adapt",
    )


def _train(
    settings: Settings,
    advice: Recommendation,
    folder: Path,
    seconds: float,
    seed: int,
    display: Display,
    resume: bool,
) -> None:
    """A run folder for one recipe; where time was over it keeps its checkpoints, to be gone on with."""
    folder.mkdir(exist_ok=True)
    told = {
        **advice.to_json(),
        "settings": settings.to_json(),
        "plan": vars(advice.plan_for(settings)),
    }
    settings = run_folder.start(folder, advice.data, seed, settings, told, {}, resume)
    run = run_folder.run(advice.data, settings, folder, seed, display, resume, seconds)
    if run.metrics["complete"]:
        run_folder.finish(folder)


def _row(folder: Path, advised: str) -> Row:
    """What a run folder, named after its recipe, tells: the same today as when it was trained."""
    name = folder.name
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Row(name, "not run", None, None, None, 0.0, None, name == advised)
    test = metrics["test"]
    return Row(
        name=name,
        status="finished" if metrics["complete"] else "out of time",
        accuracy=test["accuracy"],
        interval=wilson_interval(test["accuracy"], metrics["images"]["test"]),
        macro_f1=test["macro_f1"],
        seconds=metrics["seconds"]["total"],
        parameters=metrics["parameters"]["trained"],
        advised=name == advised,
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

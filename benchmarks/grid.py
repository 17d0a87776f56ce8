"""Measure the grid of tasks from which most tables are made, so that nothing is trained again for a new rule.

    python -m benchmarks.grid DATA... --sizes 200 1000 --seeds 0 1 --output benchmarks/results/grid.jsonl

Each task is a data set cut to a size. The advisor sees only what a user of that size would have; then all
four recipes are trained as a user's run would train them, and judged on up to 500 images that were held back.
One line is written as each task is done; tasks whose line is there already are skipped, so that it can be
stopped and gone on with. A line has all of `advisor recommend --json` and, for each recipe, what
`tasks.train` gives. What the networks of `full_training` say, as `tasks.train_and_look` gives it, lies beside
the lines. `--advise-anew` asks the advisor again about tasks that are done, without training.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from advisor.advice import recommendation
from advisor.advice.recommendation import Advised
from advisor.advice.settings import Options
from advisor.choices import RECIPES
from advisor.system.progress import Silent
from advisor.system.storage import replacing
from benchmarks import results
from benchmarks.tasks import Task, cut, not_done, train_and_look

Logits: TypeAlias = Mapping[str, np.ndarray]
LOOKED_AT = "full_training"  # the recipe whose networks are kept beside the lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", default=["200", "1000"], help="numbers of images, or all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("grid.jsonl"))
    parser.add_argument("--advise-anew", action="store_true", help="ask again for tasks that are done")
    arguments = parser.parse_args()
    if arguments.advise_anew:
        advise_anew(arguments)
    measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Train on the tasks that have no line yet."""
    file = arguments.output
    lines = results.read(file)
    file.with_suffix("").mkdir(parents=True, exist_ok=True)
    of_size = [line for line in lines if line["image_size"] == arguments.image_size]
    done = [(line["data"], line["size"], line["seed"]) for line in of_size]
    sizes = [None if size == "all" else int(size) for size in arguments.sizes]
    for task in not_done(arguments.data, sizes, arguments.seeds, done):
        line, said = judge(task, arguments.image_size)
        with replacing(_arrays(file, line)) as unfinished:
            np.savez_compressed(unfinished, **said)  # type: ignore[arg-type]
        lines.append(line)
        results.write(file, lines)
        reached = " ".join(f"{name}={line['recipes'][name]['test']:.3f}" for name in RECIPES)
        print(task.name, task.size, task.seed, f"advice={line['recommend']['recipe']}", reached, flush=True)


def judge(task: Task, image_size: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Ask for advice, then train all recipes; what differs in nothing but its name is trained once."""
    advised = _advise(task, image_size)
    trained: dict[str, dict[str, Any]] = {}
    said: dict[str, np.ndarray] = {}
    settings = {recipe: advised.with_recipe(recipe).settings for recipe in (LOOKED_AT, *RECIPES)}
    for recipe, chosen in settings.items():
        same = next((other for other in trained if settings[other].trains_as(chosen)), None)
        if same:
            trained[recipe] = trained[same]
            continue
        line, logits = train_and_look(task, chosen)
        trained[recipe] = {"epochs": chosen.epochs, **line}
        said = said or logits
    line = {
        "data": task.name,
        "size": task.size,
        "seed": task.seed,
        "image_size": image_size,
        "tested": len(task.judged.indices("test")),
        "recommend": advised.advice.to_json(),
        "recipes": {recipe: trained[recipe] for recipe in RECIPES},
    }
    return line, said


def advise_anew(arguments: argparse.Namespace) -> None:
    """Ask the advisor again about the data sets that are named, and keep what was trained."""
    lines = results.read(arguments.output)
    known = {Path(source.replace(":", "-")).name: source for source in arguments.data}
    for line in lines:
        task = cut(known[line["data"]], line["size"], line["seed"]) if line["data"] in known else None
        if task:
            line["recommend"] = _advise(task, line["image_size"]).advice.to_json()
    results.write(arguments.output, lines)


def _advise(task: Task, image_size: int) -> Advised:
    return recommendation.recommend(task.held, Options(image_size=image_size), Silent(), seed=task.seed)


def read(file: Path) -> list[tuple[dict[str, Any], Logits]]:
    """All lines of a file with the logits beside it."""
    found: list[tuple[dict[str, Any], Logits]] = []
    for line in results.read(file):
        with np.load(_arrays(file, line)) as arrays:
            found.append((line, dict(arrays)))
    return found


def _arrays(file: Path, line: dict[str, Any]) -> Path:
    """Where the logits of a task lie, beside the lines."""
    name = "-".join(str(line[key]) for key in ("data", "size", "seed", "image_size"))
    return file.with_suffix("") / f"{name}.npz"


if __name__ == "__main__":
    main()

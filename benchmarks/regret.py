"""Regret of the advice: test accuracy lost against the best recipe in hindsight.

    python -m benchmarks.regret DATA... --sizes 50 200 1000 all --output benchmarks/results/regret.jsonl
    python -m benchmarks.regret --table benchmarks/results/regret.jsonl

Each task is a data set cut to a size; the advisor sees only what a user of that size would have; all four
recipes are then trained on it and judged on up to 500 images that were held back. One JSON line is
written as each task is done; tasks whose line is there already are skipped, so that it can be stopped and
gone on with. `--advise-anew` asks the advisor again about those; it trains only where the probes now prefer
the last layer and did not before, for `fine_tuning` starts from what they prefer. The table compares the
advisor with fixed rules on the same tasks; a loss is clear where it is more than twice its standard error,
both recipes judging the very same test images.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice import recommendation
from advisor.advice.recommendation import Advised
from advisor.advice.rule import LARGE_FROM_IMAGES, RECIPE, SIMILAR_FROM_SCORE
from advisor.advice.settings import FEWEST_EPOCHS, MOST_EPOCHS, Options
from advisor.choices import RECIPES
from advisor.system.progress import Silent
from benchmarks import results
from benchmarks.tasks import Task, cut, train

CLEAR = 2.0  # standard errors


def _frozen(is_deep: bool) -> str:
    return "feature_extraction" if is_deep else "shallow_features"


# What each rule would have taken on a task, by its line; "random choice" is the mean over all recipes.
RULES: dict[str, Callable[[dict[str, Any]], str]] = {
    "the advisor": lambda line: line["advice"],
    "always feature extraction": lambda line: "feature_extraction",
    "always fine-tuning": lambda line: "fine_tuning",
    "always shallow features": lambda line: "shallow_features",
    "always full training": lambda line: "full_training",
    "quadrant alone": lambda line: RECIPE[line["quadrant"]],
    "frozen, by the probes": lambda line: line["frozen_advice"],
    "frozen, by the sign of the probes": lambda line: _frozen(line["evidence"]["gain_of_all_depths"][0] < 0),
    "frozen, by the quadrant": lambda line: _frozen(line["score"] >= SIMILAR_FROM_SCORE),
    "size alone": lambda line: "feature_extraction" if line["images"] < LARGE_FROM_IMAGES else "fine_tuning",
}


def main() -> None:
    print(table(measured(__doc__)))


def measured(description: str) -> list[dict[str, Any]]:
    """The lines that the command line asks for, measured first if they are not there yet."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", default=["50", "200", "1000", "all"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--images-seen", type=int, default=8000, help="training images times epochs, at most")
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--advise-anew", action="store_true", help="ask again for tasks that are done")
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    if not arguments.table:
        measure(arguments)
    return [line for file in arguments.table or [arguments.output] for line in results.read(file)]


def measure(arguments: argparse.Namespace) -> None:
    """Judge the tasks that have no line yet, and advise those anew that have one, if asked."""
    lines = results.read(arguments.output)
    done = {(line["data"], line["size"], line["seed"], line["image_size"]): line for line in lines}
    sizes = [None if size == "all" else int(size) for size in arguments.sizes]
    for size, source, seed in itertools.product(sizes, arguments.data, arguments.seeds):
        task = cut(source, size, seed)
        if task is None:
            continue
        key = (task.name, size, seed, arguments.image_size)
        if key not in done:
            done[key] = judge(task, arguments.image_size, arguments.images_seen)
        elif arguments.advise_anew:
            done[key] = advise_anew(task, done[key], arguments.images_seen)
        line = done[key]
        results.write(arguments.output, done.values())
        accuracy = " ".join(f"{r}={line['recipes'][r]['test']:.3f}" for r in RECIPES)
        print(task.name, size, seed, f"advice={line['advice']}", accuracy, flush=True)


def advise(task: Task, image_size: int, epochs: int) -> tuple[dict[str, Any], Advised]:
    """Ask for advice, blind to the judge's images: what of it stands in the line, and all of it."""
    options = Options(image_size=image_size, epochs=epochs)
    advised = recommendation.recommend(task.held, options, Silent(), seed=task.seed)
    advice = advised.advice
    return {
        "advice": advice.recipe,
        "frozen_advice": advice.frozen_recipe,
        "quadrant": advice.quadrant.name,
        "confidence": advice.quadrant.confidence,
        "score": advice.evidence.similarity.score,
        "evidence": advice.to_json()["evidence"],
    }, advised


def epochs_of(task: Task, images_seen: int) -> int:
    """How often training sees each image, so that it sees `images_seen` in all, within the usual bounds."""
    return int(np.clip(images_seen // len(task.held.indices("train")), FEWEST_EPOCHS, MOST_EPOCHS))


def judge(task: Task, image_size: int, images_seen: int) -> dict[str, Any]:
    """Ask for advice, then train all recipes."""
    epochs = epochs_of(task, images_seen)
    told, advised = advise(task, image_size, epochs)
    settings = {recipe: advised.with_recipe(recipe).settings for recipe in RECIPES}
    trained: dict[str, dict[str, float]] = {}
    for recipe in RECIPES:  # what differs in nothing but its name is trained once
        same = next((other for other in trained if settings[other].trains_as(settings[recipe])), None)
        trained[recipe] = trained[same] if same else train(task, settings[recipe])
    return {
        "data": task.name,
        "size": task.size,
        "seed": task.seed,
        "image_size": image_size,
        "epochs": epochs,
        "images": len(task.held),
        "classes": len(task.held.class_names),
        "tested": len(task.judged.indices("test")),
        **told,
        "recipes": trained,
    }


def advise_anew(task: Task, line: dict[str, Any], images_seen: int) -> dict[str, Any]:
    """The line with today's advice; trained again only where that starts training from what no recipe did."""
    told, advised = advise(task, line["image_size"], line["epochs"])
    if told["frozen_advice"] != line["frozen_advice"]:
        fine_tuning, full = (advised.with_recipe(name).settings for name in ("fine_tuning", "full_training"))
        if not fine_tuning.trains_as(full):
            return judge(task, line["image_size"], images_seen)
        line["recipes"]["fine_tuning"] = line["recipes"]["full_training"]
    return line | told


def regret(line: dict[str, Any], recipe: str) -> tuple[float, float]:
    """Points of test accuracy lost against the best recipe of this task, and their standard error."""
    best = max(RECIPES, key=lambda name: line["recipes"][name]["test"])
    return results.paired_gain(line, best, recipe)


def is_clear(lost: tuple[float, float]) -> bool:
    """Whether a loss is more than luck with the test images would make it, in 39 of 40 cases."""
    return lost[0] > CLEAR * lost[1]


def regret_over_seeds(lines: Sequence[dict[str, Any]], rule: Callable[[dict[str, Any]], str]) -> list[float]:
    """Points lost for each data set and size against the recipe that is best there on average over the seeds.

    With a few hundred test images, the best recipe of a single task is in part the luckiest. Less than
    nothing is lost by a rule that takes the right recipe seed by seed.
    """
    lost = []
    for group in _by_seed(lines):
        mean = {name: _mean_accuracy(group, name) for name in RECIPES}
        taken = np.mean([line["recipes"][rule(line)]["test"] for line in group])
        lost.append(100 * float(max(mean.values()) - taken))
    return lost


def _by_seed(lines: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Lines that differ in their seed alone, together."""
    groups: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["data"], line["size"]), []).append(line)
    return list(groups.values())


def _mean_accuracy(lines: Sequence[dict[str, Any]], recipe: str) -> float:
    return float(np.mean([line["recipes"][recipe]["test"] for line in lines]))


def table(lines: list[dict[str, Any]]) -> str:
    """The tasks, seeds averaged, then each rule with its mean and its worst regret, as Markdown."""
    head = ["data", "images", "seeds", "quadrant", *RECIPES, "advice", "regret"]
    rows = [
        [
            group[0]["data"],
            f"{group[0]['images']:,}",
            str(len(group)),
            _counted([line["quadrant"] for line in group]),
            *(f"{_mean_accuracy(group, recipe):.3f}" for recipe in RECIPES),
            _counted([line["advice"] for line in group]),
            _mean_regret([regret(line, line["advice"]) for line in group]),
        ]
        for group in _by_seed(lines)
    ]
    summary = []
    for name, rule in RULES.items():
        lost = [regret(line, rule(line)) for line in lines]
        over_seeds = regret_over_seeds(lines, rule)
        summary.append(
            [
                name,
                *_mean_and_worst([points for points, _ in lost]),
                str(sum(is_clear(one) for one in lost)),
                *_mean_and_worst(over_seeds),
            ]
        )
    # What a tutorial does: it has no way back to the frozen model where training did harm.
    kept = [_lost(line, line["recipes"]["fine_tuning"]["averaging"]["trained"]) for line in lines]
    summary.append(["fine-tuning, kept whatever comes", *_mean_and_worst(kept), "", "", ""])
    by_chance = [float(np.mean([regret(line, recipe)[0] for recipe in RECIPES])) for line in lines]
    summary.append(["random choice", *_mean_and_worst(by_chance), "", "", ""])
    rules = ["rule", "mean regret", "worst", "clear losses", "mean, seeds averaged", "worst"]
    return results.markdown(head, rows) + "\n\n" + results.markdown(rules, summary)


def _lost(line: dict[str, Any], accuracy: float) -> float:
    return 100 * (max(result["test"] for result in line["recipes"].values()) - accuracy)


def _mean_and_worst(lost: Sequence[float]) -> list[str]:
    return [f"{np.mean(lost):.2f}", f"{max(lost):.1f}"]


def _mean_regret(lost: Sequence[tuple[float, float]]) -> str:
    """Over the seeds of a task: "0.0", or with its standard error, "1.4 ± 0.9"."""
    points, errors = np.array(lost).T
    if not points.any():
        return "0.0"
    return f"{points.mean():.1f} ± {np.sqrt((errors**2).sum()) / len(errors):.1f}"


def _counted(names: Sequence[str]) -> str:
    """As in "fine_tuning" or "fine_tuning 2, shallow_features 1"."""
    counts = Counter(names).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{name} {count}" for name, count in counts)


if __name__ == "__main__":
    main()

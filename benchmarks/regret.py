"""Regret of the advice: test accuracy lost against the best step in hindsight, beside the time that it takes.

    python -m benchmarks.regret benchmarks/results/grid.jsonl
    python -m benchmarks.regret benchmarks/results/grid.jsonl --picture frontier.svg

Reads what `benchmarks.grid` measured: nothing is trained. The first table has the tasks, seeds averaged. The
second compares the advice with other rules on the same tasks: mean and worst regret in points; clear losses
(more than twice their standard error, both recipes judging the very same test images); the share of the time
of always training, summed over the tasks and as the mean over them; and the regret against what is best on
average over the seeds of a task. Time is that of all processors together after `recommend`, which other work
on the machine does not change. The third allows each rule some minutes only: where what it would do took
longer, it has the better frozen model. The picture shows mean accuracy against mean minutes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from advisor.advice.rule import LARGE_FROM_IMAGES, RECIPE
from advisor.advice.steps import TRAINING
from advisor.choices import RECIPES
from benchmarks import results

Line: TypeAlias = dict[str, Any]
CLEAR = 2.0  # standard errors
HIGH_ERROR = 0.10  # that is expected of the frozen model, from which one rule trains
MINUTES = (1 / 6, 1.0, 5.0, 20.0)
PROCESSORS = 2  # of the machine that the minutes are told for
TRAINED = "fine-tuning without a way back"  # to the frozen model, as tutorials do it
AT_RANDOM = "at random, in the time of the advice"


class Taken(NamedTuple):
    """What a rule does with a task.

    Attributes:
        accuracy: on the test images, 0..1.
        minutes: that it takes on `PROCESSORS` processors.
    """

    accuracy: float
    minutes: float


def frozen(line: Line) -> str:
    """The better of the two frozen recipes, as the advice tells it."""
    return str(line["recommend"]["evidence"]["frozen_recipe"])


def expected_error(line: Line) -> float:
    """Of the better frozen model, as the advice tells it, 0..1."""
    return 1 - float(line["recommend"]["evidence"]["frozen"][frozen(line)]["expected_accuracy"])


def _trained_if(condition: Callable[[Line], bool]) -> Callable[[Line], str]:
    return lambda line: "full_training" if condition(line) else frozen(line)


# The recipe that each rule takes on a task, by its line.
RULES: dict[str, Callable[[Line], str]] = {
    "the advice": lambda line: line["recommend"]["recipe"],
    "always feature extraction": lambda line: "feature_extraction",
    "always shallow features": lambda line: "shallow_features",
    "always the better frozen recipe": frozen,
    "always fine-tuning": lambda line: "fine_tuning",
    "always full training": lambda line: "full_training",
    "the quadrant alone": lambda line: RECIPE[line["recommend"]["quadrant"]],
    "training by size alone": _trained_if(
        lambda line: line["recommend"]["dataset"]["images"] >= LARGE_FROM_IMAGES
    ),
    "training from 10 % expected errors": _trained_if(lambda line: expected_error(line) >= HIGH_ERROR),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="draw accuracy against minutes into this file")
    arguments = parser.parse_args()
    lines = [line for file in arguments.files for line in results.read(file)]
    print("\n\n".join([tasks(lines), rules(lines), budgets(lines)]))
    if arguments.picture:
        draw(lines, arguments.picture)


def taken(line: Line, recipe: str) -> Taken:
    """What a recipe gave on a task."""
    result = line["recipes"][recipe]
    return Taken(result["test"], result["processor_seconds"] / PROCESSORS / 60)


def regret(line: Line, recipe: str) -> tuple[float, float]:
    """Points of test accuracy lost against the best recipe of this task, and their standard error."""
    return results.paired_gain(line, _best(line), recipe)


def _best(line: Line) -> str:
    return max(RECIPES, key=lambda name: line["recipes"][name]["test"])


def regret_over_seeds(lines: Sequence[Line], rule: Callable[[Line], str]) -> list[float]:
    """Points lost for each data set and size against the recipe that is best there on average over the seeds.

    With a few hundred test images, the best recipe of a single task is in part the luckiest. Less than
    nothing is lost by a rule that takes the right recipe seed by seed.
    """
    lost = []
    for group in _by_seed(lines):
        best = max(np.mean([taken(line, recipe).accuracy for line in group]) for recipe in RECIPES)
        lost.append(100 * float(best - np.mean([taken(line, rule(line)).accuracy for line in group])))
    return lost


def _by_seed(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that differ in their seed alone, together."""
    groups: dict[tuple[str, int | None], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["data"], line["size"]), []).append(line)
    return list(groups.values())


def is_clear(lost: tuple[float, float]) -> bool:
    """Whether a loss is more than luck with the test images would make it, in 39 of 40 cases."""
    return lost[0] > CLEAR * lost[1]


def tasks(lines: Sequence[Line]) -> str:
    """Each data set and size, seeds averaged, as Markdown."""
    rows = [
        [
            group[0]["data"],
            f"{group[0]['recommend']['dataset']['images']:,}",
            str(len(group)),
            _counted([line["recommend"]["quadrant"] for line in group]),
            *(f"{np.mean([taken(line, recipe).accuracy for line in group]):.3f}" for recipe in RECIPES),
            _counted([line["recommend"]["recipe"] for line in group]),
            _mean_regret([regret(line, line["recommend"]["recipe"]) for line in group]),
        ]
        for group in _by_seed(lines)
    ]
    return results.markdown(["data", "images", "seeds", "quadrant", *RECIPES, "advice", "regret"], rows)


def rules(lines: Sequence[Line]) -> str:
    """Each rule with its regret and its time, as Markdown."""
    always = np.array([taken(line, "full_training").minutes for line in lines])
    rows = []
    for name, rule in RULES.items():
        lost = [regret(line, rule(line)) for line in lines]
        minutes = np.array([taken(line, rule(line)).minutes for line in lines])
        clear = str(sum(is_clear(one) for one in lost))
        row = [name, *_mean_and_worst([points for points, _ in lost]), clear, *_time(minutes, always)]
        rows.append([*row, f"{np.mean(regret_over_seeds(lines, rule)):.2f}"])
    without = np.array([_without_a_way_back(line) for line in lines])
    best = np.array([taken(line, _best(line)).accuracy for line in lines])
    lost_without = _mean_and_worst(100 * (best - without[:, 0]))
    rows.append([TRAINED, *lost_without, "", *_time(without[:, 1], always), ""])
    points, spent = _at_random(lines)
    lost_by_lot, share = 100 * best.mean() - points, spent / always.mean()
    rows.append([AT_RANDOM, f"{lost_by_lot:.2f}", "", "", f"{share:.0%}", "", ""])
    head = ["rule", "mean regret", "worst", "clear losses", "of the time", "mean over tasks"]
    head.append("mean regret, seeds averaged")
    return results.markdown(head, rows)


def _time(minutes: np.ndarray, always: np.ndarray) -> list[str]:
    return [f"{minutes.sum() / always.sum():.0%}", f"{(minutes / always).mean():.0%}"]


def _without_a_way_back(line: Line) -> Taken:
    """What fine-tuning ended with, whatever the validation images say of it."""
    result = taken(line, "fine_tuning")
    averaging = line["recipes"]["fine_tuning"].get("averaging")
    return result._replace(accuracy=averaging["trained"]) if averaging else result


def _at_random(lines: Sequence[Line]) -> tuple[float, float]:
    """Mean accuracy in per cent and minutes of training by lot, as often as fills the time of the advice."""
    ways = (RULES["always the better frozen recipe"], RULES["always full training"], RULES["the advice"])
    none, all_, advice = (np.mean([taken(line, way(line)) for line in lines], axis=0) for way in ways)
    share = (advice[1] - none[1]) / (all_[1] - none[1])
    return float(100 * (none[0] + share * (all_[0] - none[0]))), float(advice[1])


def budgets(lines: Sequence[Line]) -> str:
    """Mean accuracy in per cent of each rule within some minutes, and of the advice the standard error of its
    difference to the best other rule, over the tasks, as Markdown."""
    rows = []
    for minutes in MINUTES:
        by_rule = {
            name: [_within(line, rule(line), minutes) for line in lines] for name, rule in RULES.items()
        }
        by_rule["the advice"] = [taken(line, _advised(line, minutes)).accuracy for line in lines]
        means = {name: 100 * float(np.mean(accuracies)) for name, accuracies in by_rule.items()}
        best = max((name for name in means if name != "the advice"), key=lambda name: means[name])
        lead = 100 * (np.array(by_rule["the advice"]) - np.array(by_rule[best]))
        error = lead.std(ddof=1) / np.sqrt(len(lead)) if len(lead) > 1 else 0.0
        late = sum(taken(line, _advised(line, minutes)).minutes > 1.1 * minutes + 1 / 6 for line in lines)
        row = [f"{minutes:.2g}", f"{means['the advice']:.2f}", best, f"{means[best]:.2f}"]
        rows.append([*row, f"{lead.mean():+.2f} ± {error:.2f}", str(late)])
    head = ["minutes", "the advice", "best other rule", "it", "advice less it", "of the advice too late"]
    return results.markdown(head, rows)


def _within(line: Line, recipe: str, minutes: float) -> float:
    """Accuracy where a recipe took longer than there is: that of the better frozen model."""
    result = taken(line, recipe)
    return result.accuracy if result.minutes <= minutes else taken(line, frozen(line)).accuracy


def _advised(line: Line, minutes: float) -> str:
    """The recipe that gains most of those that are foretold to fit, as `--minutes` chooses; never with fewer
    epochs than there would be without."""
    trainings = [step for step in line["recommend"]["steps"] if step["action"] in TRAINING]
    fit = [step for step in trainings if step["gain"] and (step["seconds"] or 0) <= 60 * minutes]
    return str(max(fit, key=lambda step: step["gain"])["action"]) if fit else frozen(line)


def draw(lines: Sequence[Line], file: Path) -> None:
    """Draw the mean accuracy of each rule against its mean minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    points = {
        name: np.mean([taken(line, rule(line)) for line in lines], axis=0) for name, rule in RULES.items()
    }
    points[TRAINED] = np.mean([_without_a_way_back(line) for line in lines], axis=0)
    ends = [points[name] for name in ("always the better frozen recipe", "always full training")]
    axes.plot([end[1] for end in ends], [100 * end[0] for end in ends], ":", color="grey", label="by lot")
    for number, (name, (accuracy, minutes)) in enumerate(points.items()):
        size = 14 if name == "the advice" else 8
        axes.plot(minutes, 100 * accuracy, "*osD^vP<Xh"[number], markersize=size, label=name)
    axes.set(
        xlabel=f"minutes for each task, on {PROCESSORS} processors",
        ylabel="test accuracy, %",
        title=f"{len(lines)} tasks",
    )
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _mean_and_worst(lost: Sequence[float] | np.ndarray) -> list[str]:
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

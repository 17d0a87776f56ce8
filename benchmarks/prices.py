"""How well can be foretold what training gains, from what `advisor recommend` has measured anyway?

    python -m benchmarks.prices benchmarks/results/grid.jsonl

Reads what `benchmarks.grid` measured: nothing is trained. The gain of a task is the test accuracy of what a
training recipe keeps, less that of the best frozen model, in points. Each rule is fitted to all data sets but
one and asked about that one. The table: mean absolute error, mean width of the 90 % intervals (of what the
rule left unexplained on the others) and how many of them hold. Last, the rule by the root of the expected
error, fitted to all tasks. The second table: what follows from it, with the gain of each task foretold from
the other data sets. Tasks with fewer validation images than training needs do not count.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from advisor.advice import rule
from benchmarks import grid, regret, results
from benchmarks.grid import Logits
from benchmarks.kept import RULES

Foretell: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
COVERED = 0.90
CLEAR = 2  # points
KNOWN = ("error", "log images", "log classes", "distance", "depths", "cells", "slope", "twice")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    seen = [one for file in parser.parse_args().files for one in judgeable(grid.read(file))]
    print(table(seen) + "\n\n" + decisions(seen))


def judgeable(seen: Sequence[tuple[dict[str, Any], Logits]]) -> list[tuple[dict[str, Any], Logits]]:
    """The tasks that have enough validation images."""
    return [one for one in seen if len(one[1]["labels validation"]) >= rule.FEWEST_VALIDATION_IMAGES]


def measured(line: dict[str, Any]) -> np.ndarray:
    """What `recommend` knows of a task, float64 [8], in the order of `KNOWN`; the expected error is first."""
    told = line["recommend"]
    evidence, data = told["evidence"], told["dataset"]
    frozen = evidence["frozen"]["shallow_features"]
    curve = frozen["learning_curve"]
    sizes = [np.log(point["images"]) for point in curve]
    errors = [np.log(max(1 - point["accuracy"], 1e-3)) for point in curve]
    return np.array(
        [
            100 * (1 - frozen["expected_accuracy"]),
            np.log(data["images"]),
            np.log(data["classes"]),
            told["similarity"]["distance"],
            evidence["gain_of_all_depths"][0],
            evidence["position"]["shallow_features"]["gain"],
            np.polyfit(sizes, errors, 1)[0] if len(curve) > 1 else 0.0,
            frozen["gain_at_double"],
        ]
    )


def gain(line: dict[str, Any], said: Logits) -> float:
    """Points of test accuracy that the pool, as it is weighed today, has over the best frozen model."""
    kept, frozen = (
        tell(line, said).argmax(axis=1) == said["labels test"] for tell in (RULES["kept"], RULES["frozen"])
    )
    return 100 * float(kept.mean() - frozen.mean())


def _nothing(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.zeros(len(asked))


def _constant(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.full(len(asked), gains.mean())


def _share(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    errors = known[:, 0]
    return asked[:, 0] * (errors @ gains) / (errors @ errors)


def _share_by_images(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return _of_errors(asked) @ np.linalg.lstsq(_of_errors(known), gains, rcond=None)[0]


def _root(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.sqrt(asked[:, 0]) * _of_root(known, gains)


def _of_root(known: np.ndarray, gains: np.ndarray) -> float:
    """Points for the square root of each expected error in points, by least squares."""
    roots = np.sqrt(known[:, 0])
    return float(roots @ gains / (roots @ roots))


def _of_errors(known: np.ndarray) -> np.ndarray:
    """The expected error, and the same times the logarithm of a thousandth of the images, [n, 2]."""
    return known[:, :1] * np.stack([np.ones(len(known)), known[:, 1] - np.log(1000)], axis=1)


def _ridge(columns: Sequence[int]) -> Foretell:
    def foretell(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 21)))
        return fitted.fit(known[:, columns], gains).predict(asked[:, columns])

    return foretell


FORETELL: dict[str, Foretell] = {
    "no gain": _nothing,
    "the mean gain": _constant,
    "a share of the expected error": _share,
    "a share that grows with the images": _share_by_images,
    "by the root of the expected error": _root,
    "ridge on error and cells": _ridge([0, 5]),
    "ridge on error, images, cells": _ridge([0, 1, 5]),
    "ridge on everything": _ridge(range(len(KNOWN))),
}


def table(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """A row for each rule, as Markdown."""
    known = np.array([measured(line) for line, _ in seen])
    gains = np.array([gain(line, said) for line, said in seen])
    names = np.array([line["data"] for line, _ in seen])
    rows = []
    for name, foretell in FORETELL.items():
        foretold, low, high = _left_out(foretell, known, gains, names)
        holds = (low <= gains) & (gains <= high)
        numbers = np.abs(foretold - gains).mean(), (high - low).mean()
        rows.append([name, *(f"{number:.2f}" for number in numbers), f"{holds.sum()} of {len(gains)}"])
    said = f"{len(gains)} tasks of {len(set(names))} data sets: {gains.mean():+.2f} points on average, "
    said += f"{gains.min():+.1f} to {gains.max():+.1f}.\n\n"
    return (
        said
        + results.markdown(["foretold", "mean error", "width", "holds"], rows)
        + "\n\n"
        + law(known, gains, names)
    )


def decisions(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """A row for each rule about when to train, as Markdown: points lost on average and at most against the
    better of training and not, how many of the tasks it trains, and of those that gain more than two points,
    and its share of the seconds that training all of them takes."""
    known = np.array([measured(line) for line, _ in seen])
    gains = np.array([gain(line, said) for line, said in seen])
    names = np.array([line["data"] for line, _ in seen])
    seconds = np.array([60 * regret.taken(line, "full_training").minutes for line, _ in seen])
    foretold = _crossed(_root, known, gains, names)
    least = np.array([100 * rule.least_gain(each) for each in seconds])
    rules = {
        "by the steps, as advised": foretold >= least,
        "always": np.ones(len(gains), bool),
        "never": np.zeros(len(gains), bool),
        f"from {rule.LARGE_FROM_IMAGES} images": np.exp(known[:, 1]) >= rule.LARGE_FROM_IMAGES,
        "from 10 % expected errors": known[:, 0] >= 10,
    }
    share = rules["by the steps, as advised"].mean()
    lost = np.maximum(gains, 0) - np.stack([gains, np.zeros(len(gains))])
    rows = [
        [
            name,
            f"{np.where(trains, *lost).mean():.2f}",
            f"{np.where(trains, *lost).max():.1f}",
            f"{trains.sum()} of {len(gains)}",
            f"{trains[gains > CLEAR].sum()} of {(gains > CLEAR).sum()}",
            f"{seconds[trains].sum() / seconds.sum():.0%}",
        ]
        for name, trains in rules.items()
    ]
    mean = share * lost[0].mean() + (1 - share) * lost[1].mean()
    rows.append(["at random, as often as advised", f"{mean:.2f}", "", "", "", f"{share:.0%}"])
    head = ["train", "lost", "worst", "trains", f"of those over {CLEAR} points", "of the time"]
    return results.markdown(head, rows)


def law(known: np.ndarray, gains: np.ndarray, names: np.ndarray) -> str:
    """The rule by the root of the expected error, fitted to everything, in points.

    Args:
        known: of each task, the expected error in per cent first, [n, m].
        gains: of training, points [n].
        names: of the data sets, [n]; each is left out once for the spread.
    """
    below, above = _quantiles(gains - _crossed(_root, known, gains, names))
    return (
        f"Training gains {_of_root(known, gains):.3f} points times the square root of the errors that "
        f"are expected of a hundred; nine of ten tasks gain {below:+.2f} to {above:+.2f} more."
    )


def _left_out(
    foretell: Foretell, known: np.ndarray, gains: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_crossed`, with the ends of the intervals, each [n]."""
    foretold = _crossed(foretell, known, gains, names)
    low, high = np.empty(len(gains)), np.empty(len(gains))
    for name in set(names):
        out = names == name
        below, above = _quantiles(gains[~out] - _crossed(foretell, known[~out], gains[~out], names[~out]))
        low[out] = foretold[out] + below
        high[out] = np.minimum(foretold[out] + above, known[out, 0])  # no more than there are errors
    return foretold, low, high


def _quantiles(unexplained: np.ndarray) -> np.ndarray:
    return np.quantile(unexplained, [(1 - COVERED) / 2, (1 + COVERED) / 2])


def _crossed(foretell: Foretell, known: np.ndarray, gains: np.ndarray, names: np.ndarray) -> np.ndarray:
    """What a rule foretells for each data set from the others, [n]."""
    foretold = np.empty(len(gains))
    for name in set(names):
        out = names == name
        foretold[out] = foretell(known[~out], gains[~out], known[out])
    return foretold


if __name__ == "__main__":
    main()

"""What should be kept after training: the frozen network, the trained one, or the pool of both?

    python -m benchmarks.kept benchmarks/results/grid.jsonl

Reads what `benchmarks.grid` measured of `full_training`, which trains the whole network from the frozen head
on all depths: nothing is trained. The table: points of test accuracy over the frozen network that sees
averages over the whole picture, by what is kept: "frozen" (the frozen network with its cells, if it takes
any), "trained" (what training ended with), "before" (the best average of the weights or the frozen network
without cells, as was kept before there was a pool), "single" (the same with cells), "half" (the pool, both
weighing the same) and "kept" (with the weight that the validation images say, which is what a run saves).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice import rule
from advisor.evidence.linear_head import softmax
from benchmarks import grid, results
from benchmarks.grid import Logits
from recipes.training import pool
from recipes.training.averaging import Average


def _weight(said: Logits) -> float:
    """Of the trained network in what is kept, as far as the validation images tell."""
    best = pool.best_weight(
        said["frozen validation"].astype(np.float64),
        said["trained validation"].astype(np.float64),
        said["labels validation"],
    )
    return rule.pool_weight(best)


def _average(line: dict[str, Any]) -> Average:
    """The best average of the weights before and after training."""
    seen = line["recipes"][grid.LOOKED_AT]["averaging"]
    return Average(seen["share"], np.array(seen["gains"]))


def _single(line: dict[str, Any], said: Logits) -> np.ndarray:
    """Logits of the best average of the weights where its gain is clear, else of the frozen network."""
    average = _average(line)
    return said["averaged test"] if average.is_clear else said["frozen test"]


def _before(line: dict[str, Any], said: Logits) -> np.ndarray:
    """Logits of what was kept before there were cells and pools: the best average of the weights where its
    gain over the whole picture is clear, else the frozen network that sees the whole picture."""
    labels, averaged, whole = (said[f"{name} validation"] for name in ("labels", "averaged", "whole"))
    truth = np.eye(whole.shape[1])[labels]
    whole_error, error = (((softmax(each) - truth) ** 2).sum(axis=1) for each in (whole, averaged))
    gained = Average(_average(line).share, whole_error - error)
    return said["averaged test"] if gained.is_clear else said["whole test"]


def _pool(said: Logits, weight: float) -> np.ndarray:
    return pool.probabilities(said["frozen test"], said["trained test"], weight)


# What each rule says of the test images, [n, classes], by the line and the logits of both networks.
RULES: dict[str, Callable[[dict[str, Any], Logits], np.ndarray]] = {
    "frozen": lambda line, said: said["frozen test"],
    "trained": lambda line, said: said["trained test"],
    "before": _before,
    "single": _single,
    "half": lambda line, said: _pool(said, 0.5),
    "kept": lambda line, said: _pool(said, _weight(said)),
}


WHOLE = "whole picture"  # the frozen network without cells
PAIRS = (("frozen", WHOLE), *(("kept", other) for other in ("before", "single", "frozen", WHOLE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    seen = [one for file in parser.parse_args().files for one in grid.read(file)]
    print(table(seen), "", in_pairs(seen), sep="\n")


def in_pairs(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """What one rule has over another, as Markdown: for each size and together, the mean over the data sets in
    points with its standard error over them, the worst task, and in how many tasks the loss is clear."""
    sizes = sorted({line["size"] for line, _ in seen})
    groups = {f"{size:,} images": [one for one in seen if one[0]["size"] == size] for size in sizes}
    groups |= {"together": list(seen)} if len(groups) > 1 else {}
    head = ["less", *(f"{name}: {len(group)} tasks" for name, group in groups.items())]
    rows = [
        [f"{better} - {worse}", *(_difference(group, better, worse) for group in groups.values())]
        for better, worse in PAIRS
    ]
    return results.markdown(head, rows)


def _difference(seen: Sequence[tuple[dict[str, Any], Logits]], better: str, worse: str) -> str:
    """Mean, standard error, worst task and number of clear losses of one rule against another."""
    gains: list[float] = []
    of_set: dict[str, list[float]] = {}
    clear = 0
    for line, said in seen:
        right, other = (_right(line, said, name).astype(float) for name in (better, worse))
        gain, error = float((right - other).mean()), (right - other).std() / np.sqrt(len(right))
        clear += bool(gain < -2 * error)
        gains.append(gain)
        of_set.setdefault(line["data"], []).append(gain)
    means = [np.mean(each) for each in of_set.values()]
    error = f" ± {100 * np.std(means, ddof=1) / np.sqrt(len(means)):.2f}" if len(means) > 1 else ""
    return f"{100 * np.mean(means):+.2f}{error}, {100 * min(gains):.1f}, {clear}"


def _right(line: dict[str, Any], said: Logits, rule: str) -> np.ndarray:
    """Of which test images a rule is right, bool [n]."""
    told = said["whole test"] if rule == WHOLE else RULES[rule](line, said)
    return told.argmax(axis=1) == said["labels test"]


def table(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """A row for each task, then the mean and the worst of each size, as Markdown."""
    head = ["data", "images", "seed", "validated on", "weight", "whole picture", *RULES]
    rows, gains = [], [_gains(line, said) for line, said in seen]
    for (line, said), gained in zip(seen, gains, strict=True):
        key = [line["data"], str(line["size"]), str(line["seed"]), str(len(said["labels validation"]))]
        key += [f"{_weight(said):.2f}", f"{accuracy(said['whole test'], said):.1f}"]
        rows.append([*key, *(f"{gain:+.1f}" for gain in gained)])
    for size in sorted({line["size"] for line, _ in seen}):
        group = np.array([each for (line, _), each in zip(seen, gains, strict=True) if line["size"] == size])
        for what, numbers in (("mean", group.mean(axis=0)), ("worst", group.min(axis=0))):
            key = [f"{what} of {len(group)}", f"{size:,}", "", "", "", ""]
            rows.append([*key, *(f"{number:+.2f}" for number in numbers)])
    return results.markdown(head, rows)


def _gains(line: dict[str, Any], said: Logits) -> list[float]:
    """Points of test accuracy over the whole picture, by each rule."""
    whole = accuracy(said["whole test"], said)
    return [accuracy(tell(line, said), said) - whole for tell in RULES.values()]


def accuracy(tested: np.ndarray, said: Logits) -> float:
    """Of logits or probabilities on the test images, in per cent."""
    return 100 * float((tested.argmax(axis=1) == said["labels test"]).mean())


if __name__ == "__main__":
    main()

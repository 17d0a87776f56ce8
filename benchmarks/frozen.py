"""The two frozen recipes: does a model reach what was expected of it, and which of the two should be taken?

    python -m benchmarks.frozen DATA... --sizes 50 200 1000 all --seeds 0 1 2 --output FILE
    python -m benchmarks.frozen --table FILE...      # lines of benchmarks.regret, too

For each data set, size and seed: what `advisor recommend` says of both recipes before anything is trained,
and the accuracy that they then reach, at the backbone's own image size unless another is given. One JSON
line is written as each task is done; tasks whose line is there already are skipped. The last table tells
what other beliefs about the gain of all depths would have cost, see `advisor.advice.rule.better_frozen`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice import recommendation
from advisor.advice.rule import (
    ALL_DEPTHS_GAIN,
    ALL_DEPTHS_SPREAD,
    SIMILAR_FROM_SCORE,
    least_gain_of_all_depths,
)
from advisor.advice.settings import Options
from advisor.system.progress import Silent
from benchmarks import results
from benchmarks.tasks import not_done, train

LAST_LAYER, ALL_DEPTHS = "feature_extraction", "shallow_features"
Rule = Callable[[dict[str, Any]], bool]  # whether to take all depths, by a line
GAINS, SPREADS = (0.01, 0.015, 0.02), (0.01, 0.02, 0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--sizes", nargs="+", default=["all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--output", type=Path, default=Path("frozen.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the tables of these files")
    arguments = parser.parse_args()
    lines = results.measured(arguments, measure)
    print(expectations(lines), gains(lines), beliefs(lines), sep="\n\n")


def measure(arguments: argparse.Namespace) -> None:
    lines = results.read(arguments.output)
    of_size = [line for line in lines if line["asked_size"] == arguments.image_size]
    done = [(line["data"], line["size"], line["seed"]) for line in of_size]
    sizes = [None if size == "all" else int(size) for size in arguments.sizes]
    for task in not_done(arguments.data, sizes, arguments.seeds, done):
        size, seed = task.size, task.seed
        options = Options(image_size=arguments.image_size)
        advised = recommendation.recommend(task.held, options, Silent(), seed=seed)
        line = {
            "data": task.name,
            "size": size,
            "seed": seed,
            "asked_size": arguments.image_size,
            "images": len(task.held),
            "score": advised.advice.evidence.similarity.score,
            "evidence": advised.advice.to_json()["evidence"],
            "recipes": {
                recipe: train(task, advised.with_recipe(recipe).settings)
                for recipe in (LAST_LAYER, ALL_DEPTHS)
            },
        }
        lines.append(line)
        results.write(arguments.output, lines)
        reached = " ".join(f"{name}={of['test']:.3f}" for name, of in line["recipes"].items())
        print(task.name, size, seed, reached, flush=True)


def expectations(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each data set, size and recipe: what was expected and reached, seeds averaged."""
    rows = []
    for key in dict.fromkeys((line["data"], line["size"]) for line in lines):
        group = [line for line in lines if (line["data"], line["size"]) == key]
        for recipe in (LAST_LAYER, ALL_DEPTHS):
            rows.append([key[0], f"{group[0]['images']:,}", recipe, *_expected(group, recipe)])
    for recipe in (LAST_LAYER, ALL_DEPTHS):
        rows.append(["all", "", recipe, *_expected(lines, recipe)])
    return results.markdown(["data", "images", "recipe", "expected", "reached", "inside"], rows)


def _expected(lines: Sequence[dict[str, Any]], recipe: str) -> list[str]:
    told = [line["evidence"]["frozen"][recipe] for line in lines]
    expected = [one["expected_accuracy"] for one in told]
    reached = [line["recipes"][recipe]["test"] for line in lines]
    intervals = [one["expected_interval"] for one in told]
    inside = sum(low <= test <= high for test, (low, high) in zip(reached, intervals, strict=True))
    return [f"{np.mean(expected):.3f}", f"{np.mean(reached):.3f}", f"{inside} of {len(lines)}"]


def gains(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each size: by how many points all depths were better than the last layer."""
    rows = []
    sizes = sorted({line["size"] for line in lines}, key=lambda size: size or np.inf)
    groups = {
        f"{size:,}" if size else "all": [line for line in lines if line["size"] == size] for size in sizes
    }
    for name, group in (groups | {"together": list(lines)}).items():
        gained, probed = 100 * np.array([_gain(line) for line in group]), [_probed(line)[0] for line in group]
        rows.append(
            [
                name,
                str(len(group)),
                f"{gained.mean():+.1f}",
                f"{gained.std():.1f}",
                f"{100 * np.mean(probed):+.1f}",
                f"{np.mean(gained > 0):.0%}",
            ]
        )
    head = ["images", "tasks", "gain of all depths, points", "spread", "by the probes", "better in"]
    return results.markdown(head, rows)


def _gain(line: dict[str, Any]) -> float:
    return float(line["recipes"][ALL_DEPTHS]["test"] - line["recipes"][LAST_LAYER]["test"])


def _probed(line: dict[str, Any]) -> tuple[float, float]:
    """The same by the probes, and its standard error."""
    gain, error = line["evidence"]["gain_of_all_depths"]
    return gain, error


def beliefs(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each rule of choosing all depths: points lost against the better of the two."""
    rules: dict[str, Rule] = {
        "always the last layer": lambda line: False,
        "always all depths": lambda line: True,
        "by the quadrant": lambda line: line["score"] < SIMILAR_FROM_SCORE,
        "by the sign of the probes": lambda line: _probed(line)[0] >= 0,
    }
    for gain, spread in itertools.product(GAINS, SPREADS):
        today = ", as advised" if (gain, spread) == (ALL_DEPTHS_GAIN, ALL_DEPTHS_SPREAD) else ""
        name = f"probes, expecting {100 * gain:+.1f} ± {100 * spread:.0f}{today}"
        rules[name] = _believing(gain, spread)
    rows = []
    for name, rule in rules.items():
        lost = [max(-gain, 0.0) if rule(line) else max(gain, 0.0) for line in lines for gain in [_gain(line)]]
        rows.append([name, f"{100 * np.mean(lost):.2f}", f"{100 * max(lost):.1f}"])
    return results.markdown(["rule", "mean loss, points", "worst"], rows)


def _believing(gain: float, spread: float) -> Rule:
    def rule(line: dict[str, Any]) -> bool:
        probed, error = _probed(line)
        return probed >= least_gain_of_all_depths(error, gain, spread)

    return rule


if __name__ == "__main__":
    main()

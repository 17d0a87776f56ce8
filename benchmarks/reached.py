"""What accuracy the recipes reach with their default settings, at the backbone's own image size.

    python -m benchmarks.reached DATA --recipes feature_extraction fine_tuning --seeds 0 1 2
    python -m benchmarks.reached DATA --recipes shallow_features --size 334     # cut to so many images
    python -m benchmarks.reached --table benchmarks/results/reached.jsonl

Without `--size` this is what `advisor run DATA --recipe NAME --seed N` does. One JSON line is written as each
run is done; runs whose line is there already are skipped.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor import devices, recommendation
from advisor.choices import RECIPES
from advisor.display import Silent
from advisor.settings import Options
from benchmarks import results
from benchmarks.tasks import cut, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--size", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("reached.jsonl"))
    parser.add_argument("--table", type=Path, help="only print the table of this file")
    arguments = parser.parse_args()
    file = arguments.table or arguments.output
    if not arguments.table:
        measure(arguments)
    print(table(results.read(file)))


def measure(arguments: argparse.Namespace) -> None:
    devices.quiet_tensorflow()
    lines = results.read(arguments.output)
    done = {(line["data"], line["size"], line["recipe"], line["seed"]) for line in lines}
    for source, seed in itertools.product(arguments.data, arguments.seeds):
        task = cut(source, arguments.size, seed)
        assert task is not None
        advice = recommendation.recommend(task.held, Options(), Silent(), seed=seed)
        for recipe in arguments.recipes:
            if (task.name, arguments.size, recipe, seed) in done:
                continue
            result = train(task, advice.settings_for(recipe))
            line = {"data": task.name, "size": arguments.size, "recipe": recipe, "seed": seed, **result}
            lines.append(line)
            results.write(arguments.output, lines)
            print(task.name, arguments.size, recipe, seed, f"{result['test']:.3f}", flush=True)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each data set and recipe: test accuracy of each seed, mean, and the longest run."""
    rows = []
    for key in dict.fromkeys((line["data"], line["size"], line["recipe"]) for line in lines):
        of_key = [line for line in lines if (line["data"], line["size"], line["recipe"]) == key]
        data, size, recipe = key
        reached = [line["test"] for line in of_key]
        rows.append(
            [
                data,
                "all" if size is None else f"{size:,}",
                recipe,
                " ".join(f"{accuracy:.3f}" for accuracy in reached),
                f"{np.mean(reached):.3f}",
                f"{max(line['seconds'] for line in of_key):.0f} s",
            ]
        )
    return results.markdown(["data", "images", "recipe", "test, by seed", "mean", "longest run"], rows)


if __name__ == "__main__":
    main()

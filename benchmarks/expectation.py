"""Does a frozen model reach what `advisor recommend` said it would?

    python -m benchmarks.expectation DATA... --seeds 0 1 2 3 4

For each data set, seed and frozen recipe: the expected accuracy with its 90 % interval, told before anything
is trained, and the accuracy on the test split that the recipe then reaches at the backbone's own image size.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict

import numpy as np

from advisor import devices, recommendation
from advisor.display import Silent
from advisor.settings import Options
from benchmarks.results import markdown
from benchmarks.tasks import cut, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    devices.quiet_tensorflow()
    rows: list[list[str]] = []
    inside, surplus = defaultdict(list), defaultdict(list)
    for source, seed in itertools.product(arguments.data, arguments.seeds):
        task = cut(source, None, seed)
        assert task is not None
        advice = recommendation.recommend(task.held, Options(), Silent(), seed=seed)
        for recipe, expected in advice.evidence.expected.items():
            reached = train(task, advice.settings_for(recipe))["test"]
            low, high = expected.interval
            inside[recipe].append(low <= reached <= high)
            surplus[recipe].append(expected.accuracy - reached)
            told = f"{expected.accuracy:.3f} ({low:.3f} to {high:.3f})"
            rows.append([task.name, str(seed), recipe, told, f"{reached:.3f}"])
    print(markdown(["data", "seed", "recipe", "expected", "reached"], rows))
    for recipe, held in inside.items():
        high_by = 100 * np.mean(surplus[recipe])
        print(f"\n{recipe}: {sum(held)} of {len(held)} inside, expected {high_by:+.1f} points over reached")


if __name__ == "__main__":
    main()

"""Does a frozen model reach what `advisor recommend` said it would?

    python -m benchmarks.expectation DATA... --seeds 0 1 2 3 4

For each data set and seed: the expected accuracy with its 90 % interval, told before anything is trained,
and the accuracy on the test split that the frozen recipe which the probes prefer then reaches at the
backbone's own image size; beside it that of `feature_extraction`, whichever is preferred.
"""

from __future__ import annotations

import argparse
import itertools

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
    rows, inside = [], np.zeros(2, int)
    for source, seed in itertools.product(arguments.data, arguments.seeds):
        task = cut(source, None, seed)
        assert task is not None
        advice = recommendation.recommend(task.held, Options(), Silent(), seed=seed)
        low, high = advice.evidence.expected_interval
        recipes = (advice.evidence.frozen_recipe, "feature_extraction")
        reached = [train(task, advice.settings_for(recipe))["test"] for recipe in recipes]
        inside += [low <= accuracy <= high for accuracy in reached]
        expected = f"{advice.evidence.expected_accuracy:.3f} ({low:.3f} to {high:.3f})"
        rows.append(
            [task.name, str(seed), expected, recipes[0], *(f"{accuracy:.3f}" for accuracy in reached)]
        )
    print(markdown(["data", "seed", "expected", "recipe", "reached", "by feature_extraction"], rows))
    print(f"\nOf {len(rows)}, {inside[0]} inside the 90 % interval, by feature_extraction {inside[1]}")


if __name__ == "__main__":
    main()

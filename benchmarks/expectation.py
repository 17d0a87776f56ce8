"""Does `feature_extraction` reach what `advisor recommend` said it would?

    python -m benchmarks.expectation DATA... --seeds 0 1 2 3 4

For each data set and seed: the expected accuracy with its 90 % interval, told before anything is trained,
and the accuracy on the test split that the recipe then reaches at the backbone's own image size.
"""

from __future__ import annotations

import argparse
import itertools

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
    rows, inside = [], 0
    for source, seed in itertools.product(arguments.data, arguments.seeds):
        task = cut(source, None, seed)
        assert task is not None
        advice = recommendation.recommend(task.held, Options(), Silent(), seed=seed)
        low, high = advice.evidence.expected_interval
        reached = train(task, advice.settings_for("feature_extraction"))["test"]
        held = low <= reached <= high
        inside += held
        expected = f"{advice.evidence.expected_accuracy:.3f} ({low:.3f} to {high:.3f})"
        rows.append([task.name, str(seed), expected, f"{reached:.3f}", "inside" if held else "outside"])
    print(markdown(["data", "seed", "expected", "reached", ""], rows))
    print(f"\n{inside} of {len(rows)} inside the 90 % interval")


if __name__ == "__main__":
    main()

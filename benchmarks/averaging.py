"""What it brings to average the weights before and after training, see recipes/training/averaging.py.

    python -m benchmarks.averaging benchmarks/results/grid.jsonl

Reads what `benchmarks.grid` measured: nothing is trained. For
`full_training`: test accuracy of the frozen recipe that training started from, of what training ended with,
of the best average of both, and of the model that is kept in the end. Then: what would have been kept, had a
clear gain been one of another number of standard errors; the last columns are of tasks that have as many
validation images as it takes to keep anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from advisor.advice.rule import FEWEST_VALIDATION_IMAGES
from benchmarks import results
from recipes.training.averaging import Average

CLEAR_GAINS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, np.inf)


def main() -> None:
    lines = results.asked_for(__doc__)
    print(table([line for line in lines if "averaging" in line["recipes"]["full_training"]]))


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The tasks, and beneath them what each bound on a clear gain would keep, as Markdown."""
    rows = []
    for line in lines:
        seen = line["recipes"]["full_training"]["averaging"]
        numbers = [_frozen(line), seen["trained"], seen["best average"]]
        numbers.append(line["recipes"]["full_training"]["test"])
        images = str(line["recommend"]["dataset"]["images"])
        key = [line["data"], images, str(line["seed"]), str(len(_gains(line)))]
        rows.append(
            [*key, f"{_errors(line):.1f}", f"{seen['share']:.1f}", *(f"{number:.3f}" for number in numbers)]
        )
    sizes = sorted({line["size"] for line in lines if line["size"]})
    groups = {f"{size:,} images": [line for line in lines if line["size"] == size] for size in sizes}
    can_judge = [line for line in lines if len(_gains(line)) >= FEWEST_VALIDATION_IMAGES]
    groups["all that can judge"] = can_judge
    bounds = [
        [
            "never" if bound == np.inf else f"{bound:.1f}",
            *(f"{np.mean([_gain(line, bound) for line in group]):+.2f}" for group in groups.values()),
            f"{min(_gain(line, bound) for line in can_judge):+.1f}",
        ]
        for bound in CLEAR_GAINS
    ]
    head = ["data", "images", "seed", "validated on", "gain", "share"]
    head += ["frozen", "trained", "best average", "kept"]
    return (
        results.markdown(head, rows)
        + "\n\nPoints of test accuracy over frozen, if the best average were kept from that gain on:\n\n"
        + results.markdown(["standard errors", *groups, "worst task"], bounds)
    )


def _frozen(line: dict[str, Any]) -> float:
    return line["recipes"]["shallow_features"]["test"]


def _gains(line: dict[str, Any]) -> list[float]:
    """Of the best average, on each validation image."""
    return line["recipes"]["full_training"]["averaging"]["gains"]


def _errors(line: dict[str, Any]) -> float:
    """Gain of the best average on the validation images, in standard errors."""
    share = line["recipes"]["full_training"]["averaging"]["share"]
    return Average(share, np.array(_gains(line))).standard_errors


def _gain(line: dict[str, Any], bound: float) -> float:
    """Points over the frozen recipe, if the best average were kept only where its gain is over a bound."""
    average = line["recipes"]["full_training"]["averaging"]["best average"]
    return 100 * (average - _frozen(line)) if _errors(line) > bound else 0.0


if __name__ == "__main__":
    main()

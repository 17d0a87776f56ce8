"""From how many images does training the network beat frozen features? The size threshold of the advice.

    python -m benchmarks.calibration DATA... --sizes 50 200 1000 all --seeds 0 1 2 --output calibration.jsonl
    python -m benchmarks.calibration --table benchmarks/results/regret.jsonl

Measures as `benchmarks.regret` does, into the same lines, so that one measurement serves both. Frozen is
the frozen recipe that the probes prefer on the user's images (nothing is chosen by test accuracy), trained
is the recipe of the quadrant with many images. Tasks that frozen features have solved by their own estimate
are left out, for there the advice does not ask for the size. Prints, for similar data, for unlike data
and for both, the gain of training at each size with its standard error, and the size from which it wins by
more than that; then whether the number of images, of classes, or of images for each class explains the
gain best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.quadrant import RECIPE, SATURATED_ERROR, SIMILAR_FROM_SCORE
from benchmarks.regret import measured
from benchmarks.results import markdown


@dataclass(frozen=True)
class Gain:
    """What training the network added to frozen features on one task.

    Attributes:
        data: name of the data set.
        size: images that the user has, as asked for; None for all.
        images: how many those are.
        classes: how many.
        similar: whether the data are like the source domain.
        points: of test accuracy, -100..100.
        noise: standard error of `points` from the number of test images alone, taken as unpaired.
    """

    data: str
    size: int | None
    images: int
    classes: int
    similar: bool
    points: float
    noise: float


def gains(lines: Sequence[dict[str, Any]]) -> list[Gain]:
    """One for each task that frozen features have not solved."""
    found = []
    for line in lines:
        frozen = [line["evidence"]["expected_accuracy"], line["evidence"]["linear_probes"][-1]["accuracy"]]
        if 1 - max(frozen) < SATURATED_ERROR:
            continue
        similar = line["score"] >= SIMILAR_FROM_SCORE
        trained = RECIPE["large-similar" if similar else "large-dissimilar"]
        test = {recipe: result["test"] for recipe, result in line["recipes"].items()}
        pair = np.array([test[trained], test[line["frozen_advice"]]])
        points, noise = 100 * (pair[0] - pair[1]), 100 * np.sqrt((pair * (1 - pair)).sum() / line["tested"])
        found.append(
            Gain(line["data"], line["size"], line["images"], line["classes"], similar, points, noise)
        )
    return found


@dataclass(frozen=True)
class Step:
    """One rung of the ladder: the mean gain of its tasks.

    Attributes:
        images: median of the tasks.
        tasks: how many.
        points: mean gain.
        error: standard error of the mean: from the scatter of the tasks or, where that is more, from the
            number of test images.
    """

    images: int
    tasks: int
    points: float
    error: float

    @property
    def wins(self) -> bool:
        return self.points > self.error


def ladder(found: Sequence[Gain]) -> list[Step]:
    """The rungs, from few images to many."""
    steps = []
    for size in {gain.size for gain in found}:
        at = [gain for gain in found if gain.size == size]
        points = np.array([gain.points for gain in at])
        scatter = points.std(ddof=1) if len(points) > 1 else 0.0
        noise = np.sqrt(np.mean([gain.noise**2 for gain in at]))
        error = float(max(scatter, noise) / np.sqrt(len(points)))
        steps.append(Step(int(np.median([g.images for g in at])), len(at), float(points.mean()), error))
    return sorted(steps, key=lambda step: step.images)


def threshold(steps: Sequence[Step]) -> tuple[int, int] | None:
    """The last size at which training does not win and the first from which it always does; None: never."""
    losing = [number for number, step in enumerate(steps) if not step.wins]
    first = losing[-1] + 1 if losing else 0
    if first == len(steps):
        return None
    return (steps[first - 1].images if first else 0), steps[first].images


def explained(found: Sequence[Gain]) -> dict[str, float]:
    """Share of the variance of the gain that a line through the logarithm of each count explains, 0..1."""
    points = np.array([gain.points for gain in found])
    counts: dict[str, list[float]] = {
        "images": [gain.images for gain in found],
        "images for each class": [gain.images / gain.classes for gain in found],
        "classes": [gain.classes for gain in found],
    }
    return {
        name: float(np.corrcoef(np.log(values), points)[0, 1] ** 2)
        for name, values in counts.items()
        if len(set(values)) > 1
    }


def report(lines: Sequence[dict[str, Any]]) -> str:
    """All of it as Markdown."""
    parts = []
    kinds = {"Similar to the source domain": [True], "Unlike it": [False], "Together": [True, False]}
    for name, levels in kinds.items():
        found = [gain for gain in gains(lines) if gain.similar in levels]
        if not found:
            continue
        steps = ladder(found)
        rows = [
            [f"{s.images:,}", str(s.tasks), f"{s.points:+.2f}", f"{s.error:.2f}", "yes" if s.wins else "no"]
            for s in steps
        ]
        between = threshold(steps)
        verdict = (
            f"from somewhere between {between[0]:,} and {between[1]:,} images" if between else "at no size"
        )
        parts += [
            f"{name}: {', '.join(sorted({gain.data for gain in found}))}",
            markdown(["images", "tasks", "gain of training, points", "standard error", "wins"], rows),
            f"Training the network wins {verdict}.",
            "Variance of the gain explained: "
            + ", ".join(f"{share:.0%} by {name}" for name, share in explained(found).items()),
        ]
    return "\n\n".join(parts)


def main() -> None:
    print(report(measured(__doc__)))


if __name__ == "__main__":
    main()

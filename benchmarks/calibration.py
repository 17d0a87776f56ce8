"""From how many images does training the network beat frozen features? The size threshold of the advice.

    python -m benchmarks.calibration benchmarks/results/grid.jsonl

Reads what `benchmarks.grid` measured: nothing is trained. Frozen is
the frozen recipe that the probes prefer on the user's images (nothing is chosen by test accuracy), trained
is the recipe of the quadrant with many images. Prints, for similar data, for unlike data and for both, the
gain of training at each size with its standard error, and the size from which it wins by more than that; then
whether the number of images, of classes, or of images for each class explains the gain best. Tasks that
frozen features have solved by their own estimate are left out there, for the advice does not ask for their
size. Last, for tasks with many images, the gain by that estimate: where it is too small to train for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.advice.rule import LARGE_FROM_IMAGES, RECIPE, SATURATED_ERROR, SIMILAR_FROM_SCORE
from benchmarks import regret, results
from benchmarks.results import markdown, paired_gain

ERRORS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0)


@dataclass(frozen=True)
class Gain:
    """What training the network added to frozen features on one task.

    Attributes:
        data: name of the data set.
        size: images that the user has, as asked for; None for all.
        images: how many those are.
        classes: how many.
        similar: whether the data are like the source domain.
        expected_error: of frozen features on this task, as the advice tells it before training, 0..1.
        frozen_error: what the frozen recipe then showed on the test images, 0..1.
        points: of test accuracy, -100..100.
        noise: standard error of `points` from the number of test images alone; both judge the same ones.
    """

    data: str
    size: int | None
    images: int
    classes: int
    similar: bool
    expected_error: float
    frozen_error: float
    points: float
    noise: float

    @property
    def is_solved(self) -> bool:
        """Whether the advice stays with frozen features, however many images there are."""
        return self.expected_error < SATURATED_ERROR


def gains(lines: Sequence[dict[str, Any]]) -> list[Gain]:
    """One for each task."""
    found = []
    for line in lines:
        told, frozen = line["recommend"], regret.frozen(line)
        similar = told["similarity"]["score"] >= SIMILAR_FROM_SCORE
        trained = RECIPE["large-similar" if similar else "large-dissimilar"]
        points, noise = paired_gain(line, trained, frozen)
        found.append(
            Gain(
                data=line["data"],
                size=line["size"],
                images=told["dataset"]["images"],
                classes=told["dataset"]["classes"],
                similar=similar,
                expected_error=regret.expected_error(line),
                frozen_error=1 - line["recipes"][frozen]["test"],
                points=points,
                noise=noise,
            )
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
    """The rungs, from few images to many; whole data sets, being of all sizes, stand on none."""
    steps = []
    for size in {gain.size for gain in found if gain.size is not None}:
        at = [gain for gain in found if gain.size == size]
        steps.append(Step(int(np.median([gain.images for gain in at])), len(at), *_mean(at)))
    return sorted(steps, key=lambda step: step.images)


def _mean(found: Sequence[Gain]) -> tuple[float, float]:
    """Mean gain in points and its standard error, as in `Step`."""
    points = np.array([gain.points for gain in found])
    scatter = points.std(ddof=1) if len(points) > 1 else 0.0
    noise = np.sqrt(np.mean([gain.noise**2 for gain in found]))
    return float(points.mean()), float(max(scatter, noise) / np.sqrt(len(points)))


def by_expected_error(found: Sequence[Gain]) -> str:
    """The gain of tasks with many images by what frozen features were expected to leave, as Markdown."""
    rows = []
    for low, high in itertools.pairwise(ERRORS):
        at = [g for g in found if g.images >= LARGE_FROM_IMAGES and low <= g.expected_error < high]
        if at:
            points, error = _mean(at)
            frozen = np.mean([gain.frozen_error for gain in at])
            most = max(gain.points for gain in at)
            rows.append(
                [
                    f"{low:.0%} to {high:.0%}",
                    str(len(at)),
                    f"{frozen:.1%}",
                    f"{points:+.2f}",
                    f"{error:.2f}",
                    f"{most:+.1f}",
                ]
            )
    head = ["expected error of frozen features", "tasks", "their error", "gain of training, points"]
    return markdown([*head, "standard error", "largest gain"], rows)


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
        found = [gain for gain in gains(lines) if gain.similar in levels and not gain.is_solved]
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
    parts += [f"With {LARGE_FROM_IMAGES} images and more:", by_expected_error(gains(lines))]
    return "\n\n".join(parts)


def main() -> None:
    print(report(results.asked_for(__doc__)))


if __name__ == "__main__":
    main()

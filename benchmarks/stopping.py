"""Can be told while a training is under way what it will have gained, and should it be stopped?

    python -m benchmarks.stopping benchmarks/results/grid.jsonl

Reads what `benchmarks.grid` measured of `full_training`: nothing is trained. The first table: after a share
of the epochs, how the gain that is foretold for the end goes with the gain that came, in points of test
accuracy over the frozen network: their correlation, and the mean absolute error of the rule that is used,
and of the mean gain of the other data sets. The second: what is kept if training is stopped there, always
or where the rest is not worth its time. Last, the rule's numbers fitted to all tasks with enough validation
images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from advisor.advice import rule
from benchmarks import grid, prices, regret, results
from benchmarks.grid import Logits
from benchmarks.kept import accuracy
from benchmarks.tasks import LOOKS
from recipes.training import outlook, pool

Seen = Sequence[tuple[dict[str, Any], Logits]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    files = parser.parse_args().files
    seen = [one for file in files for one in grid.read(file) if "looks test" in one[1]]
    print(table(seen) + "\n\n" + stopped(seen) + "\n\n" + fitted(seen))


class Look(NamedTuple):
    """One task after a share of its epochs.

    Attributes:
        taken: most that the pool took away of the log-loss on the validation images so far, a share.
        now: points of test accuracy over the frozen network that the pool has gained.
        end: the same when training has ended.
        error: that is expected of the frozen network, 0..1.
        rest: seconds that the epochs that are left take.
    """

    taken: float
    now: float
    end: float
    error: float
    rest: float

    @property
    def foretold(self) -> float:
        """Points at the end, by the rule."""
        return 100 * rule.gain_at_end(self.error, self.taken)

    @property
    def stops(self) -> bool:
        """Whether the rest is not worth its time."""
        return self.foretold < 100 * rule.least_gain(self.rest)


def look(line: dict[str, Any], said: Logits, number: int) -> Look:
    """At a task after `LOOKS[number]` of its epochs."""
    frozen, labels = said["frozen validation"].astype(np.float64), said["labels validation"]
    epochs = line["recipes"][grid.LOOKED_AT]["epochs"]
    done = max(1, round(LOOKS[number] * epochs))
    each = said["epochs validation"].astype(np.float64)[:done]
    weight = rule.pool_weight(pool.best_weight(frozen, each[-1], labels))
    kept = pool.probabilities(said["frozen test"], said["looks test"][number], weight)
    seconds = 60 * regret.taken(line, grid.LOOKED_AT).minutes
    return Look(
        taken=max(outlook.taken_away(frozen, trained, labels) for trained in each),
        now=accuracy(kept, said) - accuracy(said["frozen test"], said),
        end=prices.gain(line, said),
        error=regret.expected_error(line),
        rest=(1 - done / epochs) * seconds,
    )


def table(seen: Seen) -> str:
    """How the gain that is foretold goes with the gain that came, as Markdown."""
    rows = []
    for images, tasks in _by_validation_images(seen).items():
        names = np.array([line["data"] for line, _ in tasks])
        for number, share in enumerate(LOOKS):
            looks = [look(line, said, number) for line, said in tasks]
            ends = np.array([each.end for each in looks])
            foretold = np.array([each.foretold for each in looks])
            others = np.array([ends[names != name].mean() if (names != name).any() else 0 for name in names])
            taken = np.array([each.taken * each.error for each in looks])
            told = f"{np.corrcoef(taken, ends)[0, 1]:+.2f}" if len(looks) > 2 else ""
            errors = (np.abs(guess - ends).mean() for guess in (foretold, others))
            row = [str(images), str(len(tasks)), f"{share:.0%}", told]
            rows.append([*row, *(f"{error:.2f}" for error in errors)])
    head = ["validation images", "tasks", "after", "correlation", "error of the rule", "of the mean gain"]
    return results.markdown(head, rows)


def stopped(seen: Seen) -> str:
    """What is kept where training is stopped: points over the frozen network, and the share of the time."""
    rows = []
    for images, tasks in _by_validation_images(seen).items():
        for number, share in enumerate(LOOKS):
            looks = [look(line, said, number) for line, said in tasks]
            now, end = (np.array([getattr(each, name) for each in looks]) for name in ("now", "end"))
            stops = np.array([each.stops for each in looks])
            seconds = np.array([60 * regret.taken(line, grid.LOOKED_AT).minutes for line, _ in tasks])
            saved = np.array([each.rest for each in looks])
            rows.append(
                [
                    str(images),
                    f"{share:.0%}",
                    f"{end.mean():+.2f}",
                    f"{now.mean():+.2f}",
                    f"{stops.sum()} of {len(looks)}",
                    f"{np.where(stops, now, end).mean():+.2f}",
                    f"{np.where(stops, now - end, 0).min():+.1f}",
                    f"{1 - saved[stops].sum() / seconds.sum():.0%}",
                ]
            )
    head = ["validation images", "after", "never stopped", "always", "by the rule", "kept", "worst", "time"]
    return results.markdown(head, rows)


def fitted(seen: Seen) -> str:
    """The two numbers of the rule, fitted to all tasks with enough validation images."""
    tasks = [one for one in seen if len(one[1]["labels validation"]) >= rule.FEWEST_TO_TELL]
    looks = [look(line, said, number) for line, said in tasks for number in range(len(LOOKS))]
    if len(looks) < 2:
        return "Too few tasks have enough validation images."
    known = 100 * np.array([[each.error, each.error * each.taken] for each in looks])
    start, slope = np.linalg.lstsq(known, np.array([each.end for each in looks]), rcond=None)[0]
    return (
        f"Of the expected errors training takes away {start:.3f}, and {slope:.2f} of the share that the pool "
        "has taken away of the log-loss."
    )


def _by_validation_images(seen: Seen) -> dict[int, list[tuple[dict[str, Any], Logits]]]:
    """Tasks with about as many validation images, by the most of them."""
    groups: dict[int, list[tuple[dict[str, Any], Logits]]] = {}
    for line, said in sorted(seen, key=lambda one: one[0]["size"] or 0):
        groups.setdefault(line["size"], []).append((line, said))
    return {max(len(said["labels validation"]) for _, said in group): group for group in groups.values()}


if __name__ == "__main__":
    main()

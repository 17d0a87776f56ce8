"""Do prediction sets hold the true class as often as is asked for, and by which score are they smallest?

    python -m benchmarks.coverage DATA... --output benchmarks/results/coverage.jsonl
    python -m benchmarks.coverage --table --output benchmarks/results/coverage.jsonl

Of each data set up to 1,300 images are seen by the bundled network at 128 pixels. For each of five seeds 300
of them are a user's, the others test. The head on all depths is calibrated in two ways: by leave-one-out on
all 300, as a run of a solved head does it, and, fitted to four fifths of them, by the last fifth, as a run
that trains its network does it. Sets are made by two scores: the plain one, 1 - p, which is what runs use,
and the adaptive one of Romano, Sesia and Candes (APS, NeurIPS 2020), with a draw at random for each image.
Lines that are there are skipped.

Measured on m test images, a coverage that is exactly as asked for scatters binomially. But the coverage
itself depends on the n images of the calibration: it is beta-distributed over their draws, and so what is
measured scatters as a beta-binomial distribution says (Angelopoulos and Bates, arXiv 2107.07511, section
3.2). "Scatter" is the root mean square of what a task is off. Tables tell how many tasks lie inside the 95 %
interval of either. Seeds share images, so tasks of one data set are not independent. The last table is about
the pools of a frozen and a trained network in `benchmarks/results/grid`, calibrated on their validation
images as runs do it: nothing is trained for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import rule
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.prediction_sets import LEAVE_ONE_OUT, USUAL, VALIDATION, Calibration
from advisor.evidence.signed_root import signed_root
from benchmarks.results import markdown, read, write
from recipes.training import pool

SEEDS, PIXELS, USERS, MOST = range(5), 128, 300, 1300
PLAIN, ADAPTIVE = "plain", "adaptive"
LEAST_IN_CLASS = 20  # test images, for the coverage of a class by itself


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the tables and measure nothing")
    asked = parser.parse_args()
    for source in [] if asked.table else asked.data:
        measure(source, asked.output)
    lines = read(asked.output)
    print(by_data(lines), by_score(lines), sep="\n\n")


def measure(source: str, output: Path) -> None:
    """Add the lines of one data set that are not there yet."""
    name = Path(source.replace(":", "-")).name
    there = {line["seed"] for line in read(output) if line["data"] == name}
    if there >= set(SEEDS):
        return
    data = sources.load(source)
    network = backbones.load(backbones.BUNDLED)
    seen = embed(network, data, sample(data.labels, MOST, 0), PIXELS)
    features, labels = signed_root(seen.features.values), data.labels[seen.positions]
    for seed in SEEDS:
        if seed in there:
            continue
        line = judge(features, labels, len(data.class_names), seed)
        write(output, [*read(output), {"data": name, "seed": seed, **line}])
        print(name, seed, flush=True)


def judge(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> dict[str, Any]:
    """What sets do that are calibrated in each way and made by each score.

    Args:
        features: [n, d].
        labels: int64 [n].
        classes: number of classes.
        seed: of who is a user's image, who tests, and of the draws for adaptive sets.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    users = order[sample(labels[order], USERS, seed)]
    tests = np.setdiff1d(order, users)
    fitting, validation = users[: 4 * USERS // 5], users[4 * USERS // 5 :]
    whole = linear_head.fit(features[users], labels[users], classes)
    part = linear_head.fit(features[fitting], labels[fitting], classes)
    calibrations = {
        LEAVE_ONE_OUT: (whole.head, labels[users], whole.held_out),
        VALIDATION: (part.head, labels[validation], part.head.probabilities(features[validation])),
    }
    told: dict[str, Any] = {"classes": classes, "tests": len(tests), "ways": {}}
    for way, (head, truth, said) in calibrations.items():
        tested = head.probabilities(features[tests])
        told["ways"][way] = {
            "accuracy": float((tested.argmax(axis=1) == labels[tests]).mean()),
            "calibrated": len(truth),
            "sets": sets_of(truth, said, labels[tests], tested, seed),
        }
    return told


def sets_of(
    truth: np.ndarray, said: np.ndarray, labels: np.ndarray, tested: np.ndarray, seed: int
) -> dict[str, dict[str, Any]]:
    """What sets do, by score and coverage.

    Args:
        truth: labels int64 [n] of the images that calibrate.
        said: probabilities [n, classes] of them.
        labels: int64 [m] of the test images.
        tested: probabilities [m, classes] of them.
        seed: of the draws for adaptive sets.
    """
    calibration = Calibration.of(said[np.arange(len(truth)), truth], VALIDATION)
    generator = np.random.default_rng(seed)
    scores = _adaptive(said, generator)[np.arange(len(truth)), truth]
    told = {}
    for asked in filter(calibration.reaches, USUAL):
        place = int(np.ceil(round((len(truth) + 1) * asked, 6))) - 1
        told[f"{PLAIN} {asked:g}"] = _measured(labels, calibration.sets(tested, asked))
        adaptive = _adaptive(tested, generator) <= np.sort(scores)[place]
        told[f"{ADAPTIVE} {asked:g}"] = _measured(labels, adaptive)
    return told


def _adaptive(probabilities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Of each class the probability of all more probable ones and a drawn part of its own, [n, classes]."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities.astype(np.float64), order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered + generator.random((len(ordered), 1)) * ordered
    scores = np.empty_like(before)
    np.put_along_axis(scores, order, before, axis=1)
    return scores


def _measured(labels: np.ndarray, sets: np.ndarray) -> dict[str, float]:
    """How sets bool [m, classes] did on images with labels int64 [m]."""
    covered, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    classes = [covered[labels == label] for label in np.unique(labels)]
    alone = [float(each.mean()) for each in classes if len(each) >= LEAST_IN_CLASS]
    return {
        "covered": int(covered.sum()),
        "size": float(sizes.mean()),
        "none": float((sizes == 0).mean()),
        "several": float((sizes > 1).mean()),
        "worst class": min(alone, default=float("nan")),
    }


def by_data(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each data set: what the sets of runs (plain, leave-one-out) do at both coverages.

    Behind the mean over the seeds stands where it would lie in 95 of 100 cases, were these independent.
    """
    head = ["data", "classes", "test images", "accuracy"]
    head += [
        f"{what} at {asked:.0%}"
        for asked in USUAL
        for what in ("covered", "of seeds", "classes in a set", "none")
    ]
    rows = []
    for name in dict.fromkeys(line["data"] for line in lines):
        group = [line for line in lines if line["data"] == name]
        ways = [line["ways"][LEAVE_ONE_OUT] for line in group]
        accuracy = np.mean([way["accuracy"] for way in ways])
        row = [name, str(group[0]["classes"]), f"{group[0]['tests']:,}", f"{accuracy:.1%}"]
        for asked in USUAL:
            sets = [way["sets"][f"{PLAIN} {asked:g}"] for way in ways]
            shares = [one["covered"] / line["tests"] for one, line in zip(sets, group, strict=True)]
            law = _law(group[0]["tests"], asked, ways[0]["calibrated"])
            expected = 1.96 * law.std() / group[0]["tests"] / np.sqrt(len(group))
            row += [
                f"{np.mean(shares):.1%} ({asked:.0%} ± {100 * expected:.1f})",
                f"{min(shares):.1%} to {max(shares):.1%}",
                f"{np.mean([one['size'] for one in sets]):.2f}",
                f"{np.mean([one['none'] for one in sets]):.1%}",
            ]
        rows.append(row)
    return markdown(head, rows)


def by_score(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each way of calibration, score and coverage, over all tasks."""
    rows = []
    for way in (LEAVE_ONE_OUT, VALIDATION):
        for score in (PLAIN, ADAPTIVE):
            for asked in USUAL:
                key = f"{score} {asked:g}"
                tasks = [
                    (line["data"], line["tests"], line["ways"][way]["calibrated"], found)
                    for line in lines
                    if (found := line["ways"][way]["sets"].get(key))
                ]
                rows.append([way, score, *_row(tasks, asked)])
    return markdown(["calibrated by", "score", *_HEAD], rows)


def of_pools(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, np.ndarray]]]) -> str:
    """A row for each coverage, over the pools of a frozen and a trained network.

    Args:
        pairs: lines of `benchmarks.grid` with the logits beside them.
    """
    found: dict[float, list[tuple[str, int, int, Mapping[str, float]]]] = {asked: [] for asked in USUAL}
    for line, said in pairs:
        frozen, trained = (said[f"{name} validation"].astype(np.float64) for name in ("frozen", "trained"))
        truth, labels = said["labels validation"], said["labels test"]
        weight = rule.pool_weight(pool.best_weight(frozen, trained, truth))
        tested = pool.probabilities(said["frozen test"], said["trained test"], weight)
        calibrating = pool.probabilities(frozen, trained, weight)
        for key, sets in sets_of(truth, calibrating, labels, tested, 0).items():
            score, asked = key.split()
            if score == PLAIN:
                found[float(asked)].append((line["data"], len(labels), len(truth), sets))
    return markdown(_HEAD, [_row(tasks, asked) for asked, tasks in found.items() if tasks])


_HEAD = [
    "asked",
    "tasks",
    "covered",
    "± over data sets",
    "scatter",
    "inside binomial",
    "inside beta-binomial",
    "classes in a set",
    "none",
    "several",
    "worst class",
]


def _row(tasks: Sequence[tuple[str, int, int, Mapping[str, float]]], asked: float) -> list[str]:
    """Cells under `_HEAD`, of tasks: data, test images, images that calibrate, and what `_measured` gives."""
    by_name: dict[str, list[float]] = {}
    binomial = exact = 0
    off = [sets["covered"] / tests - asked for _, tests, _, sets in tasks]
    for name, tests, calibrated, sets in tasks:
        by_name.setdefault(name, []).append(sets["covered"] / tests)
        binomial += _is_inside(int(sets["covered"]), tests, asked)
        exact += _is_inside(int(sets["covered"]), tests, asked, calibrated)
    means = np.array([np.mean(shares) for shares in by_name.values()])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    told = {
        name: np.nanmean([sets[name] for *_, sets in tasks])
        for name in ("size", "none", "several", "worst class")
    }
    return [
        f"{asked:.0%}",
        str(len(tasks)),
        f"{means.mean():.1%}",
        f"{100 * error:.1f} points",
        f"{100 * np.sqrt(np.mean(np.square(off))):.1f} points",
        f"{binomial} of {len(tasks)}",
        f"{exact} of {len(tasks)}",
        f"{told['size']:.2f}",
        *(f"{told[name]:.1%}" for name in ("none", "several", "worst class")),
    ]


def _is_inside(covered: int, tests: int, asked: float, calibrated: int | None = None) -> bool:
    """Whether so many covered images lie in the 95 % interval of `_law`."""
    law = _law(tests, asked, calibrated)
    return bool(law.ppf(0.025) <= covered <= law.ppf(0.975))


def _law(tests: int, asked: float, calibrated: int | None) -> Any:
    """How many test images are covered: binomial, or, where `calibrated` images set the threshold,
    beta-binomial."""
    from scipy.stats import betabinom, binom

    if calibrated is None:
        return binom(tests, asked)
    missed = int(np.floor(round((calibrated + 1) * (1 - asked), 6)))
    return betabinom(tests, calibrated + 1 - missed, missed)


if __name__ == "__main__":
    main()

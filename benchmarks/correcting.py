"""What does correcting the suspected labels bring back of the accuracy that wrong labels have cost?

    python -m benchmarks.correcting DATA... --sizes 224 --output benchmarks/results/correcting.jsonl
    python -m benchmarks.correcting --table --output benchmarks/results/correcting.jsonl

Of each data set up to 1,200 images are seen by the bundled network. For each seed they are cut into five
parts, each of which is the test once, with its labels as they are; of the others (training and validation
images) some share is changed to another class, at random. The frozen head is solved with the changed labels,
with the first n suspects corrected as the audit suggests, with the same images given their true label, as a
person would, and with all labels true; n is the number of wrong labels that the audit estimates. Beside them
stands the gain that the advice foretells of correcting them. Lines that are there are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import rule
from advisor.audit import labels as wrong_labels
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.features import Features
from advisor.evidence.signed_root import signed_root
from advisor.system.solvers import solvers
from benchmarks.label_noise import changed_labels, left_out
from benchmarks.results import markdown, read, write

SHARES, SEEDS, PARTS, MOST = (0.1,), range(5), 5, 1_200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="pixels")
    parser.add_argument("--most", type=int, default=MOST, help="images of each data set")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the labels, changed")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the table and measure nothing")
    asked = parser.parse_args()
    if asked.table:
        print(table(read(asked.output)))
        return
    for source in asked.data:
        for size in asked.sizes:
            for share in asked.shares:
                measure(source, size, share, asked.most, asked.output)


def measure(source: str, size: int, share: float, most: int, output: Path) -> None:
    """Add the lines of one data set at one size and one share of changed labels that are not there yet."""
    key = (Path(source.replace(":", "-")).name, size, share)
    there = {line["seed"] for line in read(output) if (line["data"], line["pixels"], line["share"]) == key}
    if there >= set(SEEDS):
        return
    data = sources.load(source)
    network = backbones.load(backbones.BUNDLED)
    seen = embed(network, data, sample(data.labels, most, 0), size)
    truth, classes = data.labels[seen.positions], len(data.class_names)
    for seed in sorted(set(SEEDS) - there):
        part = np.random.default_rng(seed).permutation(len(truth)) % PARTS
        found = [
            correct(seen.features, truth, part != test, classes, share, seed * PARTS + test)
            for test in range(PARTS)
        ]
        line = {"data": key[0], "pixels": size, "share": share, "seed": seed, "images": len(truth)}
        line |= {name: [one[name] for one in found] for name in found[0]}
        write(output, [*read(output), line])


def correct(
    features: Features, truth: np.ndarray, fitted: np.ndarray, classes: int, share: float, seed: int
) -> dict[str, float]:
    """Change labels, correct them, and judge four heads on the images that none of them has seen.

    Args:
        features: of n images.
        truth: int64 [n].
        fitted: which images heads are fitted to, bool [n].
        classes: number of classes.
        share: of their labels that is changed.
        seed: of which are changed, and to what.

    Returns:
        Accuracies of the heads on the others, 0..1; numbers of images that were changed, estimated, and
        changed among those that were corrected; the accuracy that leave-one-out says; the interval of the
        estimate.
    """
    train, test = np.flatnonzero(fitted), np.flatnonzero(~fitted)
    known, others = features.take(train), features.take(test)
    said, changed = changed_labels(truth[train], classes, share, seed)

    def accuracy(labels: np.ndarray) -> float:
        head = linear_head.fit(signed_root(known.values), labels, classes).head
        return float((head.probabilities(signed_root(others.values)).argmax(axis=1) == truth[test]).mean())

    held_out = left_out(known.values, said, classes)
    judged = wrong_labels.judge(held_out, said, seed)
    first = np.argsort(-judged.margin, kind="stable")[: round(judged.estimated)]
    suggested, true = said.copy(), said.copy()
    suggested[first], true[first] = judged.suggested[first], truth[train][first]
    with solvers(len(train)):
        return {
            "noisy": accuracy(said),
            "as_suggested": accuracy(suggested),
            "by_a_person": accuracy(true),
            "clean": accuracy(truth[train]),
            "fitted": len(train),
            "changed": int(changed.sum()),
            "corrected": len(first),
            "right": int(changed[first].sum()),
            "estimated": judged.estimated,
            "low": judged.interval[0],
            "high": judged.interval[1],
            "left_out": float((held_out.argmax(axis=1) == said).mean()),
        }


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each data set and share of changed labels: sums over parts, means over the seeds."""
    head = [
        "images",
        "changed",
        "accuracy: true labels, changed ones",
        "corrected, of which changed",
        "points back, by a person",
        "share of what was lost",
        "points back, as suggested",
        "share of what was lost",
    ]
    rows = []
    for key in dict.fromkeys((line["data"], line["pixels"], line["share"]) for line in lines):
        group = [line for line in lines if (line["data"], line["pixels"], line["share"]) == key]
        clean, noisy, person, suggested = (
            100 * np.array([np.mean(line[name]) for line in group])
            for name in ("clean", "noisy", "by_a_person", "as_suggested")
        )
        corrected, right = (sum(sum(line[name]) for line in group) for name in ("corrected", "right"))
        row = [f"{key[0]}, {key[1]} px", f"{key[2]:.0%}", f"{clean.mean():.1f}, {noisy.mean():.1f}"]
        row.append(f"{corrected / PARTS / len(group):.0f}, {right / max(corrected, 1):.0%}")
        for better in (person, suggested):
            row += [_told(better - noisy), _share(better - noisy, clean - noisy)]
        rows.append(row)
    return markdown(head, rows)


def foretold(lines: list[dict[str, Any]]) -> str:
    """How often the foretold gain of correcting held what was measured, each seed of each row one case.

    The law is a number times the share of labels that should be wrong, see `advisor.advice.rule`, of which
    nothing is foretold below some accuracy. In the last column the upper bound is what the cases of the other
    data sets would have given.
    """
    head = ["images", "changed", "estimated wrong", "gained", "foretold", "held", "held, by the others alone"]
    cases, rows, held, held_by_others = [_case(line) for line in lines], [], [], []
    for name, changed in dict.fromkeys((line["data"], line["share"]) for line in lines):
        own = [at for at, line in enumerate(lines) if (line["data"], line["share"]) == (name, changed)]
        shares, gains = np.array([cases[at] for at in own]).T
        row = [name, f"{changed:.0%}", f"{shares.mean():.1%}", f"{100 * gains.mean():+.1f}"]
        if not all(_is_told(lines[at]) for at in own):
            rows.append([*row, "nobody knows", "-", "-"])
            continue
        elsewhere = [
            case
            for case, line in zip(cases, lines, strict=True)
            if line["data"] != name and line["share"] and _is_told(line)
        ]
        bounds = np.array([rule.interval_of_correcting(share) for share in shares])
        is_in = (bounds[:, 0] <= gains) & (gains <= bounds[:, 1])
        others = (gains >= 0) & (gains <= fitted(elsewhere)[1] * shares)
        held += is_in.tolist()
        held_by_others += others.tolist()
        told = 100 * np.mean([rule.gain_of_correcting(share) for share in shares])
        counts = [f"{which.sum()} of {len(own)}" for which in (is_in, others)]
        rows.append([*row, f"{told:+.1f}", *counts])
    rows.append(["all", "", "", "", "", f"{np.mean(held):.0%}", f"{np.mean(held_by_others):.0%}"])
    return markdown(head, rows)


def _is_told(line: dict[str, Any]) -> bool:
    """Whether the head is right often enough by the labels as they are for a gain to be foretold."""
    return bool(np.mean(line["left_out"]) >= rule.FORETOLD_FROM)


def _case(line: dict[str, Any]) -> tuple[float, float]:
    """The share of labels that should be wrong, and the accuracy gained by a person who corrects so many."""
    return sum(line["estimated"]) / sum(line["fitted"]), float(
        np.mean(np.array(line["by_a_person"]) - line["noisy"])
    )


def fitted(cases: list[tuple[float, float]]) -> tuple[float, float]:
    """The accuracy gained by the share of labels that should be wrong: its mean, and what 19 of 20 cases are
    below. No case is expected to be below nothing."""
    ratios = [gain / share for share, gain in cases if share]
    return float(np.mean(ratios)), float(np.quantile(ratios, 0.95))


def _told(points: np.ndarray) -> str:
    """The mean over the seeds and its standard error."""
    return f"{points.mean():+.1f} ± {points.std(ddof=1) / np.sqrt(len(points)):.1f}"


def _share(back: np.ndarray, lost: np.ndarray) -> str:
    """Of what was lost, over all seeds, with the standard error of this ratio (the delta method)."""
    if lost.sum() <= 0:
        return "-"
    ratio = back.sum() / lost.sum()
    error = (back - ratio * lost).std(ddof=1) / np.sqrt(len(lost)) / lost.mean()
    return f"{ratio:.0%} ± {error:.0%}"


if __name__ == "__main__":
    main()

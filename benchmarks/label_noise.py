"""Does the audit find labels that were changed on purpose, and does it say how many there are?

    pip install cleanlab pandas     # for comparison alone; without it the column is empty
    python -m benchmarks.label_noise DATA... --sizes 224 --output benchmarks/results/label-noise.jsonl
    python -m benchmarks.label_noise --table --output benchmarks/results/label-noise.jsonl
    python -m benchmarks.label_noise --ways --output benchmarks/results/label-noise.jsonl

Of each data set up to 4,000 images are seen by the bundled network, at each of the sizes, and 5 % of the
labels are changed to another class, at random, for each of several seeds. A row of the table says: the
accuracy of the head without noise, the AUROC by which the margin tells the changed labels from the others,
the same by a head that was fitted to the true labels (what its own errors leave possible), the best of the
scores that cleanlab makes of the same probabilities, the share of changed labels among as many of the first
images as were changed, and the estimated number of wrong labels, less the estimate without noise, over the
number that was changed. `--ways` compares heads and scores with each other over all data sets. Lines that are
there are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from advisor import backbones
from advisor.audit import labels as wrong_labels
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.features import Features
from advisor.evidence.signed_root import signed_root
from advisor.system.solvers import SMALL_FOR_TWO, solvers
from benchmarks.results import markdown, read, write

NOISE, SEEDS, MOST = 0.05, range(5), 4_000
MARGIN = "margin of the other class"
BEFORE = f"all depths: {MARGIN}"  # what other ways are compared with
CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")  # its scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="pixels")
    parser.add_argument("--most", type=int, default=MOST, help="images of each data set")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the table and measure nothing")
    parser.add_argument("--ways", action="store_true", help="compare heads and scores and measure nothing")
    asked = parser.parse_args()
    if asked.table or asked.ways:
        print((ways if asked.ways else table)(read(asked.output)))
        return
    for source in asked.data:
        for size in asked.sizes:
            measure(source, size, asked.most, asked.output)


def measure(source: str, size: int, most: int, output: Path) -> None:
    """Add the lines of one data set at one size that are not there yet."""
    name = Path(source.replace(":", "-")).name
    there = {line["seed"] for line in read(output) if (line["data"], line["pixels"]) == (name, size)}
    if there >= set(SEEDS):
        return
    data = sources.load(source)
    network = backbones.load(backbones.BUNDLED)
    seen = embed(network, data, sample(data.labels, most, 0), size)
    truth, classes = data.labels[seen.positions], len(data.class_names)
    told = left_out(seen.features.values, truth, classes)
    before = wrong_labels.judge(told, truth, 0)
    for seed in SEEDS:
        if seed in there:
            continue
        said, changed = changed_labels(truth, classes, NOISE, seed)
        line = {
            "data": name,
            "pixels": size,
            "seed": seed,
            "images": len(truth),
            "classes": classes,
            "accuracy": float((told.argmax(axis=1) == truth).mean()),
            "suspects_without_noise": len(before.suspects),
            "estimated_without_noise": before.estimated,
            "interval_without_noise": list(before.interval),
            "changed": int(changed.sum()),
            "auroc_at_best": auroc(wrong_labels.judge(told, said, 0).margin, changed),
            **judged(seen.features, said, changed, classes),
        }
        without = cleanlab(told, truth)
        line["cleanlab_without_noise"] = without and without["estimated"]
        write(output, [*read(output), line])


def changed_labels(truth: np.ndarray, classes: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels int64 [n] of which a share was changed to another class at random, and which, bool [n]."""
    generator = np.random.default_rng(seed)
    changed = np.zeros(len(truth), bool)
    changed[generator.permutation(len(truth))[: round(share * len(truth))]] = True
    said = truth.copy()
    said[changed] = (said[changed] + generator.integers(1, classes, changed.sum())) % classes
    return said, changed


def left_out(averages: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Leave-one-out probabilities of a head, float32 [n, classes], on averages [n, d]."""
    with solvers(min(averages.shape), SMALL_FOR_TWO):
        return linear_head.fit(signed_root(averages), labels, classes).held_out


def judged(features: Features, said: np.ndarray, changed: np.ndarray, classes: int) -> dict[str, Any]:
    """What the audit says of labels, and how well each way of looking at them finds the changed ones."""
    told = left_out(features.values, said, classes)
    deepest = left_out(features.last(), said, classes)
    found = wrong_labels.judge(told, said, 0)
    corrected = said.copy()
    corrected[found.suspects] = found.suggested[found.suspects]
    again = left_out(features.values, corrected, classes)
    heads = {"all depths": told, "deepest": deepest, "mean of both": (told + deepest) / 2}
    by_way = {f"{head}: {name}": value for head in heads for name, value in scores(heads[head], said).items()}
    by_way[f"all depths, suspects corrected first: {MARGIN}"] = scores(again, said)[MARGIN]
    first = np.argsort(-found.margin, kind="stable")[: changed.sum()]
    return {
        "accuracy_with_noise": float((told.argmax(axis=1) == said).mean()),
        "auroc": auroc(found.margin, changed),
        "among_the_first": float(changed[first].mean()),
        "estimated": found.estimated,
        "interval": list(found.interval),
        "ways": {way: auroc(value, changed) for way, value in by_way.items()},
        "cleanlab": cleanlab(told, said, changed),
    }


def auroc(score: np.ndarray, changed: np.ndarray) -> float:
    """Of telling the changed labels from the others by a score that is higher for them."""
    return float(roc_auc_score(changed, score))


def scores(told: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """How wrong each label looks by probabilities [n, classes]; all but the first as in Northcutt et al."""
    rows, classes = np.arange(len(labels)), np.unique(labels)
    own = told[rows, labels]
    others = told.copy()
    others[rows, labels] = -np.inf
    usual = np.full(told.shape[1], np.inf)
    usual[classes] = [own[labels == label].mean() for label in classes]
    above = told - usual
    above_others = above.copy()
    above_others[rows, labels] = -np.inf
    entropy = -(told * np.log(np.maximum(told, 1e-12))).sum(axis=1)
    return {
        MARGIN: others.max(axis=1) - own,
        "own probability": -own,
        "margin above what is usual of each class": above_others.max(axis=1) - above[rows, labels],
        "log of the own probability over the entropy": -np.log(np.maximum(own, 1e-12)) / (entropy + 1e-9),
    }


def cleanlab(
    told: np.ndarray, labels: np.ndarray, changed: np.ndarray | None = None
) -> dict[str, Any] | None:
    """What cleanlab says of the same probabilities; None where it is not installed.

    Args:
        told: leave-one-out probabilities, float32 [n, classes].
        labels: int64 [n].
        changed: which are wrong, bool [n]; without it there is no AUROC.
    """
    try:
        from cleanlab import count, rank
    except ImportError:
        return None
    found: dict[str, Any] = {"estimated": int(count.num_label_issues(labels, told))}
    if changed is not None:
        for method in CLEANLAB:
            found[method] = auroc(-rank.get_label_quality_scores(labels, told, method=method), changed)
    return found


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each data set and size, means over the seeds."""
    head = [
        "images",
        "number",
        "accuracy",
        "AUROC: mean, lowest",
        "with a head on true labels",
        "cleanlab's best",
        "right among the first n",
        "estimate less that without noise, over n",
        "cleanlab's",
        "estimated without noise",
    ]
    rows = []
    for name, size in dict.fromkeys((line["data"], line["pixels"]) for line in lines):
        group = [line for line in lines if (line["data"], line["pixels"]) == (name, size)]
        first, lowest = group[0], min(line["auroc"] for line in group)
        without = first["estimated_without_noise"]
        rows.append(
            [
                f"{name}, {size} px",
                f"{first['images']:,}",
                f"{first['accuracy']:.3f}",
                f"{_mean([line['auroc'] for line in group]):.4f}, {lowest:.4f}",
                f"{_mean([line['auroc_at_best'] for line in group]):.4f}",
                f"{max(_mean([line['cleanlab'][by] for line in group]) for by in CLEANLAB):.4f}",
                f"{_mean([line['among_the_first'] for line in group]):.0%}",
                f"{_mean([(line['estimated'] - without) / line['changed'] for line in group]):.2f}",
                f"{_mean([_of_cleanlab(line) for line in group]):.2f}",
                f"{without:.0f} ({without / first['images']:.1%})",
            ]
        )
    return markdown(head, rows)


def _of_cleanlab(line: dict[str, Any]) -> float:
    """Wrong labels that it counts more than without noise, over the number that was changed."""
    return (line["cleanlab"]["estimated"] - line["cleanlab_without_noise"]) / line["changed"]


def _mean(values: list[float]) -> float:
    """Over the seeds of one data set."""
    return float(np.mean(values))


def ways(lines: list[dict[str, Any]]) -> str:
    """Heads and scores against the margin of the head on all depths: points of AUROC, over the data sets."""
    sets = [
        [line for line in lines if (line["data"], line["pixels"]) == key]
        for key in dict.fromkeys((line["data"], line["pixels"]) for line in lines)
    ]
    rows = []
    for way in lines[0]["ways"]:
        differences = [[line["ways"][way] - line["ways"][BEFORE] for line in group] for group in sets]
        gains = 100 * np.array([_mean(of_set) for of_set in differences])
        error = gains.std(ddof=1) / np.sqrt(len(gains))
        rows.append([way, f"{gains.mean():+.2f} ± {error:.2f}", f"{gains.min():+.2f}"])
    return markdown(["head: score", "points of AUROC", "worst"], rows)


if __name__ == "__main__":
    main()

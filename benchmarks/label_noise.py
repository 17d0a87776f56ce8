"""Does the audit find labels that were changed on purpose, and does it say how many there are?

    python -m benchmarks.label_noise DATA... --sizes 224 --output benchmarks/results/label-noise.jsonl
    python -m benchmarks.label_noise --table --output benchmarks/results/label-noise.jsonl

Of each data set up to 4,000 images are seen by the bundled network, at each of the sizes, and 5 % of the
labels are changed to another class, at random, for each of several seeds. A row of the table says: the
accuracy of the head without noise, the AUROC by which the margin tells the changed labels from the others,
the share of them among as many of the first images as were changed, and the estimated number of wrong labels,
less the estimate without noise, over the number that was changed. Lines that are there are skipped.
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
from advisor.evidence.signed_root import signed_root
from advisor.system.solvers import solvers
from benchmarks.results import markdown, read, write

NOISE, SEEDS, MOST = 0.05, range(5), 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="pixels")
    parser.add_argument("--most", type=int, default=MOST, help="images of each data set")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the table and measure nothing")
    asked = parser.parse_args()
    if asked.table:
        print(table(read(asked.output)))
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
    features = signed_root(seen.features.values)
    truth, classes = data.labels[seen.positions], len(data.class_names)
    before = judged(features, truth, classes)[0]
    for seed in SEEDS:
        if seed in there:
            continue
        generator = np.random.default_rng(seed)
        changed = np.zeros(len(truth), bool)
        changed[generator.permutation(len(truth))[: round(NOISE * len(truth))]] = True
        said = truth.copy()
        said[changed] = (said[changed] + generator.integers(1, classes, changed.sum())) % classes
        found, accuracy = judged(features, said, classes)
        first = np.argsort(-found.margin, kind="stable")[: changed.sum()]
        line = {
            "data": name,
            "pixels": size,
            "seed": seed,
            "images": len(truth),
            "classes": classes,
            "accuracy": float((before.own > before.probability).mean()),
            "accuracy_with_noise": accuracy,
            "suspects_without_noise": len(before.suspects),
            "estimated_without_noise": before.estimated,
            "interval_without_noise": list(before.interval),
            "changed": int(changed.sum()),
            "auroc": float(roc_auc_score(changed, found.margin)),
            "among_the_first": float(changed[first].mean()),
            "estimated": found.estimated,
            "interval": list(found.interval),
        }
        write(output, [*read(output), line])


def judged(features: np.ndarray, labels: np.ndarray, classes: int) -> tuple[wrong_labels.Labels, float]:
    """What the audit says of labels, and the accuracy of its head by them."""
    with solvers(min(features.shape)):
        held_out = linear_head.fit(features, labels, classes).held_out
    return wrong_labels.judge(held_out, labels, 0), linear_head.judge(held_out, labels).accuracy


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each data set and size, means over the seeds."""
    head = [
        "images",
        "number",
        "accuracy",
        "AUROC: mean, lowest",
        "right among the first n",
        "estimate less that without noise, over n",
        "estimated without noise",
    ]
    rows = []
    for name, size in dict.fromkeys((line["data"], line["pixels"]) for line in lines):
        group = [line for line in lines if (line["data"], line["pixels"]) == (name, size)]
        first, auroc = group[0], [line["auroc"] for line in group]
        ratio = [(line["estimated"] - line["estimated_without_noise"]) / line["changed"] for line in group]
        without = first["estimated_without_noise"]
        rows.append(
            [
                f"{name}, {size} px",
                f"{first['images']:,}",
                f"{first['accuracy']:.3f}",
                f"{np.mean(auroc):.4f}, {min(auroc):.4f}",
                f"{np.mean([line['among_the_first'] for line in group]):.0%}",
                f"{np.mean(ratio):.2f}",
                f"{without:.0f} ({without / first['images']:.1%})",
            ]
        )
    return markdown(head, rows)


if __name__ == "__main__":
    main()

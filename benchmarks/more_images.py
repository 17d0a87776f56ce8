"""What do more images bring, of every class and of one class alone, and does the audit foretell it?

    python -m benchmarks.more_images DATA... --size 224

Of each data set up to 1,800 images are seen by the bundled network. A quarter of them is what a user has, a
quarter more can be had, and half are new images that judge; all is drawn six times. Shown are the accuracy
with a quarter, what twice the images of every class add, the mean error of what the audit foretells of the
share of each class that is told right then, beside the error of foretelling no change; and what the same
number of images for each class adds where it is spent on one class alone: on average over the classes, at
best, and on the class that the audit puts first.
"""

from __future__ import annotations

import argparse

import numpy as np

from advisor import backbones
from advisor.audit import classes
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import probe
from advisor.evidence.embedding import embed
from advisor.evidence.linear_head import Products
from advisor.evidence.signed_root import signed_root
from advisor.system.solvers import solvers
from benchmarks.results import markdown

MOST, DRAWS = 1_800, 6
HEAD = (
    "images",
    "accuracy",
    "twice of all",
    "each class: error foretold, without",
    "one class: mean, best, as told",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--size", type=int, default=224, help="pixels")
    asked = parser.parse_args()
    print(markdown(HEAD, [row(source, asked.size) for source in asked.data]))


def row(source: str, size: int) -> list[str]:
    """What is measured of one data set, in points."""
    data, network = sources.load(source), backbones.load(backbones.BUNDLED)
    seen = embed(network, data, sample(data.labels, MOST, 0), size)
    features, labels = signed_root(seen.features.values), data.labels[seen.positions]
    with solvers(len(labels) // 2):
        products = Products.of(features)
        draws = [draw(products, features, labels, len(data.class_names), seed) for seed in range(DRAWS)]
    start, twice, error, unchanged, mean, best, told = 100 * np.array(draws).mean(axis=0)
    return [
        source,
        f"{start:.1f}",
        f"{twice:+.1f}",
        f"{error:.1f}, {unchanged:.1f}",
        f"{mean:+.2f}, {best:+.2f}, {told:+.2f}",
    ]


def draw(
    products: Products, features: np.ndarray, labels: np.ndarray, count: int, seed: int
) -> tuple[float, ...]:
    """One draw: the numbers of a row, 0..1, in its order.

    Args:
        products: of all images.
        features: float32 [n, d], of all images.
        labels: int64 [n].
        count: number of classes.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    quarter = len(order) // 4
    own, more, new = order[:quarter], order[quarter : 2 * quarter], order[2 * quarter :]

    def right(part: np.ndarray) -> np.ndarray:
        told = products.probabilities(part, new, labels[part], count)
        return told.argmax(axis=1) == labels[new]

    def by_class(told: np.ndarray) -> np.ndarray:
        return np.array([told[labels[new] == label].mean() for label in range(count)])

    left_out = Products(products.values[np.ix_(own, own)]).held_out(labels[own], count)
    known = left_out.argmax(axis=1) == labels[own]
    curves = classes.curves(features[own], labels[own], count, None, known, seed)
    foretold = np.array([probe.extrapolate(one, 2 * one[-1].images) for one in curves.by_class])
    now = np.array([one[-1].accuracy for one in curves.by_class])
    start, twice = right(own), right(np.concatenate([own, more]))
    size = quarter // count
    alone = np.array(
        [
            right(np.concatenate([own, more[labels[more] == label][:size]])).mean() - start.mean()
            for label in range(count)
        ]
    )
    first = int(np.argmax((foretold - now) * np.bincount(labels[own], minlength=count)))
    reached = by_class(twice)
    return (
        float(start.mean()),
        float(twice.mean() - start.mean()),
        float(np.abs(foretold - reached).mean()),
        float(np.abs(now - reached).mean()),
        float(alone.mean()),
        float(alone.max()),
        float(alone[first]),
    )


if __name__ == "__main__":
    main()

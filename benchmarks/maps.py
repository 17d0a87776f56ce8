"""Which map of all images tells most of their classes?

    python -m benchmarks.maps DATA...

For a sample of each data set, by features of the bundled network at its last layer averaged over the whole
picture: how often the 5 nearest images on the map tell the class (five folds), and seconds of the processor
that drawing it takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from advisor import backbones
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence.embedding import embed
from advisor.evidence.features import Features
from advisor.evidence.outliers import unit
from advisor.evidence.sights import principal_components
from advisor.evidence.signed_root import signed_root

SEEN = 300  # images of each data set


def _components(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(2, svd_solver="randomized", random_state=0).fit_transform(features)


def _neighbours(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    return TSNE(2, random_state=0, init="pca").fit_transform(
        PCA(50, random_state=0).fit_transform(signed_root(features))
    )


WAYS: dict[str, Callable[[Features], np.ndarray]] = {
    "principal components of roots (what is drawn)": lambda seen: principal_components(seen.last())[0],
    "of features as they are": lambda seen: _components(seen.last()),
    "of their directions": lambda seen: _components(unit(seen.last())),
    "of roots at all depths": lambda seen: _components(signed_root(seen.values)),
    "t-SNE of 50 principal components of roots": lambda seen: _neighbours(seen.last()),
}


def main() -> None:
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+")
    names = parser.parse_args().data
    bundled = backbones.load(backbones.BUNDLED)
    told: dict[str, list[float]] = {way: [] for way in WAYS}
    took = dict.fromkeys(WAYS, 0.0)
    for name in names:
        data = sources.load(name)
        embedded = embed(bundled, data, sample(data.labels, SEEN, 0), bundled.image_size)
        labels = data.labels[embedded.positions]
        for way, draw in WAYS.items():
            began = time.process_time()
            drawn = draw(embedded.features)
            took[way] += time.process_time() - began
            told[way].append(cross_val_score(KNeighborsClassifier(5), drawn, labels, cv=5).mean())
    heads = " | ".join(Path(name).name for name in names)
    print(f"| map | {heads} | mean | seconds |\n|{' --- |' * (len(names) + 3)}")
    for way, shares in told.items():
        cells = " | ".join(f"{share:.2f}" for share in shares)
        print(f"| {way} | {cells} | {np.mean(shares):.2f} | {took[way] / len(names):.1f} |")


if __name__ == "__main__":
    main()

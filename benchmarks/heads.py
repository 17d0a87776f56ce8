"""Which head a frozen network should have: logistic or ridge regression, on features or on their roots.

    python -m benchmarks.heads DATA... --sizes 50 200 500 1000 --seeds 0 1

Up to 2,000 images of each data set are embedded; samples of each size are fitted to, at least 150 others are
judged. The logistic regression is scikit-learn's, its penalty chosen in three folds by log-loss. Prints, for
the last layer and for all depths: its accuracy in percent and its log-loss, and what the others gain.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np

from advisor import backbones
from advisor.data import sources
from advisor.data.sampling import sample
from advisor.evidence import embedding, linear_head
from advisor.evidence.signed_root import signed_root
from advisor.evidence.spread import spread
from benchmarks.results import markdown

MOST_IMAGES, FEWEST_JUDGED = 2_000, 150
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # on the mean loss

Predict = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 200, 500, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--image-size", type=int, default=224)
    arguments = parser.parse_args()
    backbone = backbones.load(backbones.BUNDLED)
    judged: dict[tuple[int, str], list[list[linear_head.Judged]]] = {}
    for source in arguments.data:
        data = sources.load(source, 0)
        chosen = sample(data.labels, MOST_IMAGES, 0)
        embedded = embedding.embed(backbone, data, chosen, arguments.image_size)
        labels, classes = data.labels[embedded.positions], len(data.class_names)
        for size, seed in itertools.product(arguments.sizes, arguments.seeds):
            part = sample(labels, size, seed)
            rest = np.setdiff1d(np.arange(len(labels)), part)
            if len(rest) < FEWEST_JUDGED or np.bincount(labels[part], minlength=classes).min() < 3:
                continue
            views = {"last layer": embedded.features.last(), "all depths": embedded.features.values}
            for view, features in views.items():
                told = judge(features, labels, classes, part, rest)
                judged.setdefault((size, view), []).append(told)
            print(source, size, seed, *(f"{one.accuracy:.3f}" for one in told), flush=True)
    head = ["images", "tasks", "head on", "logistic", "ridge", "roots, logistic", "roots, ridge"]
    print(markdown(head, [row(size, view, rows) for (size, view), rows in sorted(judged.items())]))


def judge(
    features: np.ndarray, labels: np.ndarray, classes: int, part: np.ndarray, rest: np.ndarray
) -> list[linear_head.Judged]:
    """Logistic and ridge on features [n, d], then on their roots; fitted to `part`, judged on `rest`."""
    told = []
    for values, fit in itertools.product((features, signed_root(features)), (logistic, ridge)):
        probabilities = fit(values[part], labels[part], classes)(values[rest])
        told.append(linear_head.judge(probabilities, labels[rest]))
    return told


def ridge(features: np.ndarray, labels: np.ndarray, classes: int) -> Predict:
    return linear_head.fit(features, labels, classes).head.probabilities


def logistic(features: np.ndarray, labels: np.ndarray, classes: int) -> Predict:
    """In the coordinates of the images' singular vectors, which leave the optimum where it is."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    scale = spread(features)
    strengths = {"C": [1 / (penalty * len(labels)) for penalty in PENALTIES]}
    search = GridSearchCV(LogisticRegression(max_iter=500), strengths, scoring="neg_log_loss", cv=3)
    model = make_pipeline(PCA(), search).fit(features / scale, labels)
    return lambda others: model.predict_proba(others / scale)


def row(size: int, view: str, rows: list[list[linear_head.Judged]]) -> list[str]:
    accuracy = 100 * np.array([[told.accuracy for told in row] for row in rows]).mean(axis=0)
    loss = np.array([[told.loss for told in row] for row in rows]).mean(axis=0)
    gains = zip(accuracy[1:] - accuracy[0], loss[1:] - loss[0], strict=True)
    return [
        f"{size:,}",
        str(len(rows)),
        view,
        f"{accuracy[0]:.1f}, {loss[0]:.3f}",
        *(f"{better:+.1f}, {lower:+.3f}" for better, lower in gains),
    ]


if __name__ == "__main__":
    main()

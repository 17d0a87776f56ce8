"""How well images unlike the training images are recognised: the numbers in advisor/evidence/outliers.py.

    python benchmarks/outliers.py ../shared/data

Trains nothing: square roots of the features of EfficientNet-Lite0's last layer stand for those of a run. For
each data set: false alarms on its test split; AUROC of its test split against each other data set and against
noise, and the share of those that is flagged. Beside it, the Mahalanobis distance to the nearest class.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from advisor import backbones
from advisor.data import sources
from advisor.data.checks import leave_out
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.evidence import embedding, outliers
from advisor.evidence.signed_root import signed_root

SETS = ("hymenoptera", "flowers", "neu", "malaria")
MOST = 1000  # images of another data set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"holds {', '.join(SETS)}")
    root = parser.parse_args().folder
    backbone = backbones.load(backbones.BUNDLED)
    data = {name: sources.load(str(root / name)) for name in SETS}
    features = {}
    for name in SETS:
        embedded = embedding.embed(backbone, data[name], np.arange(len(data[name])), backbone.image_size)
        data[name] = leave_out(data[name], embedded.unreadable)
        features[name] = signed_root(embedded.features.last())
    with tempfile.TemporaryDirectory() as folder:
        drawn = sources.unlabelled(draw_noise(Path(folder)), "noise")
        embedded = embedding.embed(backbone, drawn, np.arange(len(drawn)), backbone.image_size)
    others = {
        **{name: features[name][sample(data[name].labels, MOST, 0)] for name in SETS},
        "noise": signed_root(embedded.features.last()),
    }
    print(f"{'trained on':12}{'false alarms':>13}  " + "".join(f"{name:>20}" for name in others))
    print(f"{'':27}" + f"{'AUROC flagged (M)':>20}" * len(others))
    for name in SETS:
        train, validate, test = (data[name].indices(split) for split in SPLITS)
        train = train[sample(data[name].labels[train], outliers.MOST, 0)]
        neighbours = outliers.fit(features[name][train], features[name][validate])
        mahalanobis = _mahalanobis(features[name][train], data[name].labels[train])
        familiar = neighbours.distance(features[name][test])
        cells = [f"{name:12}{(familiar > neighbours.threshold).mean():>13.3f}  "]
        for other, strange in others.items():
            distance = neighbours.distance(strange)
            cells.append(
                f"{'-':>20}"
                if other == name
                else f"{auroc(familiar, distance):>8.3f}{(distance > neighbours.threshold).mean():>6.2f}"
                f" ({auroc(mahalanobis(features[name][test]), mahalanobis(strange)):.2f})".rjust(20)
            )
        print("".join(cells), flush=True)


def draw_noise(folder: Path) -> list[str]:
    """40 images of noise, plain colour, coloured squares and ramps."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(10):
        ramp = np.linspace(0, 255, 224)[:, None, None] * generator.random(3)
        for kind, pixels in (
            ("noise", generator.integers(0, 256, (224, 224, 3))),
            ("plain", np.full((224, 224, 3), generator.integers(0, 256, 3))),
            ("squares", np.kron(generator.integers(0, 256, (7, 7, 3)), np.ones((32, 32, 1)))),
            ("ramp", np.broadcast_to(ramp, (224, 224, 3))),
        ):
            paths.append(str(folder / f"{kind}{number}.png"))
            Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def auroc(familiar: np.ndarray, strange: np.ndarray) -> float:
    """How probably a strange image has the larger distance, 0..1."""
    from sklearn.metrics import roc_auc_score

    truth = np.repeat((0, 1), (len(familiar), len(strange)))
    return float(roc_auc_score(truth, np.concatenate([familiar, strange])))


def _mahalanobis(features: np.ndarray, labels: np.ndarray):
    """Squared distance to the nearest class mean, with one shrunk covariance for all classes
    (Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018)."""
    from sklearn.covariance import ledoit_wolf

    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    covariance, _ = ledoit_wolf(features - means[labels], assume_centered=True)
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    return lambda new: np.min([(((new - mean) @ whiten) ** 2).sum(axis=1) for mean in means], axis=0)


if __name__ == "__main__":
    main()

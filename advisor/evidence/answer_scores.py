"""How much a model's answers are worth beyond how many are right: ranks, confidence and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TOP = (2, 3, 5)  # that the truth may be among
SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)  # of the images, those that the model is most sure of


@dataclass(frozen=True)
class AnswerScores:
    """Scores of answers to labelled images.

    Attributes:
        auroc: how probably an image of a class gets a higher probability of it than one of another class, the
            mean over the classes (one against the rest), 0..1; None where there is one class alone.
        balanced_accuracy: mean recall of the classes that have images, 0..1.
        top: by k, the share of images whose true class is among the k most probable, 0..1.
        accuracy_of_surest: by share, the accuracy on this share of the images, those of which the model is
            most sure, 0..1.
    """

    auroc: float | None
    balanced_accuracy: float
    top: Mapping[int, float]
    accuracy_of_surest: Mapping[float, float]


def answer_scores(labels: np.ndarray, probabilities: np.ndarray) -> AnswerScores:
    """Score answers.

    Args:
        labels: int64 [n].
        probabilities: [n, classes].
    """
    right = probabilities.argmax(axis=1) == labels
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    so_far = np.cumsum(right[order]) / np.arange(1, len(labels) + 1)
    rank = (probabilities > probabilities[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    present = np.unique(labels)
    balanced = np.mean([right[labels == label].mean() for label in present])
    return AnswerScores(
        auroc=_auroc(labels, probabilities),
        balanced_accuracy=float(balanced),
        top={k: float((rank < k).mean()) for k in TOP if k < probabilities.shape[1]},
        accuracy_of_surest={share: float(so_far[max(1, round(share * len(labels))) - 1]) for share in SHARES},
    )


def _auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """See `AnswerScores.auroc`."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in present]))


@dataclass(frozen=True)
class Costs:
    """What the answers cost.

    Attributes:
        usual: mean cost of taking each image for its most probable class.
        least: mean cost of taking it for the class that is expected to cost least.
        changed: images that the latter takes for another class.
    """

    usual: float
    least: float
    changed: int


def cheapest(probabilities: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The class that is expected to cost least for each image, int64 [n] (Elkan, The foundations of
    cost-sensitive learning, IJCAI 2001).

    Args:
        probabilities: [n, classes].
        costs: [classes, classes], the true class in rows.
    """
    return (probabilities.astype(np.float64) @ costs).argmin(axis=1)


def measured_costs(labels: np.ndarray, probabilities: np.ndarray, costs: np.ndarray) -> Costs:
    """What the usual decision and the cheapest one cost on labelled images.

    Args:
        labels: int64 [n].
        probabilities: [n, classes].
        costs: [classes, classes], the true class in rows.
    """
    usual, least = probabilities.argmax(axis=1), cheapest(probabilities, costs)
    return Costs(
        usual=float(costs[labels, usual].mean()),
        least=float(costs[labels, least].mean()),
        changed=int((usual != least).sum()),
    )

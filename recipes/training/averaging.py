"""The average of the weights before and after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from advisor.advice.rule import CLEAR_GAIN, FEWEST_VALIDATION_IMAGES
from recipes.job import Weights

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the trained weights, that are tried


@dataclass(frozen=True)
class Average:
    """The best average of the weights before and after training.

    Attributes:
        share: of the weights after training, 0..1.
        gains: by how much its squared error is lower than that of the frozen network, on each validation
            image, [n], -2..2.
    """

    share: float
    gains: np.ndarray

    @property
    def standard_errors(self) -> float:
        """The mean gain, in standard errors; 0 where there is none."""
        mean, error = self.gains.mean(), self.gains.std() / np.sqrt(len(self.gains))
        return float(mean / error) if error > 0 else np.inf if mean > 0 else 0.0

    @property
    def is_clear(self) -> bool:
        """Whether training has shown to be better than none."""
        return len(self.gains) >= FEWEST_VALIDATION_IMAGES and self.standard_errors > CLEAR_GAIN


def mix(before: Weights, after: Weights, share: float) -> Weights:
    """Weights with a share of 0..1 of those after training."""
    # Not computed where it is nothing: training may have ended in infinities.
    return [old + share * (new - old) if share else old for old, new in zip(before, after, strict=True)]


def use_best_average(
    model: keras.Model,
    before: Weights,
    after: Weights,
    validation: tf.data.Dataset,
    labels: np.ndarray,
    frozen: np.ndarray,
    progress: Callable[[int, int], None],
) -> Average:
    """Give a model the best average of its weights before and after fine-tuning.

    Both lie in one valley of the loss; between them is often a better model than either (Wortsman et al.,
    Robust fine-tuning of zero-shot models, CVPR 2022). The best has the lowest Brier score on the
    validation split. Whether that is clearly lower than the frozen network's, the average knows: a validation
    split of forty images finds a better one by chance. Measured with benchmarks/averaging.py, table in
    benchmarks/README.md.

    Args:
        model: changed in place.
        before: of `model.get_weights()`, before the first step.
        after: the same, when training has ended.
        validation: batches with the pixels of n images.
        labels: of those, int64 [n].
        frozen: what the frozen network says of them, probabilities [n, classes].
        progress: called with steps done and all steps.
    """
    truth = np.eye(frozen.shape[1])[labels]
    brier = np.empty((len(SHARES), len(labels)))
    for step, share in enumerate(SHARES):
        model.set_weights(mix(before, after, share))
        probabilities = model.predict(validation, verbose=0)
        brier[step] = ((probabilities - truth) ** 2).sum(axis=1)
        progress(step + 1, len(SHARES))
    best = int(np.nanargmin(brier.mean(axis=1)))
    average = Average(SHARES[best], ((frozen - truth) ** 2).sum(axis=1) - brier[best])
    model.set_weights(mix(before, after, average.share))
    return average

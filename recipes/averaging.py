"""The average of the weights before and after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def use_best_average(
    model: keras.Model,
    before: list[np.ndarray],
    after: list[np.ndarray],
    validation: tf.data.Dataset,
    progress: Callable[[int, int], None],
) -> float:
    """Give a model the best average of its weights before and after fine-tuning.

    Both lie in one valley of the loss; between them is often a better model than either (Wortsman et al.,
    Robust fine-tuning of zero-shot models, CVPR 2022). The best has the lowest Brier score on the
    validation split. Where that is lower than before training by less than one standard error, the weights
    before training are taken: a validation split of forty images finds a better epoch by chance. Measured
    with benchmarks/averaging.py, table in benchmarks/README.md.

    Args:
        model: changed in place.
        before: of `model.get_weights()`, before the first step.
        after: the same, of the best epoch.
        validation: batches of (pixels, one-hot labels).
        progress: called with steps done and all steps.

    Returns:
        The share of `after`, 0..1.
    """

    def use(share: float) -> None:
        pairs = zip(before, after, strict=True)
        # Not computed where it is nothing: training may have ended in infinities.
        model.set_weights([old + share * (new - old) if share else old for old, new in pairs])

    truth = np.concatenate([np.asarray(labels) for _, labels in validation])
    brier = np.empty((len(SHARES), len(truth)))
    for step, share in enumerate(SHARES):
        use(share)
        brier[step] = ((model.predict(validation, verbose=0) - truth) ** 2).sum(axis=1)
        progress(step + 1, len(SHARES))
    best = int(np.nanargmin(brier.mean(axis=1)))
    gain = brier[0] - brier[best]
    is_clear = len(gain) > 1 and gain.mean() > gain.std() / np.sqrt(len(gain))
    share = SHARES[best] if is_clear else 0.0
    use(share)
    return share

"""The average of the weights before and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    shares: Sequence[float] = SHARES,
) -> float:
    """Give a model the best average of its weights before and after fine-tuning.

    Both lie in one valley of the loss; between them is often a better model than either, the more so where
    images are few (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022). Measured with
    benchmarks/averaging.py. The best has the lowest Brier score on the validation split.

    Args:
        model: compiled, with the metric "brier"; changed in place.
        before: of `model.get_weights()`, before the first step.
        after: the same, of the best epoch.
        validation: batches of (pixels, one-hot labels).
        progress: called with steps done and all steps.
        shares: of `after` that are tried.

    Returns:
        The share of `after`, 0..1.
    """

    def use(share: float) -> None:
        pairs = zip(before, after, strict=True)
        # Not computed where it is nothing: training may have ended in infinities.
        model.set_weights([old + share * (new - old) if share else old for old, new in pairs])

    briers = []
    for step, share in enumerate(shares, 1):
        use(share)
        briers.append(model.evaluate(validation, verbose=0, return_dict=True)["brier"])
        progress(step, len(shares))
    best = shares[int(np.nanargmin(briers))]
    use(best)
    return best

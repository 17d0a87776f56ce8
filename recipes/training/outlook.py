"""What a training that is under way will have brought when it ends, by the validation images so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advisor.advice import rule
from advisor.evidence.linear_head import judge, softmax
from recipes.training import pool


def taken_away(frozen: np.ndarray, trained: np.ndarray, labels: np.ndarray) -> float:
    """Of the log-loss of the frozen network on validation images, the share that the pool takes away.

    The pool is the better of the two earlier than the trained network alone is: at a high learning rate that
    one loses accuracy for half of its epochs, and still knows what the frozen network does not.

    Args:
        frozen: logits [n, classes] of the frozen network, whose head has not seen the images.
        trained: logits [n, classes] of the trained one after some epoch, or their log-probabilities.
        labels: int64 [n].

    Returns:
        At most 1; below 0 where the pool is worse.
    """
    weight = pool.best_weight(frozen, trained, labels)
    alone = judge(softmax(frozen), labels).loss
    both = judge(pool.probabilities(frozen, trained, weight), labels).loss
    return 1 - both / alone if alone > 0 else 0.0


def gain_at_end(shares: Sequence[float], epochs: int, error: float, images: int) -> float | None:
    """Accuracy over the frozen network that training will have gained after its last epoch, 0..1.

    Args:
        shares: `taken_away` after each epoch so far.
        epochs: that there will be.
        error: that the frozen network is expected to make, 0..1.
        images: validation images that the shares come from.

    Returns:
        None where it is too early, or where there are too few images to tell.
    """
    if len(shares) < rule.TOLD_FROM * epochs or images < rule.FEWEST_TO_TELL:
        return None
    return rule.gain_at_end(error, max(shares))

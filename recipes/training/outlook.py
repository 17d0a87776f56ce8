"""What a training that is under way will have brought when it ends, by the validation images so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.advice import rule
from advisor.evidence.linear_head import judge, softmax
from recipes.job import Job, Solved
from recipes.training import pool
from recipes.training.checkpoints import Checkpoints


def taken_away(frozen: np.ndarray, trained: np.ndarray, labels: np.ndarray) -> float:
    """Of the log-loss of the frozen network on validation images, the share that the pool takes away.

    The pool tells it earlier than the trained network alone: at a high learning rate that one is the worse of
    the two for half of its epochs, and still knows what the frozen network does not.

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


@dataclass(frozen=True)
class Outlook:
    """What is still expected of one training, whose pool with the frozen network will be kept.

    Attributes:
        checkpoints: with its history so far.
        epochs: that there will be, at most.
        frozen: logits float64 [n, classes] of the frozen network on the validation images, which its head has
            not seen.
        labels: of these, int64 [n].
        error: that the frozen network is expected to make, 0..1.
        may_stop: whether training may end before its last epoch.
    """

    checkpoints: Checkpoints
    epochs: int
    frozen: np.ndarray
    labels: np.ndarray
    error: float
    may_stop: bool

    @staticmethod
    def of(job: Job, solved: Solved | None, checkpoints: Checkpoints) -> Outlook | None:
        """Of a training that is about to begin or go on; None where no pool will be kept."""
        if solved is None or not job.settings.pools:
            return None
        at = job.data.indices("validation")
        return Outlook(
            checkpoints=checkpoints,
            epochs=job.settings.epochs,
            frozen=solved.judged.logits(job.head_features(at)).astype(np.float64),
            labels=job.data.labels[at],
            error=solved.error,
            may_stop=job.settings.stop_early and "epochs" not in job.settings.by_hand,
        )

    def taken_away(self, probabilities: np.ndarray) -> float:
        """As the function of this name.

        Args:
            probabilities: of the trained network on the validation images, [n, classes].
        """
        return taken_away(self.frozen, np.log(np.maximum(probabilities, 1e-30)), self.labels)

    def at_end(self) -> float | None:
        """As `gain_at_end`, by the history so far."""
        shares = [row.taken_away for row in self.checkpoints.history if row.epoch > 0]
        return gain_at_end(shares, self.epochs, self.error, len(self.labels))

    def is_over(self) -> bool:
        """Whether the epochs that are left are not worth their time."""
        gain, done = self.at_end(), self.checkpoints.epochs_done()
        if gain is None or not self.may_stop:
            return False
        left = (self.epochs - done) * self.checkpoints.seconds() / done
        return gain < rule.least_gain(left)

    def in_words(self) -> str:
        """For the line under the bar; nothing where nothing can be told."""
        gain = self.at_end()
        return "" if gain is None else f"gain expected {100 * gain:+.1f} points"

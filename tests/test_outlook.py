"""What is still expected of a training that is under way, and when it is stopped."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.advice import rule
from recipes.training import outlook


def logits_of(right: int, images: int = 100) -> np.ndarray:
    """Of a network that is right about the first so many of images, all of class 0 of two."""
    truth = np.where(np.arange(images) < right, 2.0, -2.0)
    return np.stack([truth, -truth], axis=1)


LABELS = np.zeros(100, np.int64)


def test_what_the_pool_takes_away_of_the_log_loss_is_told():
    frozen = logits_of(80)
    nothing, little, much = (outlook.taken_away(frozen, logits_of(right), LABELS) for right in (80, 85, 95))
    assert nothing == pytest.approx(0)
    assert 0 < little < much < 1
    assert outlook.taken_away(frozen, logits_of(40), LABELS) < 0


def test_the_gain_at_the_end_is_told_from_enough_epochs_and_images():
    enough, few = rule.FEWEST_TO_TELL, rule.FEWEST_TO_TELL - 1
    assert outlook.gain_at_end([0.2] * 5, 20, 0.1, enough) is None
    assert outlook.gain_at_end([0.2] * 6, 20, 0.1, few) is None
    told = outlook.gain_at_end([0.1, 0.2, -0.3, -0.3, 0.0, 0.1], 20, 0.1, enough)
    assert told == pytest.approx(rule.gain_at_end(0.1, 0.2))
    assert outlook.gain_at_end([-0.9] * 6, 20, 0.1, enough) == 0
    assert outlook.gain_at_end([0.2] * 6, 20, 0.02, enough) < rule.least_gain(0) < told

"""How the minutes of a comparison are shared, so that all of it ends when they are over."""

from __future__ import annotations

import time
from collections.abc import Mapping

from advisor.advice import plan
from advisor.advice.settings import Settings
from advisor.evidence.outliers import MOST
from advisor.evidence.pooling import AVERAGE

# Seconds of a training beside those that its images take, as `advisor compare` on 398 images of 96 pixels
# spends them on 2 cores: loading and decoding; turning the gradient step into a graph; the averages, saving
# the model, turning it into its fastest form, and its page.
BEFORE_STEPS, TRACE, AFTER_STEPS = 4.0, 7.0, 15.0
# Seconds that an image takes while a head on all depths is solved, on the machine of `plan`; measured on
# 3,670 images of flowers.
SOLVE_SECONDS = 0.002
# The same for each three images where the head sees cells: 5,000 of 38,352 numbers took 35 s beside other
# work, with what each image takes.
DECOMPOSE_SECONDS = 1.5e-10
# Passes through the validation images after the last step: of its epoch, six averages, the end.
VALIDATIONS = 8


class Budget:
    """What is left of the minutes for all recipes together.

    Attributes:
        seconds: that there were.
        began: when, as `time.monotonic` tells it.
        late: seconds by which the last training that ran out of time ended after its share, beyond what was
            expected of it; the next one stops so much earlier.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds, self.began, self.late = 60 * minutes, time.monotonic(), 0.0

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def share(self, needs: float, others: int) -> float | None:
        """Seconds that the next recipe may take; None where too little is left for it.

        Args:
            needs: that it takes at least.
            others: recipes that wait behind it. What is left is shared equally among as many as it is enough
                for, the first ones first.
        """
        left, needs = self.seconds - self.spent(), needs and needs + self.late
        if left <= needs:
            return None
        return left / (min(others + 1, int(left / needs)) if needs else others + 1)


def needed(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds that a training takes at least: one epoch and all that belongs to it.

    Nothing for a recipe without gradient steps on images: it is always begun.

    Args:
        settings: of the recipe.
        images: of each split.
    """
    if not settings.trains_on_images:
        return 0.0
    step = plan.STEP_SECONDS if settings.trains_backbone else plan.FORWARD_SECONDS
    epoch = images["train"] * step * plan.slowness(settings.training_size)
    return BEFORE_STEPS + _solving(settings, images) + TRACE + epoch + after_steps(settings, images)


def after_steps(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds from the last gradient step of a training to the page of its run; arguments as for `needed`."""
    if not settings.trains_on_images:
        return 0.0
    forward = VALIDATIONS * images["validation"] * plan.FORWARD_SECONDS
    embedded = min(MOST, images["train"]) + min(MOST, images["validation"]) + images["test"]
    looking = (forward + embedded * plan.EMBED_SECONDS) * plan.slowness(settings.image_size)
    return AFTER_STEPS + looking + 2 * _solving(settings, images)


def _solving(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds that one head on frozen features takes: one is fitted before training, two after it."""
    if settings.init == "random":
        return 0.0
    fitted = images["train"]
    decomposed = fitted**3 * DECOMPOSE_SECONDS if settings.pooling != AVERAGE else 0.0
    return (fitted * SOLVE_SECONDS + decomposed) * plan.slowness(224)

"""The optimizer of a training and what becomes of its learning rate, as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisor.advice.settings import Settings

if TYPE_CHECKING:
    import keras

WARM_UP = 0.1  # of all steps of the schedule "cosine"


def optimizer(
    settings: Settings, learning_rate: Any, clip: float | None = None
) -> keras.optimizers.Optimizer:
    """The optimizer of a training.

    Args:
        settings: which one.
        learning_rate: from `schedule`.
        clip: the norm that all gradients together have at most; None for any.
    """
    from keras import optimizers

    common = {"learning_rate": learning_rate, "global_clipnorm": clip}
    decay = settings.weight_decay
    if settings.optimizer == "adamw":
        return optimizers.AdamW(weight_decay=decay, **common)
    if settings.optimizer == "adam":
        return optimizers.Adam(weight_decay=decay or None, **common)
    momentum = {"momentum": settings.momentum, "weight_decay": decay or None}
    if settings.optimizer == "sgd":
        return optimizers.SGD(nesterov=settings.nesterov, **momentum, **common)
    return optimizers.RMSprop(**momentum, **common)


def rate_at(learning_rate: Any, step: int) -> float:
    """The learning rate of one step.

    Args:
        learning_rate: from `schedule`.
        step: from 0.
    """
    return float(learning_rate(step)) if callable(learning_rate) else learning_rate


def schedule(settings: Settings, rate: float, epochs: int, steps: int) -> Any:
    """What `keras.optimizers` takes for a learning rate: a number, or a function of the steps done.

    Args:
        settings: which schedule.
        rate: the highest.
        epochs: that it is for.
        steps: of each epoch.
    """
    from keras.optimizers import schedules

    if settings.schedule == "constant":
        return rate
    if settings.schedule == "inverse time":
        return schedules.InverseTimeDecay(rate, 1, settings.decay)
    if settings.schedule == "step":
        ends = range(settings.step_epochs, epochs, settings.step_epochs)
        rates = [rate * settings.step_factor**number for number in range(len(ends) + 1)]
        return schedules.PiecewiseConstantDecay([end * steps - 1 for end in ends], rates) if ends else rate
    warm_up = max(1, round(WARM_UP * epochs * steps))
    return schedules.CosineDecay(
        0.0, max(1, epochs * steps - warm_up), warmup_target=rate, warmup_steps=warm_up
    )

"""The phases of a training on images: the head alone, where that was asked for, then all that is trained."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.advice.settings import Settings


@dataclass(frozen=True)
class Phase:
    """Some epochs of a training, with an optimizer of their own.

    Attributes:
        name: as in the history.
        begins: epochs that are done before it.
        ends: epochs that are done after it.
        train_from: the first layer that is trained, as in `Settings`.
        rate: the highest learning rate.
    """

    name: str
    begins: int
    ends: int
    train_from: str | None
    rate: float

    @property
    def epochs(self) -> int:
        """How many it has."""
        return self.ends - self.begins


def phases(settings: Settings) -> tuple[Phase, ...]:
    """One phase, or two where `settings.head_epochs` train the head alone."""
    alone, whole = settings.head_epochs, settings.epochs
    last = Phase("training", alone, whole, settings.train_from, settings.learning_rate)
    return (Phase("head", 0, alone, None, settings.head_learning_rate), last) if alone else (last,)

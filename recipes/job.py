"""What a recipe is given and what it gives back: the one shape that all recipes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.data.dataset import Dataset
from advisor.evidence.embedding import Features
from advisor.evidence.signed_root import signed_root
from advisor.results import Epoch
from advisor.system.progress import Display, Silent

if TYPE_CHECKING:
    import keras

    from recipes.training.averaging import Average

Weights: TypeAlias = list[np.ndarray]
# Called with the model as it is kept, its weights before and after training, and their best average; it has
# to leave the model as it was.
Observe: TypeAlias = Callable[["keras.Model", Weights, Weights, "Average"], None]


@dataclass(frozen=True)
class Job:
    """One model to build and train.

    Attributes:
        data: all of its files could be read.
        backbone: as the settings name it.
        features: of all images at `settings.image_size`, in the order of `data`; None where the
            weights are random, for then they say nothing.
        settings: what to build.
        folder: the run folder; a recipe writes to `checkpoints/` and `logs/` in it.
        seed: of everything random.
        resume: go on from `checkpoints/`.
        deadline: after which no gradient step begins, as `time.monotonic` tells it; None for no limit.
        display: where progress is shown.
        observe: who wants to know how training compares with what it started from, if anybody does.
    """

    data: Dataset
    backbone: Backbone
    features: Features | None
    settings: Settings
    folder: Path
    seed: int
    resume: bool = False
    deadline: float | None = None
    display: Display = field(default_factory=Silent)
    observe: Observe | None = None

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.data.class_names)

    def head_features(self, at: np.ndarray | None = None) -> np.ndarray:
        """What the head sees on the frozen backbone; only where `features` are known.

        Args:
            at: positions of images, int64 [n]; all images if left out.

        Returns:
            float32 [n, d].
        """
        assert self.features is not None
        features = self.features if at is None else self.features.take(at)
        pooled = features.together(self.settings.taps)
        return signed_root(pooled) if self.settings.roots else pooled

    def image_weights(self, positions: np.ndarray) -> np.ndarray:
        """How much images at these positions, int64 [n], count: float64 [n] of mean 1.

        By `settings.class_weights`.
        """
        labels = self.data.labels[positions]
        if self.settings.class_weights == "none":
            return np.ones(len(labels))
        weights = 1 / np.sqrt(np.bincount(labels, minlength=self.classes)[labels])
        return weights / weights.mean()


@dataclass(frozen=True)
class Trained:
    """What a recipe gives back.

    Attributes:
        model: images in 0..255 to probabilities; plain Keras.
        history: by epoch.
        validation: probabilities float32 [n, classes] on the validation split, by a model that did not
            learn from it.
        complete: whether all epochs were trained, or patience was over; False where time was.
        precision: Keras' dtype policy while training.
        share: of the trained weights in the model's, 0..1, see `recipes.training.averaging`; None where only
            features were trained on.
        earlier_seconds: of epochs that were trained before an interruption.
    """

    model: keras.Model
    history: tuple[Epoch, ...]
    validation: np.ndarray
    complete: bool = True
    precision: str = "float32"
    share: float | None = None
    earlier_seconds: float = 0.0

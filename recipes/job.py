"""What a recipe is given and what it gives back: the one shape that all recipes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.data.dataset import Dataset
from advisor.evidence.features import Features
from advisor.evidence.gaussian import Gaussian
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import LinearHead
from advisor.evidence.signed_root import signed_root
from advisor.results import Epoch
from advisor.system.progress import Display, Silent

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Weights: TypeAlias = list[np.ndarray]
# Called before gradient steps begin, with the frozen model as it would be finished.
OnFrozen: TypeAlias = Callable[["Trained"], None]


class Observer(Protocol):
    """Who looks at the networks of a training; they have to be left as they are."""

    def after_epoch(self, model: keras.Model, probabilities: np.ndarray) -> None:
        """Look at the network after each epoch.

        Args:
            model: the network.
            probabilities: of it on the validation images, float32 [n, classes].
        """

    def after_training(self, job: Job, networks: Networks, validation: tf.data.Dataset) -> None:
        """Look at both networks before one of them or both are kept.

        Args:
            job: that is done.
            networks: the frozen one and the trained one.
            validation: batches of the validation images with their one-hot labels.
        """


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
        observer: who looks at the networks, if anybody does.
        on_frozen: who wants the frozen model before gradient steps begin, if anybody does; then Ctrl-C ends
            training as time does, once an epoch was trained.
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
    observer: Observer | None = None
    on_frozen: OnFrozen | None = None

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.data.class_names)

    def head_features(self, at: np.ndarray | None = None, averages_alone: bool = False) -> HeadInput:
        """What a linear head of the frozen network sees; only where `features` are known.

        Args:
            at: positions of images, int64 [n]; all images if left out.
            averages_alone: over the whole picture, as training on images begins; else all that the settings
                say.

        Returns:
            What is shown in `assembly.Seen`: averages, cells, likenesses, and last, with
            `settings.base_labels`, what the backbone's own classifier sees.
        """
        assert self.features is not None
        if self.settings.sees_cells and not averages_alone:
            seen = self.features.with_cells(self.settings.taps)
        elif self.settings.roots:
            seen = self.features.whole_picture(self.settings.taps)
        else:
            seen = HeadInput((self.averages(),))
        if self.settings.sees_likeness and not averages_alone:
            seen = seen.and_likeness(*self._gaussian)
        if self.settings.base_labels:
            seen = HeadInput((*seen.parts, self.features.last()), (*seen.shares, 0.0))
        return seen if at is None else seen.take(at)

    @cached_property
    def fitted(self) -> np.ndarray:
        """Positions of the training and the validation images, of which a frozen head learns in the end."""
        return np.sort(np.concatenate([self.data.indices("train"), self.data.indices("validation")]))

    @cached_property
    def _gaussian(self) -> tuple[Gaussian, np.ndarray]:
        """The kernel of the training and validation images; and which of these each image is, int64 [n]."""
        own = np.full(len(self.data), -1)
        own[self.fitted] = np.arange(len(self.fitted))
        return Gaussian.of(self.averages(self.fitted)), own

    def averages(self, at: np.ndarray | None = None) -> np.ndarray:
        """Features over the whole picture alone.

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
class Solved:
    """The convex heads on what the frozen network sees, `Job.head_features`.

    Attributes:
        judged: fitted to the training images alone, so that the validation images can judge it.
        used: fitted to both; it is what is kept.
        error: of `judged` by leave-one-out on the training images, 0..1.
        truth: the probability that `used` gives the true class of each training and validation image, had it
            not seen that one, float32 [n].
    """

    judged: LinearHead
    used: LinearHead
    error: float
    truth: np.ndarray


@dataclass(frozen=True)
class Networks:
    """The frozen network and the trained one, of which one or both are kept.

    Attributes:
        frozen: the head on `Job.head_features`; it has learnt from the validation images, too.
        frozen_logits: of a head that has not seen the validation images on these, float64 [n, classes].
        trained: from images to probabilities, in single precision.
        trained_logits: of it on the validation images, float64 [n, classes].
        start: the weights that training began with, in the order of `trained.get_weights()`.
    """

    frozen: LinearHead
    frozen_logits: np.ndarray
    trained: keras.Model
    trained_logits: np.ndarray
    start: Weights


@dataclass(frozen=True)
class Choice:
    """What was kept after training that began from a head on frozen features.

    Attributes:
        networks: that there were.
        rule: it was chosen by, one of `advisor.choices.KEEP`.
        weight: of the trained network's logits in the model's, 0..1; 0 is the frozen network alone, 1 the
            trained one alone.
        share: of the weights after training in the trained network's, 0..1, the rest being those before it;
            None where nothing was averaged.
    """

    networks: Networks
    rule: str
    weight: float
    share: float | None = None


@dataclass(frozen=True)
class Trained:
    """What a recipe gives back.

    Attributes:
        model: images in 0..255 to probabilities; plain Keras.
        history: by epoch.
        validation: probabilities float32 [n, classes] on the validation split, by a model that did not
            learn from it.
        test: probabilities float32 [n, classes] of the model on the test split, where they follow from
            features that are known; else None.
        complete: whether all epochs were trained, or patience was over; False where time was.
        interrupted: whether Ctrl-C ended training.
        precision: Keras' dtype policy while training.
        choice: how the model was chosen; None where training began from no head on frozen features.
        earlier_seconds: of epochs that were trained before an interruption.
        lost_patience: whether training ended because the best epoch was too long ago.
        truth: see `Solved`, where the model is the frozen network with that head; else None.
    """

    model: keras.Model
    history: tuple[Epoch, ...]
    validation: np.ndarray
    test: np.ndarray | None = None
    complete: bool = True
    interrupted: bool = False
    precision: str = "float32"
    choice: Choice | None = None
    earlier_seconds: float = 0.0
    lost_patience: bool = False
    truth: np.ndarray | None = None

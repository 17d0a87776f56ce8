"""Decoded images for gradient steps: kept on disk while a run is unfinished, handed out in batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.data import images
from advisor.system.storage import remove
from recipes.job import Job
from recipes.training import augmentation

if TYPE_CHECKING:
    import tensorflow as tf

VALIDATION_BATCH = 32  # images


@dataclass(frozen=True)
class Pixels:
    """The images that one training sees.

    Attributes:
        job: that they belong to.
        training: uint8 [n, stored, stored, 3], in the order of the training split; a little larger than
            what training sees, so that crops have room to move.
        validation: uint8 [m, size, size, 3], in the order of the validation split.
    """

    job: Job
    training: np.ndarray
    validation: np.ndarray

    def training_batches(self, epoch: int) -> tf.data.Dataset:
        """Shuffled, augmented batches of (pixels, one-hot labels, weights), once through the training split.

        Args:
            epoch: from 0; it decides the random numbers together with the seed, so that they are the same
                after an interruption.
        """
        import tensorflow as tf

        job, pixels = self.job, self.training
        positions, settings, seed = job.data.indices("train"), job.settings, job.seed + 1000 * epoch
        augment = augmentation.pipeline(settings.augmentation, settings.training_size, seed)
        labels, size = self._one_hot(positions), pixels.shape[1]
        weights = job.image_weights(positions).astype(np.float32)

        def fetch(rows: tf.Tensor) -> Any:
            batch = tf.numpy_function(lambda at: pixels[np.sort(at)], [rows], tf.uint8)
            return tf.ensure_shape(batch, (None, size, size, 3)), tf.sort(rows)

        def change(batch: tf.Tensor, rows: tf.Tensor) -> Any:
            batch = augment(tf.cast(batch, tf.float32), training=True)
            return batch, tf.gather(labels, rows), tf.gather(weights, rows)

        return (
            tf.data.Dataset.range(len(positions))
            .shuffle(len(positions), seed=seed)
            .batch(settings.batch_size)
            .map(fetch, num_parallel_calls=2)
            .map(change)  # one at a time: two would race for the random numbers
            .prefetch(2)
        )

    def validation_batches(self) -> tf.data.Dataset:
        """Batches of (pixels, one-hot labels), once through the validation split, in order."""
        import tensorflow as tf

        pixels = self.validation
        positions = self.job.data.indices("validation")
        labels, size = self._one_hot(positions), pixels.shape[1]

        def fetch(rows: tf.Tensor) -> Any:
            batch = tf.numpy_function(lambda at: pixels[at], [rows], tf.uint8)
            return tf.cast(tf.ensure_shape(batch, (None, size, size, 3)), tf.float32), tf.gather(labels, rows)

        batches = tf.data.Dataset.range(len(positions)).batch(VALIDATION_BATCH)
        return batches.map(fetch, num_parallel_calls=2).prefetch(2)

    def _one_hot(self, positions: np.ndarray) -> np.ndarray:
        return np.eye(self.job.classes, dtype=np.float32)[self.job.data.labels[positions]]


def decode(job: Job) -> Pixels:
    """Decode the training and the validation images of a job.

    Raises:
        InputError: one of them has changed since it was measured.
    """
    stored = math.ceil(job.settings.training_size * augmentation.MARGIN)
    training = _decode(job, "train", "training", stored)
    return Pixels(job, training, _decode(job, "validation", "validation", job.settings.image_size))


def _decode(job: Job, split: str, name: str, size: int) -> np.ndarray:
    """Images of one split, uint8 [n, size, size, 3], kept in the run folder until the run is finished."""
    file = job.folder / "checkpoints" / f"pixels-{name}-{size}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink() or not file.is_file():
        remove(file)
    bar = job.display.steps(f"Decoding {name} images")
    paths = [job.data.paths[i] for i in job.data.indices(split)]
    return images.decode_all(paths, size, file, bar, job.settings.fit, job.settings.grey)

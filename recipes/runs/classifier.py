"""The saved model of a run at work: the one way from image files to features and probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from advisor.data import images
from advisor.evidence import forward
from advisor.system.storage import open_plain
from recipes.runs import run_files
from recipes.training.assembly import WHOLE_PICTURE

if TYPE_CHECKING:
    import keras


class Batch(NamedTuple):
    """What the model says of a few images.

    Attributes:
        positions: of the images among the files that were given, int64 [b].
        features: that tell images unlike those of the run, see `_last_features`, float32 [b, d].
        probabilities: float32 [b, classes].
    """

    positions: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Classifier:
    """The saved model of a run as a fast function.

    Attributes:
        image_size: pixels of the square input.
        call: uint8 [b, size, size, 3], b up to `forward.BATCH`, to features [b, d] and probabilities
            [b, classes].
    """

    image_size: int
    call: forward.Forward

    def classify(
        self,
        paths: Sequence[str],
        unreadable: Callable[[int, str], None],
        progress: Callable[[int, int], None],
    ) -> Iterator[Batch]:
        """Classify image files in order; memory stays flat.

        Args:
            paths: the files.
            unreadable: called with position and reason for each file that cannot be decoded.
            progress: called with images done and images to do.
        """
        for positions, pixels in images.stream(paths, self.image_size, forward.BATCH, unreadable):
            features, probabilities = self.call(pixels)
            yield Batch(positions, features, probabilities)
            progress(int(positions[-1]) + 1, len(paths))


def load(folder: Path, image_size: int, model: keras.Model | None = None) -> Classifier:
    """The classifier of a run folder, which holds model.keras.

    The model itself is read only where the cache does not have it in the form that runs fastest.

    Args:
        folder: of the run.
        image_size: pixels of the square input.
        model: what was saved in the folder, where it is in memory already; that saves loading it.

    Raises:
        InputError: the model cannot be loaded, takes other images, or gives no probabilities.
    """

    def build() -> keras.Model:
        import keras

        whole = load_model(folder) if model is None else model
        outputs = [*_last_features(whole), *whole.outputs]
        images_in = [tuple(tensor.shape) for tensor in whole.inputs]
        if images_in != [(None, image_size, image_size, 3)]:
            raise run_files.damaged(folder, f"its model does not take images of {image_size} pixels")
        if [len(tensor.shape) for tensor in outputs] != [2, 2]:
            raise run_files.damaged(folder, "its model does not end in one layer of probabilities")
        return keras.Model(whole.inputs[0], outputs)

    with run_files.reading(folder, "model.keras"), open_plain(folder / "model.keras") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Classifier(image_size, forward.runner(build, digest, image_size))


def load_model(folder: Path) -> keras.Model:
    """The saved model in plain Keras, without running anything from the file.

    Raises:
        InputError: it is damaged, or could run something.
    """
    from advisor.backbones.keras_file import load_safely

    return load_safely(folder / "model.keras")


def _last_features(model: keras.Model) -> list[Any]:
    """The averages over the whole picture; of a model without their layer, what goes into its last layer."""
    if WHOLE_PICTURE in {layer.name for layer in model.layers}:
        return [model.get_layer(WHOLE_PICTURE).output]
    try:
        features = model.layers[-1].input
    except AttributeError:  # it is used several times, or never
        return []
    return features if isinstance(features, list) else [features]

"""The saved model of a run at work: the one way from image files to features and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from advisor.advice.settings import Settings
from advisor.data import images
from advisor.data.deep_grey import GreyRange
from advisor.evidence import forward
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
        fit: how images become squares, one of `advisor.choices.FITS`.
        grey: the values of deep grey that are black and white.
        digest: the SHA-256 of model.keras, in hexadecimal digits.
        call: uint8 [b, size, size, 3], to features [b, d] and probabilities [b, classes].
    """

    image_size: int
    fit: str
    grey: GreyRange | None
    digest: str
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
        of = paths, self.image_size, forward.BATCH, unreadable, self.fit, self.grey
        for positions, pixels in images.stream(*of):
            features, probabilities = self.call(pixels)
            yield Batch(positions, features, probabilities)
            progress(int(positions[-1]) + 1, len(paths))


def load(folder: Path, image_size: int, fit: str, grey: GreyRange | None) -> Classifier:
    """The classifier of a run folder, which holds model.keras.

    The model itself is read only where the cache does not have it in the form that runs fastest.

    Args:
        folder: of the run.
        image_size: pixels of the square input.
        fit: how images become squares.
        grey: the values of deep grey that are black and white.

    Raises:
        InputError: the model cannot be loaded, takes other images, or gives no probabilities.
    """
    digest = run_files.digest(folder, "model.keras")

    def read() -> keras.Model:
        model = load_model(folder)
        if run_files.digest(folder, "model.keras") != digest:
            raise run_files.exchanged(folder)
        return model

    return _classifier(read, folder, digest, image_size, fit, grey)


def of(model: keras.Model, file: Path, settings: Settings) -> Classifier:
    """The classifier of a model that was saved and is still in memory.

    Args:
        model: from images to probabilities.
        file: it was saved as, in the folder of its run.
        settings: that it was built with.
    """
    digest = run_files.digest(file.parent, file.name)
    return _classifier(lambda: model, file.parent, digest, settings.image_size, settings.fit, settings.grey)


def _classifier(
    read: Callable[[], keras.Model],
    folder: Path,
    digest: str,
    image_size: int,
    fit: str,
    grey: GreyRange | None,
) -> Classifier:
    """A model as a classifier; it is read if it is not known by its digest."""

    def build() -> keras.Model:
        import keras

        whole = read()
        outputs = [*_last_features(whole), *whole.outputs]
        images_in = [tuple(tensor.shape) for tensor in whole.inputs]
        if images_in != [(None, image_size, image_size, 3)]:
            raise run_files.damaged(folder, f"its model does not take images of {image_size} pixels")
        if [len(tensor.shape) for tensor in outputs] != [2, 2]:
            raise run_files.damaged(folder, "its model does not end in one layer of probabilities")
        return keras.Model(whole.inputs[0], outputs)

    return Classifier(image_size, fit, grey, digest, forward.runner(build, digest, image_size))


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

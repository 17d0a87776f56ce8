"""Data sets that come with a package, written out once as PNG files, so that all data are files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from advisor.data.written_once import write_once
from advisor.errors import InputError, one_line


def write_digits() -> Path:
    """The 1,797 handwritten digits of scikit-learn, 8 x 8 pixels, grey levels 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    def digits() -> Iterable[tuple[str, np.ndarray]]:
        data = load_digits()
        for label, image in zip(data.target, data.images, strict=True):
            yield str(label), (image * (255 / 16)).round().astype(np.uint8)

    return _write_once("sklearn-digits", digits)


def write_tfds(name: str) -> Path:
    """All splits of a TensorFlow Datasets image data set, as PNG files.

    Raises:
        InputError: the extra is not installed, the name is unknown, or the data set has no image and label.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError(
            "tfds:NAME needs TensorFlow Datasets; run: pip install 'transfer-advisor[tfds]'"
        ) from None
    try:
        builder = tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        raise InputError(
            f"TensorFlow Datasets has no {name!r}; see tensorflow.org/datasets/catalog"
        ) from None
    features = builder.info.features
    if features is None or not {"image", "label"} <= set(features):
        raise InputError(
            f"{name!r} has no feature 'image' with a 'label'; choose an image classification set"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # its errors are of many kinds, most of them of the network
        raise InputError(f"cannot get tfds:{name} ({one_line(error)}); check the network") from None

    def examples() -> Iterable[tuple[str, np.ndarray]]:
        splits = [split for split in builder.info.splits if split in ("train", "validation", "test")]
        for split in splits if "train" in splits else builder.info.splits:
            for example in tfds.as_numpy(builder.as_dataset(split=split)):
                label = features["label"].int2str(int(example["label"])).replace("/", "_")
                folder = f"{split}/{label}" if "train" in splits and len(splits) > 1 else label
                yield folder, example["image"].squeeze()

    return _write_once(f"tfds-{builder.info.full_name.replace('/', '-')}", examples)


def _write_once(name: str, examples: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> Path:
    """Write (folder, pixels) pairs below the cache, unless an earlier call did so and all is still there."""

    def fill(folder: Path) -> None:
        for number, (inside, pixels) in enumerate(examples()):
            (folder / inside).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / inside / f"{number:06}.png")

    return write_once(name, fill)

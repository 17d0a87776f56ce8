"""Data sets that come with a package, written out once as PNG files, so that all data are files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from advisor.errors import InputError, one_line
from advisor.system import cache
from advisor.system.storage import cache_folder, remove

LISTING = ".listing"  # in the folder of each data set: a digest of the names and sizes of its files


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
    folder = cache_folder() / "data" / name
    cache.use(folder)
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        for number, (inside, pixels) in enumerate(examples()):
            (unfinished / inside).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(unfinished / inside / f"{number:06}.png")
        (unfinished / LISTING).write_text(_listed(unfinished), encoding="utf-8")
        if hasattr(os, "sync"):
            os.sync()  # once for all of the files
        if not _is_whole(folder):
            remove(folder)  # something was deleted from it, or an older version wrote it
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not _is_whole(folder):  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    cache.trim()
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / LISTING).read_text(encoding="utf-8") == _listed(folder)
    except (OSError, ValueError):
        return False


def _listed(folder: Path) -> str:
    """A digest of the names and sizes of all files in a folder, hexadecimal."""
    files = []
    for inside, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inside, name)
            files.append(f"{os.path.relpath(path, folder)}\0{os.path.getsize(path)}")
    listed = "\n".join(sorted(file for file in files if not file.startswith(f"{LISTING}\0")))
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()

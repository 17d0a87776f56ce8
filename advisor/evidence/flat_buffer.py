"""A network as a LiteRT (TFLite) flat buffer: made once on this machine, and kept in its own cache.

LiteRT's parser is native code that believes what it reads, so that no flat buffer from anywhere else reaches
it: not one of a run folder, and none from the cache that is not, to the byte, what was put there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.system import cache, devices
from advisor.system.storage import cache_folder, replacing

if TYPE_CHECKING:
    import keras

WRITER = "written 1"  # changes with what is written for the same network


def of(
    build: Callable[[], keras.Model],
    key: str,
    image_size: int,
    batch: int,
    write: Callable[[int], bytes] | None = None,
) -> bytes | None:
    """A network as a flat buffer, from the cache if it is there.

    Args:
        build: gives the model, in inference mode with a list of outputs; not called where the cache has it.
        key: changes with the architecture, the weights and the choice of outputs.
        image_size: pixels of the square input.
        batch: images that it takes at once.
        write: gives the flat buffer of `batch` images itself, for a network that needs no converter.

    Returns:
        From float32 [batch, size, size, 3] to outputs that are called Identity, Identity_1 ... in the order
        of the model's; None for a network that the converter does not take.
    """
    maker = WRITER if write else _version()
    name = "\0".join((key, str(image_size), str(batch), maker))
    file = cache_folder() / "litert" / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.checked"
    cache.use(file)
    kept = _read_checked(file)
    if kept is not None:
        return kept
    content = write(batch) if write else _convert(build(), image_size, batch)
    if content is not None:
        _write_checked(file, content)
        cache.trim()
    return content


def _version() -> str:
    """Of TensorFlow, without importing it; empty for a build of it under another name."""
    try:
        return metadata.version("tensorflow")
    except metadata.PackageNotFoundError:
        return ""


def _convert(model: keras.Model, image_size: int, batch: int) -> bytes | None:
    """What TensorFlow's converter makes of a model; None where it does not take it."""
    devices.load_tensorflow()
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = tf.TensorSpec((batch, image_size, image_size, 3), tf.float32)
    try:
        graph = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(shape)
        frozen = convert_variables_to_constants_v2(graph)
        with devices.muted():
            # Without the model, as it would have outputs renamed and put in another order.
            return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except Exception:  # the converter's errors are of many kinds; TensorFlow itself runs every network
        return None


def _write_checked(file: Path, content: bytes) -> None:
    """Keep a flat buffer behind its own digest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as unfinished, unfinished.open("wb") as out:
        out.write(hashlib.sha256(content).digest())
        out.write(content)


def _read_checked(file: Path) -> bytes | None:
    """What `_write_checked` kept; None where it is not there or has changed: a damaged flat buffer would
    bring the whole process down, since LiteRT reads it without looking."""
    try:
        with file.open("rb") as kept:
            digest, content = kept.read(hashlib.sha256().digest_size), kept.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == digest else None

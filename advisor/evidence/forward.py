"""The fastest way from pixels to a network's outputs on this machine."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from advisor.system import cache, devices
from advisor.system.storage import cache_folder, replacing

if TYPE_CHECKING:
    import keras

BATCH = 16  # the fastest of 8, 16 and 32 for EfficientNet-Lite0 on 2 cores

Forward = Callable[[np.ndarray], list[np.ndarray]]


def runner(build: Callable[[], keras.Model], key: str, image_size: int) -> Forward:
    """From uint8 [b, size, size, 3], with b up to `BATCH`, to a list of arrays, one for each output.

    Args:
        build: gives the model, in inference mode with a list of outputs; not called where the cache
            already has it in the form that runs fastest.
        key: changes with the architecture, the weights and the choice of outputs.
        image_size: pixels of the square input.
    """
    devices.load_tensorflow()
    import tensorflow as tf

    if not devices.gpus():
        flat = _flat_buffer(build, key, image_size)
        if flat is not None:
            return _litert_runner(flat)
    model = build()
    call = tf.function(lambda pixels: model(tf.cast(pixels, tf.float32), training=False))
    return lambda pixels: [np.asarray(output) for output in call(pixels)]


def _flat_buffer(build: Callable[[], keras.Model], key: str, image_size: int) -> bytes | None:
    """The model as a LiteRT (TFLite) flat buffer, whose XNNPACK kernels are the fastest on a CPU.

    Converted once and kept in the cache; None for a network that the converter does not take.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    name = "\0".join((key, str(image_size), str(BATCH), tf.__version__))
    file = cache_folder() / "litert" / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.checked"
    cache.use(file)
    kept = _read_checked(file)
    if kept is not None:
        return kept
    model = build()
    shape = tf.TensorSpec((BATCH, image_size, image_size, 3), tf.float32)
    try:
        graph = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(shape)
        frozen = convert_variables_to_constants_v2(graph)
        with devices.muted():
            # Without the model, as it would have outputs renamed and put in another order.
            content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except Exception:  # the converter's errors are of many kinds; TensorFlow itself runs every network
        return None
    _write_checked(file, content)
    cache.trim()
    return content


def _write_checked(file: Path, content: bytes) -> None:
    """Keep a flat buffer behind its own digest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as unfinished, unfinished.open("wb") as out:
        out.write(hashlib.sha256(content).digest())
        out.write(content)


def _read_checked(file: Path) -> bytes | None:
    """What `_write_checked` kept; None where it is not there or has changed: a damaged flat buffer would
    bring the whole process down, since TensorFlow reads it without looking."""
    try:
        with file.open("rb") as kept:
            digest, content = kept.read(hashlib.sha256().digest_size), kept.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == digest else None


def _litert_runner(content: bytes) -> Forward:
    import tensorflow as tf

    with warnings.catch_warnings(), devices.muted():
        warnings.simplefilter("ignore")  # tf.lite announces that it will move to another package
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=os.cpu_count())
        interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    # Outputs are called Identity, Identity_1, Identity_2 ... and listed in any order.
    details = sorted(
        interpreter.get_output_details(), key=lambda d: int(d["name"].removeprefix("Identity")[1:] or 0)
    )

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        batch = np.zeros((BATCH, *pixels.shape[1:]), np.float32)
        batch[: len(pixels)] = pixels
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"])[: len(pixels)] for detail in details]

    return run

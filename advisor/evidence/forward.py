"""The fastest way from pixels to a network's outputs on this machine.

On a processor that is LiteRT, whose XNNPACK kernels are faster than TensorFlow's and which is imported in a
tenth of a second. TensorFlow takes seconds for that. It converts each network once, and runs it where there
is a GPU, where LiteRT is not installed, and where a network cannot be converted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.evidence import flat_buffer
from advisor.system import devices

if TYPE_CHECKING:
    import keras

BATCH = 16  # images that are decoded together, and that TensorFlow sees together
# LiteRT gets as many of them at once as have no more than so many pixels, so that the first layers' maps stay
# in the processor's cache: of 1, 2, 4, 8 and 16 the fastest or nearly so from 96 to 320 pixels.
PIXELS_AT_ONCE = 150_000

Forward = Callable[[np.ndarray], list[np.ndarray]]


def runner(
    build: Callable[[], keras.Model],
    key: str,
    image_size: int,
    write: Callable[[int], bytes] | None = None,
) -> Forward:
    """From uint8 [b, size, size, 3], fastest with b of `BATCH`, to a list of arrays, one for each output.

    Args:
        build: gives the model, in inference mode with a list of outputs; not called where the cache
            already has it in the form that runs fastest.
        key: changes with the architecture, the weights and the choice of outputs.
        image_size: pixels of the square input.
        write: gives the model as a flat buffer of so many images, where that needs no TensorFlow.
    """
    interpreter = None if devices.gpus() else _litert()
    if interpreter is not None:
        content = flat_buffer.of(build, key, image_size, _at_once(image_size), write)
        if content is not None:
            with suppress(ValueError, RuntimeError):  # an operation that this version of LiteRT does not have
                return _litert_runner(interpreter, content)
    return _tensorflow_runner(build())


def packed(
    build: Callable[[], keras.Model],
    key: str,
    image_size: int,
    write: Callable[[int], bytes] | None = None,
    on_gpus: bool = False,
) -> Callable[[], Forward]:
    """What gives `runner`'s function in another process, to which it can be pickled, network and all.

    That process needs no file of weights, and TensorFlow only where this is no flat buffer for LiteRT.

    Args:
        build: see `runner`, as `key`, `image_size` and `write`.
        on_gpus: whether that process computes on a GPU.
    """
    if not on_gpus and _litert() is not None:
        content = flat_buffer.of(build, key, image_size, _at_once(image_size), write)
        if content is not None:
            return functools.partial(_unpacked, content)
    return functools.partial(_tensorflow_runner, build())


def _at_once(image_size: int) -> int:
    """How many images of so many pixels each way LiteRT gets at once: 1, 2, 4, 8 or 16."""
    fitting = min(PIXELS_AT_ONCE // image_size**2, BATCH)
    return 1 << max(0, fitting.bit_length() - 1)


def _unpacked(content: bytes) -> Forward:
    return _litert_runner(_litert(), content)


def _litert() -> Any:
    """LiteRT's class of interpreters; None where the package is not installed or does not run."""
    try:
        with devices.muted():
            from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    return Interpreter


def _litert_runner(interpreter_of: Any, content: bytes) -> Forward:
    with devices.muted():
        interpreter = interpreter_of(model_content=content, num_threads=devices.cpus())
        interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    source, count = taken["index"], taken["shape"][0]
    # Outputs are called Identity, Identity_1, Identity_2 ... and listed in any order.
    details = sorted(
        interpreter.get_output_details(), key=lambda d: int(d["name"].removeprefix("Identity")[1:] or 0)
    )

    def some(pixels: np.ndarray) -> list[np.ndarray]:
        batch = np.zeros((count, *pixels.shape[1:]), np.float32)
        batch[: len(pixels)] = pixels
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"])[: len(pixels)] for detail in details]

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        parts = [some(pixels[start : start + count]) for start in range(0, len(pixels), count)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return run


def _tensorflow_runner(model: keras.Model) -> Forward:
    import tensorflow as tf

    call = tf.function(lambda pixels: model(tf.cast(pixels, tf.float32), training=False))
    return lambda pixels: [np.asarray(output) for output in call(pixels)]

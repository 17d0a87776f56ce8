"""A finished run's model in whole numbers of 8 bits, for phones and small boards.

Weights and activations become int8 by post-training quantization: training images say what range each
activation has (Jacob et al., Quantization and training of neural networks for efficient
integer-arithmetic-only inference, CVPR 2018;
https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization). That loses
some accuracy, which the run's own test images tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.data import copies, images, sources
from advisor.data.dataset import Dataset
from advisor.data.sampling import sample
from advisor.errors import InputError, one_line
from advisor.evidence.forward import BATCH
from advisor.results import Export, Quantized
from advisor.system.progress import Display
from advisor.system.storage import replacing
from recipes.runs import export, splits_file
from recipes.runs.classifier import load_model
from recipes.runs.prediction import FinishedRun, ready

if TYPE_CHECKING:
    import keras

FORMAT = "tflite-int8"
CALIBRATING = 200  # training images; a hundred or two are what the converter's documentation asks for
LEAST_SAME = 0.9  # of the test images have to get the same class, else it is another model


def export_int8(
    run: FinishedRun, source: str, path: Path | None, overwrite: bool, display: Display
) -> Export:
    """Write the model as TFLite in int8, and tell by the run's test images what accuracy that loses.

    Input is uint8 [1, size, size, 3], RGB; output float32 [1, classes]. What gives another class than
    model.keras to more than one image in ten is removed again.

    Args:
        run: from `recipes.runs.prediction.load`.
        source: the data that it was trained on.
        path: to write to; in the run folder if left out.
        overwrite: replace what is there.
        display: where progress is shown.

    Raises:
        InputError: something is there already, the data are others, the converter does not take the model, or
            the run folder is damaged.
    """
    path = export.target(run, FORMAT, path, overwrite)
    original = ready(run)
    training, tested = _own_images(run, sources.load(source, display=display))
    model = load_model(run.folder)
    squares = training.paths, run.image_size, BATCH, lambda *_: None, run.fit, run.grey
    pixels = np.concatenate([batch for _, batch in images.stream(*squares)])
    bar = display.steps("Converting")
    bar(0, 1)
    with export.quiet():
        try:
            with replacing(path) as unfinished:
                unfinished.write_bytes(_converted(model, pixels))
        except OSError:
            raise
        except Exception as error:  # the converter's errors are of many kinds
            raise InputError(
                f"this model cannot be written as {FORMAT} ({one_line(error)}); choose another --format"
            ) from error
        bar(1, 1)
        interpreter = _Interpreter.of(path)
    said: list[np.ndarray] = []
    known: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    bar = display.steps("Testing")
    squares = tested.paths, run.image_size, BATCH, lambda *_: None, run.fit, run.grey
    for positions, batch in images.stream(*squares):
        said.append(interpreter.probabilities(batch))
        known.append(original.call(batch)[1])
        labels.append(tested.labels[positions])
        bar(int(positions[-1]) + 1, len(tested))
    made = _compared(run, tested, path, *map(np.concatenate, (said, known, labels)))
    if not made.is_same:
        path.unlink()
    return made


def _own_images(run: FinishedRun, data: Dataset) -> tuple[Dataset, Dataset]:
    """Training images to calibrate with, and the test images of the run, known by their content.

    Raises:
        InputError: the data have none of them.
    """
    split_of = {image.content: image.split for image in splits_file.read(run.folder)}
    splits = np.array([split_of.get(bytes.fromhex(copies.content(path)), "") for path in data.paths])
    training, tested = (np.flatnonzero(splits == split) for split in ("train", "test"))
    unknown = [name for name in data.class_names if name not in run.class_names]
    if not len(training) or not len(tested) or unknown:
        raise InputError(
            f"{data.source} does not hold the images that {run.folder} was trained and tested on; give those "
            "with --data"
        )
    return data.take(training[sample(data.labels[training], CALIBRATING, 0)]), data.take(tested)


def _converted(model: keras.Model, pixels: np.ndarray) -> bytes:
    """The model as a flat buffer of int8.

    Args:
        model: from images to probabilities.
        pixels: that say what range each activation has, uint8 [n, size, size, 3].
    """
    import tensorflow as tf

    def examples() -> Iterator[list[np.ndarray]]:
        for image in pixels:
            yield [image[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(_without_divisions(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    # What there is no int8 kernel for stays in floating point.
    kernels = tf.lite.OpsSet
    converter.target_spec.supported_ops = [kernels.TFLITE_BUILTINS_INT8, kernels.TFLITE_BUILTINS]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.float32
    return converter.convert()


def _without_divisions(model: keras.Model) -> keras.Model:
    """The model with other signed roots of features, sharing its layers.

    x / sqrt(|x| + 0.01) divides by nearly nothing, which is nothing in int8, and LiteRT refuses that.
    sqrt(max(x, 0)) - sqrt(max(-x, 0)) differs from it by less than a step of int8 makes.
    """
    import keras
    from keras import ops

    roots = {operation.name for operation in model.operations if _is_signed_root(operation)}
    if not roots:
        return model

    def root(features: Any, _: Any) -> Any:
        return ops.sqrt(ops.relu(features)) - ops.sqrt(ops.relu(-features))

    image = keras.Input(model.inputs[0].shape[1:], name="image")
    said = model._run_through_graph(image, operation_fn=lambda one: root if one.name in roots else one)
    return keras.Model(image, said)


def _is_signed_root(operation: Any) -> bool:
    """Whether an operation is the last one of `advisor.evidence.signed_root.signed_root`."""
    if type(operation).__name__ not in ("Divide", "TrueDivide"):
        return False
    inputs = operation.input
    if not isinstance(inputs, list) or len(inputs) != 2:
        return False
    features, below = inputs
    for kind in ("Power", "Add", "Absolute"):
        made_by = below._keras_history.operation
        if type(made_by).__name__ != kind or isinstance(made_by.input, list):
            return False
        below = made_by.input
    return below is features


@dataclass(frozen=True)
class _Interpreter:
    """The written model at work."""

    inner: Any

    @staticmethod
    def of(path: Path) -> _Interpreter:
        import tensorflow as tf

        return _Interpreter(tf.lite.Interpreter(model_content=path.read_bytes()))  # whatever its name is

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [n, classes] of uint8 [n, size, size, 3]."""
        source, result = self.inner.get_input_details()[0], self.inner.get_output_details()[0]
        if tuple(source["shape"]) != pixels.shape:
            self.inner.resize_tensor_input(source["index"], pixels.shape)
        self.inner.allocate_tensors()
        self.inner.set_tensor(source["index"], pixels)
        self.inner.invoke()
        return self.inner.get_tensor(result["index"])


def _compared(
    run: FinishedRun, tested: Dataset, path: Path, said: np.ndarray, known: np.ndarray, labels: np.ndarray
) -> Export:
    """The export with what it loses, by probabilities [n, classes] of it and of model.keras, and labels."""
    at_class = np.array([run.class_names.index(name) for name in tested.class_names])
    own, before = said.argmax(axis=1), known.argmax(axis=1)
    found = Quantized(
        images=len(labels),
        accuracy=float((own == at_class[labels]).mean()),
        accuracy_before=float((before == at_class[labels]).mean()),
        same_class=float((own == before).mean()),
        megabytes=path.stat().st_size / 1e6,
    )
    difference = float(np.abs(said - known).max())
    return Export(path, difference, is_same=found.same_class >= LEAST_SAME, quantized=found)

"""A finished run's model in other formats, each checked against the original."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from advisor.errors import InputError, one_line
from advisor.results import Export
from advisor.system import devices
from advisor.system.storage import replacing
from recipes.runs.classifier import load_model
from recipes.runs.prediction import FinishedRun, ready

if TYPE_CHECKING:
    import keras

NAMES = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "tflite-int8": "model-int8.tflite",
    "onnx": "model.onnx",
}
TOLERANCE = 1e-3  # of a probability; the formats differ by rounding, about 1e-6


def export(run: FinishedRun, format: str, path: Path | None = None, overwrite: bool = False) -> Export:
    """Write the model in another format, load it with that format's own runtime and compare.

    What gives other answers is removed again. Input is float32 [n, size, size, 3], RGB in 0..255; output is
    float32 [n, classes], as in model.keras; the TFLite model takes one image unless its input is resized.

    Args:
        run: from `recipes.runs.prediction.load`.
        format: one of `NAMES`, but that in int8, see `recipes.runs.quantized`.
        path: to write to; in the run folder if left out.
        overwrite: replace what is there.

    Raises:
        InputError: something is there already, onnx is not installed, the converter does not take the
            model, or the run folder is damaged.
    """
    path = target(run, format, path, overwrite)
    if format == "onnx":
        _check_onnx()
    ready(run)
    model = load_model(run.folder)
    pixels = example_images(run.image_size)
    original = model.predict(pixels, verbose=0)
    write, predict = _FORMATS[format]
    replacing_any = _replacing_folder if format == "saved_model" else replacing
    with quiet():
        try:
            with replacing_any(path) as unfinished:
                write(model, unfinished)
        except OSError:
            raise
        except Exception as error:  # the converters' errors are of many kinds
            raise InputError(
                f"this model cannot be written as {format} ({one_line(error)}); choose another --format"
            ) from error
        difference = float(np.abs(original - predict(path, pixels)).max())
    made = Export(path, difference, is_same=difference <= TOLERANCE)
    if not made.is_same:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return made


def target(run: FinishedRun, format: str, path: Path | None, overwrite: bool) -> Path:
    """Where to write a model, see `export`.

    Raises:
        InputError: something is there already, or its folder is not.
    """
    path = path or run.folder / NAMES[format]
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; add --overwrite, or choose another --output")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.parent} does not exist; make it, or choose another --output")
    return path


def example_images(size: int) -> np.ndarray:
    """Two photographs that come with scikit-learn, four parts of each: float32 [8, size, size, 3]."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    parts = []
    for photograph in load_sample_images().images:
        image = Image.fromarray(photograph)
        for left, top in ((0, 0), (200, 0), (0, 100), (200, 100)):
            parts.append(np.asarray(image.resize((size, size), box=(left, top, left + 320, top + 320))))
    return np.stack(parts).astype(np.float32)


def _check_onnx() -> None:
    for module in ("onnx", "tf2onnx", "onnxruntime"):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"--format onnx needs {module}; install it with: pip install 'transfer-advisor[onnx]'"
            ) from error


def _write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(devices.name_for_tensorflow(path), format="tf_saved_model", verbose=False)


def _saved_model(path: Path, pixels: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    loaded = tf.saved_model.load(devices.name_for_tensorflow(path))  # its variables live as long as this name
    return loaded.serve(tf.constant(pixels)).numpy()


def _write_tflite(model: keras.Model, path: Path) -> None:
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def _tflite(path: Path, pixels: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=path.read_bytes())  # whatever its name is
    source = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(source, pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _write_onnx(model: keras.Model, path: Path) -> None:
    model.export(path, format="onnx", verbose=False)


def _onnx(path: Path, pixels: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


_FORMATS: dict[str, tuple[Callable, Callable]] = {
    "saved_model": (_write_saved_model, _saved_model),
    "tflite": (_write_tflite, _tflite),
    "onnx": (_write_onnx, _onnx),
}


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """As `advisor.system.storage.replacing`, for a folder."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.absolute().parent))
    try:
        yield unfinished
        if path.is_dir():
            shutil.rmtree(path)
        os.chmod(unfinished, 0o755)
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Converters print to standard output and warn of what is no concern of the user's."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), devices.muted():
        warnings.simplefilter("ignore")
        yield

"""One training from data to a finished run folder."""

from __future__ import annotations

import csv
import io
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor import backbones
from advisor.advice.settings import Settings
from advisor.data import copies, images, near_copies
from advisor.data.checks import leave_out
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.errors import InputError
from advisor.evidence import embedding, forward, outliers
from advisor.system import devices
from advisor.system.folder_lock import LOCK, locked
from advisor.system.json_file import read_json, write_json
from advisor.system.progress import Display
from advisor.system.spreadsheet import original, safe_cell
from advisor.system.storage import is_unfinished, open_plain, remove, replacing
from recipes import RECIPES
from recipes.job import Epoch, Job
from recipes.runs import prediction, run_files
from recipes.training.base_head import from_base_labels
from recipes.training.gradient import write_history

if TYPE_CHECKING:
    import keras


# All that a run folder may hold; `--overwrite` removes these and nothing else.
FILES = (
    "model.keras",
    "labels.json",
    "recommendation.json",
    "metrics.json",
    "splits.csv",
    "history.csv",
    "curves.png",
    "confusion_matrix.png",
    "augmentation.png",
    "report.html",
    "README.md",
    "neighbours.npz",
    "saved_model",
    "model.tflite",
    "model.onnx",
    "logs",
    "checkpoints",
    ".checkpoints",
)
SPLITS_COLUMNS = ("path", "split", "sha256")
LARGEST_SPLITS = 150_000_000  # bytes of splits.csv; ImageNet's has 140 million
_CONTENT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        recipe: one of the four.
        class_names: in the order of the model's outputs.
        history: by epoch.
        test_paths: n files.
        test_labels: int64 [n].
        test_probabilities: float32 [n, classes], by the saved model.
        metrics: as in metrics.json.
    """

    folder: Path
    recipe: str
    class_names: tuple[str, ...]
    history: tuple[Epoch, ...]
    test_paths: tuple[str, ...]
    test_labels: np.ndarray
    test_probabilities: np.ndarray
    metrics: dict[str, Any]

    def _repr_html_(self) -> str:
        from advisor.report import page

        return page.notebook_run(self)


def run(
    data: Dataset,
    settings: Settings,
    folder: Path,
    seed: int,
    display: Display,
    resume: bool = False,
    seconds: float | None = None,
) -> Run:
    """Build and train a model; write splits.csv, model.keras, labels.json, history.csv and metrics.json.

    metrics.json comes last; it says whether all epochs were trained.

    Args:
        data: may still hold unreadable files; they are left out before anything trains.
        settings: what to build.
        folder: exists; `finish` it when all is written.
        seed: of everything random.
        display: where progress is shown.
        resume: go on from `checkpoints/`.
        seconds: for gradient steps, at most; None for no limit.
    """
    devices.load_tensorflow()
    import keras

    began = time.monotonic()
    keras.utils.set_random_seed(seed)
    random = settings.init == "random"
    backbone = backbones.load(
        settings.backbone, settings.weights, settings.image_size, random, settings.cut_layer
    )
    if not set(settings.taps) <= set(backbone.taps):
        raise run_files.damaged(folder, "checkpoints/started.json names layers that the network has not")
    features, copied = None, np.empty(0, np.int64)
    embed_seconds = 0.0
    if not random:
        bar = display.steps("Embedding images")
        embedded = embedding.embed(backbone, data, np.arange(len(data)), settings.image_size, bar)
        data, features = leave_out(data, embedded.unreadable), embedded.features
        copied = _copied_to_test(data, near_copies.find(embedded.thumbnails))
        embed_seconds = time.monotonic() - began
    else:
        reasons = images.find_unreadable(data.paths, display.steps("Checking images"))
        data = leave_out(data, [Skipped(data.paths[i], reason) for i, reason in reasons.items()])
    write_splits(data, folder)
    job = Job(data, backbone, features, settings, folder, seed, resume, seconds, display)
    started = time.monotonic()
    before = _before_training(job) if settings.base_labels else None
    trained = RECIPES[settings.recipe](job)
    train_seconds = time.monotonic() - started
    with replacing(folder / "model.keras") as unfinished:
        trained.model.save(unfinished)
    write_json(folder / "labels.json", list(data.class_names))
    write_history(trained.history, folder / "history.csv")
    _neighbours(job).save(folder)
    test_at, validate_at = data.indices("test"), data.indices("validation")
    paths = tuple(data.paths[i] for i in test_at)
    tested, probabilities = predict(trained.model, paths, settings.image_size, display.steps("Testing"))
    if len(tested) < len(paths):
        gone = next(path for i, path in enumerate(paths) if i not in set(tested))
        raise InputError(images.changed(gone, "cannot be read any more"))
    if not (np.isfinite(probabilities).all() and np.isfinite(trained.validation).all()):
        raise InputError(
            f"training ended in a network whose answers are no numbers, so nothing in {folder} is of use; "
            "start again with --overwrite and another --seed or --batch-size"
        )
    labels = data.labels[test_at]
    counted = {
        "total": count_parameters(trained.model.weights),
        "trained": count_parameters(trained.model.trainable_weights),
    }
    metrics = {
        "recipe": settings.recipe,
        "settings": settings.to_json(),
        "test": score(labels, probabilities, data.class_names),
        **_without_copies(data, copied, labels, probabilities),
        "validation": score(data.labels[validate_at], trained.validation, data.class_names),
        **({"before_training": {"validation": before}} if before else {}),
        "images": {split: len(data.indices(split)) for split in ("train", "validation", "test")},
        "parameters": counted,
        "complete": trained.complete,
        **({} if trained.share is None else {"trained_share": trained.share}),
        "seed": seed,
        "seconds": {
            "embed": round(embed_seconds, 3),
            "train": round(trained.earlier_seconds + train_seconds, 3),
            "total": round(trained.earlier_seconds + time.monotonic() - began, 3),
        },
        "device": devices.describe(),
        "precision": trained.precision,
        "versions": versions(),
    }
    write_json(folder / "metrics.json", metrics)
    return Run(
        folder=folder,
        recipe=settings.recipe,
        class_names=data.class_names,
        history=trained.history,
        test_paths=paths,
        test_labels=labels,
        test_probabilities=probabilities,
        metrics=metrics,
    )


@dataclass(frozen=True, slots=True)
class Known:
    """An image of a run.

    Attributes:
        path: as the user knew it.
        split: one of `SPLITS`.
        content: see `dataset.content`; its 32 bytes.
    """

    path: str
    split: str
    content: bytes


def write_splits(data: Dataset, folder: Path) -> None:
    """Write splits.csv: what a model has seen, so that nobody takes it for new."""
    with (
        replacing(folder / "splits.csv") as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(SPLITS_COLUMNS)
        for path, split in zip(data.paths, data.splits, strict=True):
            table.writerow((safe_cell(data.shown(path)), SPLITS[split], copies.content(path)))


def read_splits(folder: Path) -> tuple[Known, ...] | None:
    """What `write_splits` wrote; None where the folder has no such file, being of an older version.

    Raises:
        InputError: it is damaged.
    """
    try:
        with run_files.reading(folder, "splits.csv"), open_plain(folder / "splits.csv") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_SPLITS:
                raise ValueError(f"has more than {LARGEST_SPLITS:,} bytes")
            text = io.TextIOWrapper(
                io.BufferedReader(file), newline="", encoding="utf-8", errors="surrogateescape"
            )
            rows = csv.reader(text, strict=True)
            try:
                if tuple(next(rows, ())) != SPLITS_COLUMNS:
                    raise ValueError(f"has not the columns {', '.join(SPLITS_COLUMNS)}")
                return tuple(_known(row, rows.line_num) for row in rows)
            except csv.Error as error:
                raise ValueError(f"is no table ({error} in line {rows.line_num})") from None
    except FileNotFoundError:
        return None


def _known(row: list[str], line: int) -> Known:
    """Raises `ValueError` where this is no row of splits.csv."""
    if len(row) != len(SPLITS_COLUMNS):
        raise ValueError(f"has {len(row)} columns in line {line}")
    path, split, content = row
    if split not in SPLITS or not _CONTENT.fullmatch(content):
        raise ValueError(f"holds no split and checksum in line {line}")
    return Known(original(path), sys.intern(split), bytes.fromhex(content))


def _before_training(job: Job) -> dict[str, Any]:
    """What the backbone's own classifier knows of the target classes, on the validation split."""
    assert job.features is not None
    at = job.data.indices("validation")
    probabilities = from_base_labels(job).probabilities(job.features.last()[at])
    return score(job.data.labels[at], probabilities, job.data.class_names)


def _copied_to_test(data: Dataset, pairs: np.ndarray) -> np.ndarray:
    """Test images that are nearly the same as one in another split, int64 positions."""
    is_test = data.splits == SPLITS.index("test")
    across = pairs[is_test[pairs].sum(axis=1) == 1]
    return np.unique(across[is_test[across]])


def _without_copies(
    data: Dataset, copied: np.ndarray, labels: np.ndarray, probabilities: np.ndarray
) -> dict[str, Any]:
    """For metrics.json: how well the model does on test images that training has not nearly seen."""
    own = ~np.isin(data.indices("test"), copied)
    if own.all() or not own.any():
        return {}
    return {
        "near_copies": {
            "test_images": len(copied),
            "accuracy_without": float((probabilities.argmax(axis=1) == labels)[own].mean()),
        }
    }


def _neighbours(job: Job) -> outliers.Neighbours:
    """What tells images unlike these: see `advisor.evidence.outliers`. Needs model.keras."""
    labels, settings = job.data.labels, job.settings
    parts = []
    for split in ("train", "validation"):
        at = job.data.indices(split)
        at = at[sample(labels[at], outliers.MOST, job.seed)]
        if job.features is not None and settings.head == "linear" and not settings.trains_backbone:
            parts.append(job.head_features(at))
            continue
        call = prediction.features_and_probabilities(job.folder, settings.image_size)
        bar = job.display.steps(f"Embedding {split} images")
        batches = []
        paths = [job.data.paths[i] for i in at]
        for positions, pixels in images.stream(paths, settings.image_size, forward.BATCH, lambda *_: None):
            batches.append(call(pixels)[0])
            bar(int(positions[-1]) + 1, len(paths))
        parts.append(np.concatenate(batches))
    return outliers.fit(*parts)


def versions() -> dict[str, str]:
    """Of Python and of what the result depends on."""
    import keras
    import sklearn
    import tensorflow as tf

    modules = {"tensorflow": tf, "keras": keras, "scikit-learn": sklearn, "numpy": np}
    return {"python": platform.python_version(), **{name: m.__version__ for name, m in modules.items()}}


def count_parameters(weights: list) -> int:
    return int(sum(np.prod(weight.shape) for weight in weights))


def predict(
    model: keras.Model,
    paths: tuple[str, ...],
    image_size: int,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Classify image files with a model; memory stays flat.

    Returns:
        Positions in `paths` of the readable ones, int64 [n]; probabilities float32 [n, classes].
    """
    import tensorflow as tf

    shape = tf.TensorSpec((None, image_size, image_size, 3), tf.float32)
    call = tf.function(lambda pixels: model(pixels, training=False), input_signature=(shape,))
    positions, probabilities = [], []
    for at, pixels in images.stream(paths, image_size, 32, lambda position, reason: None):
        positions.append(at)
        probabilities.append(np.asarray(call(tf.constant(pixels, tf.float32))))
        progress(int(at[-1]) + 1, len(paths))
    if not positions:
        return np.empty(0, np.int64), np.empty((0, model.output_shape[-1]), np.float32)
    return np.concatenate(positions), np.concatenate(probabilities)


def score(labels: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro F1, log-loss (nats) and precision, recall and F1 of each class."""
    from sklearn.metrics import precision_recall_fscore_support

    predicted = probabilities.argmax(axis=1)
    truth = probabilities[np.arange(len(labels)), labels]
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(class_names)), zero_division=0
    )
    present = support > 0
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1[present].mean()),
        "log_loss": float(-np.log(np.maximum(truth, 1e-7)).mean()),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "images": int(support[i]),
            }
            for i, name in enumerate(class_names)
        },
    }


@contextmanager
def writing(folder: Path, resume: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Hold a folder for one run or comparison.

    Raises:
        InputError: see `prepare`; or another command is writing to it.
    """
    with holding(folder):
        yield prepare(folder, resume, overwrite)


@contextmanager
def holding(folder: Path) -> Iterator[Path]:
    """Keep other commands from writing to a folder; where nothing is written, nothing is left.

    Raises:
        InputError: it cannot be written, or another command is writing to it.
    """
    make(folder)
    try:
        with locked(folder):
            yield folder
    finally:
        remove_if_empty(folder)


def prepare(folder: Path, resume: bool, overwrite: bool) -> Path:
    """Make sure that a run may write to a folder.

    What a killed process left unfinished in it is removed, so the folder has to be locked.

    Raises:
        InputError: it holds something and neither `resume` nor `overwrite` was asked for, it is damaged, or
            it cannot be written.
    """
    make(folder)
    held = any(entry.name != LOCK for entry in folder.iterdir())
    if held and (resume or overwrite) and not any(os.path.lexists(folder / name) for name in FILES):
        raise InputError(f"{folder} is not a run folder; its content is kept; choose another --output")
    if held and resume and (folder / "metrics.json").exists() and not (folder / "checkpoints").exists():
        raise InputError(f"the run in {folder} is finished; choose another --output, or add --overwrite")
    if held and not (resume or overwrite):
        raise InputError(f"{folder} is not empty; choose another --output, or add --resume or --overwrite")
    if held and resume:
        run_files.check_folders(folder)
        _started(folder)  # if that is damaged, it is said before anything slow
        _remove_unfinished(folder)
    return folder


def _remove_unfinished(folder: Path) -> None:
    """Remove what `replacing` was writing when its process was killed."""
    for entry in folder.iterdir():
        if any(is_unfinished(entry.name, name) for name in FILES if Path(name).suffix):
            remove(entry)
    for entry in folder.glob("checkpoints/.*"):
        remove(entry)


def make(folder: Path) -> Path:
    """Make a folder where there is none.

    Raises:
        InputError: it is a file, or cannot be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder with --output")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK):
            raise InputError(f"cannot write to {folder}; choose another --output")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --output") from error
    return folder


def clear(folder: Path) -> None:
    """Remove what a run writes, and nothing else."""
    for name in FILES:
        remove(folder / name)


def finish(folder: Path) -> None:
    """Remove what `--resume` would need, at once; the last thing that a run does."""
    with suppress(OSError):
        remove(folder / ".checkpoints")
        os.replace(folder / "checkpoints", folder / ".checkpoints")
        remove(folder / ".checkpoints")


def start(
    folder: Path,
    data: Dataset,
    seed: int,
    settings: Settings,
    recommendation: dict[str, Any],
    asked: dict[str, Any],
    resume: bool,
) -> Settings:
    """Write down what is about to be trained; where a run is resumed, return what was written then.

    Args:
        folder: of the run.
        data: the images.
        seed: of everything random.
        settings: what is built unless an older run is resumed.
        recommendation: for recommendation.json.
        asked: what the user asked for, in JSON; a resumed run must ask for the same.
        resume: go on with what was started.

    Raises:
        InputError: the run to resume is of other images, another seed, or was asked for otherwise.
    """
    state = folder / "checkpoints" / "started.json"
    started = _started(folder) if resume else None
    if started is not None:
        settings = _settings_of(started, folder, (data.fingerprint(), seed), asked, settings)
    state.parent.mkdir(exist_ok=True)
    write_json(folder / "recommendation.json", {**recommendation, "settings": settings.to_json()})
    if started is None:
        write_json(
            state, {"data": data.fingerprint(), "seed": seed, "settings": settings.to_json(), "asked": asked}
        )
    return settings


def _started(folder: Path) -> dict[str, Any] | None:
    """What stands in started.json, or None where a run was interrupted before it was written."""
    name = "checkpoints/started.json"
    try:
        with run_files.reading(folder, name):
            started = read_json(folder / name)
            run_files.conform(started, {})
            return started
    except FileNotFoundError:
        return None


def _settings_of(
    started: dict[str, Any], folder: Path, of: tuple[str, int], asked: dict[str, Any], fresh: Settings
) -> Settings:
    """The settings in started.json, if it is of the same data and seed and was asked for in the same way.

    Only what `fresh` leaves open is taken from there: which network is loaded never is.
    """
    try:
        if (started["data"], started["seed"]) != of:
            raise InputError(f"{folder} was started with other images or another --seed; give those again")
        other = [name for name, value in asked.items() if started["asked"].get(name) != value]
        if other:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in other)
            raise InputError(
                f"{folder} was started with another {options}; give the same, or --overwrite to start again"
            )
        with run_files.reading(folder, "checkpoints/started.json"):
            settings = run_files.settings_from(started["settings"])
            network = ("backbone", "weights", "init", "cut_layer", "base_labels", "image_size")
            if any(getattr(settings, name) != getattr(fresh, name) for name in network):
                raise ValueError("names another network")
            return settings
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{folder} was started by another version of advisor; give --overwrite to start again"
        ) from None


def remove_if_empty(folder: Path) -> None:
    """Leave nothing behind where nothing was done."""
    if folder.is_dir() and not any(folder.iterdir()):
        with suppress(OSError):  # another command has just begun to write to it
            folder.rmdir()

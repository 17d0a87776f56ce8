"""Training by gradient steps, shared by every recipe that needs it."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.data import images
from advisor.errors import InputError
from advisor.evidence import linear_head
from advisor.evidence.linear_head import LinearHead
from advisor.system import devices
from advisor.system.array_file import read_arrays
from advisor.system.json_file import read_json, write_json
from advisor.system.storage import remove, replacing
from recipes.job import Epoch, Job, Trained, head_alone
from recipes.runs.run_files import COUNT, conform
from recipes.training import augmentation
from recipes.training.assembly import assemble, clone, freeze, head_layers, metrics, set_head
from recipes.training.averaging import use_best_average
from recipes.training.base_head import from_base_labels
from recipes.training.frozen import solve, with_validation_images

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

WARM_UP = 0.1  # of all steps
# Training stops after this share of all epochs without a better one; the head's own epoch 0 does not count.
# Few runs are so hopeless: on 1,000 flowers the network needed six epochs of ten to overtake the head. The
# best has the lowest Brier score on the validation split: bounded, so that it follows the accuracy where the
# log-loss is ruled by a few images that the model is too sure about.
PATIENCE_SHARE = 0.8


def train(job: Job) -> Trained:
    """Head first, then gradient steps; the end of them, averaged with the start, is kept.

    The end is the last epoch, where the learning rate has come down to nothing, not the one that was best on
    a small validation split: on 400 training images of flowers that was the tenth of twenty, at a high
    learning rate and four points of test accuracy below the last. Of a run that ended early it is the best
    epoch. Where no head could be solved first, there is nothing to average with, and the best epoch is kept.

    The head starts at the optimum of the convex problem on frozen features (epoch 0), so that the first
    gradients do not tear the backbone apart (Kumar et al., Fine-tuning can distort pretrained features,
    ICLR 2022). With random weights there is no such start.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the last finished epoch is in `checkpoints/`.
    """
    import keras
    import tensorflow as tf

    settings, data = job.settings, job.data
    train_at, validate_at = data.indices("train"), data.indices("validation")
    freeze(job.backbone, settings.train_from, settings.batch_norm)
    strategy, precision = devices.strategy(), devices.precision()
    with strategy.scope():
        alone = strategy.num_replicas_in_sync == 1 and precision == "float32"
        backbone = job.backbone if alone else clone(job.backbone, precision)
        head = head_layers(settings.head, job.classes)
        flexible = settings.training_size != settings.image_size
        model = assemble(backbone, settings, head, None if flexible else settings.image_size)
        history, solved = _start(job, head, train_at, validate_at)
        checkpoints = job.folder / "checkpoints"
        stored = math.ceil(settings.training_size * augmentation.MARGIN)
        training = _pixels(job, train_at, stored, "training images")
        validation = _pixels(job, validate_at, settings.image_size, "validation images")
        steps = settings.epochs * math.ceil(len(train_at) / settings.batch_size)
        _compile(model, settings, steps)
        keeper = _Keeper(model, checkpoints, history, settings.epochs)
        if job.resume:
            keeper.restore()
        earlier = sum(row.seconds for row in keeper.history if row.epoch > 0)
        callbacks = [
            _callback(job, keeper, len(train_at)),
            keras.callbacks.TensorBoard(str(job.folder / "logs"), write_graph=False),
        ]
        judged = _validation_batches(job, validation, validate_at)
        model.stop_training = keeper.is_patience_over()
        for epoch in range(keeper.epochs_done(), settings.epochs):
            if model.stop_training:
                break
            try:
                model.fit(
                    # New ones for each epoch: then its random numbers are the same after an interruption.
                    _batches(job, training, train_at, epoch),
                    validation_data=judged,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    shuffle=False,  # the data set shuffles itself
                    verbose=0,
                    callbacks=callbacks,
                )
            except tf.errors.ResourceExhaustedError:
                raise InputError(
                    f"out of memory with {settings.batch_size} images of {settings.training_size} pixels at "
                    "once; start again with --overwrite and a smaller --batch-size or --image-size"
                ) from None
        if solved and keeper.best_epoch():
            after = model.get_weights() if keeper.epochs_done() == settings.epochs else keeper.best
            batches = _validation_batches(job, validation, validate_at)
            bar = job.display.steps("Averaging with the start")
            labels = data.labels[validate_at]
            average = use_best_average(model, keeper.start, after, batches, labels, bar)
            share = average.share if average.is_clear else 0.0
        else:
            share = float(keeper.best_epoch() > 0)
            model.set_weights(keeper.best)
    head = head_layers(settings.head, job.classes)
    finished = assemble(job.backbone, settings, head, settings.image_size)
    finished.set_weights(model.get_weights())
    probabilities = finished.predict(_validation_batches(job, validation, validate_at), verbose=0)
    if solved and share == 0 and not settings.base_labels:
        # No step did better than the head alone: then it may learn from the validation images, too.
        used = with_validation_images(job, job.head_features())
        set_head(head, used.kernel, used.bias)
    return Trained(
        finished, tuple(keeper.history), probabilities, not keeper.out_of_time, precision, share, earlier
    )


def _start(
    job: Job, head: list, train_at: np.ndarray, validate_at: np.ndarray
) -> tuple[list[Epoch], LinearHead | None]:
    """Put the head at the optimum for frozen features: the first row of the history, and the optimum.

    Neither where the head has a hidden layer or the weights are random.
    """
    if job.features is None or job.settings.head != "linear":
        return [], None
    began = time.monotonic()
    features, labels = job.head_features(), job.data.labels
    solved = from_base_labels(job) if job.settings.base_labels else solve(job, features, train_at)
    set_head(head, solved.kernel, solved.bias)
    fitted = linear_head.judge(solved.probabilities(features[train_at]), labels[train_at])
    judged = linear_head.judge(solved.probabilities(features[validate_at]), labels[validate_at])
    return [head_alone(fitted, judged, time.monotonic() - began)], solved


def _pixels(job: Job, positions: np.ndarray, size: int, what: str) -> np.ndarray:
    """Decoded images, kept in the run folder until the run is finished."""
    file = job.folder / "checkpoints" / f"pixels-{what.split()[0]}-{size}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink() or not file.is_file():
        remove(file)
    bar = job.display.steps(f"Decoding {what}")
    return images.decode_all([job.data.paths[i] for i in positions], size, file, bar)


def _batches(job: Job, pixels: np.ndarray, positions: np.ndarray, epoch: int) -> tf.data.Dataset:
    """Shuffled, augmented batches of (pixels, one-hot labels, weights)."""
    import keras
    import tensorflow as tf

    settings, seed = job.settings, job.seed + 1000 * epoch
    augment = augmentation.pipeline(settings.augmentation, settings.training_size, seed)
    labels = np.eye(job.classes, dtype=np.float32)[job.data.labels[positions]]
    weights = job.image_weights(positions).astype(np.float32)
    size = pixels.shape[1]

    def fetch(rows: tf.Tensor) -> Any:
        batch = tf.numpy_function(lambda at: pixels[np.sort(at)], [rows], tf.uint8)
        return tf.ensure_shape(batch, (None, size, size, 3)), tf.sort(rows)

    def change(batch: tf.Tensor, rows: tf.Tensor) -> Any:
        batch = augment(tf.cast(batch, tf.float32), training=True)
        return batch, tf.gather(labels, rows), tf.gather(weights, rows)

    keras.utils.set_random_seed(seed)
    return (
        tf.data.Dataset.range(len(positions))
        .shuffle(len(positions), seed=seed)
        .batch(settings.batch_size)
        .map(fetch, num_parallel_calls=2)
        .map(change)  # one at a time: two would race for the random numbers
        .prefetch(2)
    )


def _validation_batches(job: Job, pixels: np.ndarray, positions: np.ndarray) -> tf.data.Dataset:
    import tensorflow as tf

    labels = np.eye(job.classes, dtype=np.float32)[job.data.labels[positions]]
    size = pixels.shape[1]

    def fetch(rows: tf.Tensor) -> Any:
        batch = tf.numpy_function(lambda at: pixels[at], [rows], tf.uint8)
        return tf.cast(tf.ensure_shape(batch, (None, size, size, 3)), tf.float32), tf.gather(labels, rows)

    return tf.data.Dataset.range(len(positions)).batch(32).map(fetch, num_parallel_calls=2).prefetch(2)


def _compile(model: keras.Model, settings: Any, steps: int) -> None:
    """AdamW with warm-up and cosine decay; no weight decay on biases and batch norm."""
    import keras

    warm_up = max(1, round(WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=settings.learning_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    # Else small gradients vanish. Keras does so by itself only where the whole model has this policy.
    if devices.precision() == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Never XLA on a CPU: it is many times slower there, and "auto" may choose it. On several GPUs: untried.
    model.compile(
        optimizer, loss, metrics=metrics(), weighted_metrics=[], jit_compile=len(devices.gpus()) == 1
    )
    model.optimizer.build(model.trainable_variables)  # else the training step is traced twice


class _Keeper:
    """The history and the weights of the best and the last epoch, on disk after each epoch.

    Everything is replaced as a whole, and `state.json` last, so that a process that is killed at any
    moment leaves a state that `restore` can go on from: files of an epoch that is not in `state.json` yet
    do not count.
    """

    def __init__(self, model: keras.Model, folder: Path, history: list[Epoch], epochs: int) -> None:
        self.model, self.folder, self.history = model, folder, list(history)
        self.patience = max(1, round(PATIENCE_SHARE * epochs))
        self.start = self.best = model.get_weights()
        self.out_of_time = False
        folder.mkdir(parents=True, exist_ok=True)

    def epochs_done(self) -> int:
        return sum(row.epoch > 0 for row in self.history)

    def best_epoch(self) -> int:
        """Among those that were trained; 0 if none was."""
        trained = [row for row in self.history if row.epoch > 0]
        return min(trained, key=lambda row: row.validation_brier).epoch if trained else 0

    def is_patience_over(self) -> bool:
        return bool(self.history) and self.history[-1].epoch - self.best_epoch() >= self.patience

    def add(self, row: Epoch) -> None:
        self.history.append(row)
        kept = {"state.json", f"best-{self.best_epoch()}.npz", f"last-{row.epoch}.npz"}
        if self.best_epoch() == row.epoch:
            self.best = self.model.get_weights()
            self._save(f"best-{row.epoch}", self.best)
        self._save(f"last-{row.epoch}", [np.asarray(variable) for variable in self._variables()])
        write_json(self.folder / "state.json", [asdict(row) for row in self.history])
        for pattern in ("best-*.npz", "last-*.npz"):
            for file in self.folder.glob(pattern):
                if file.name not in kept:
                    remove(file)

    def restore(self) -> None:
        """Take up the last finished epoch, if there is one; what is damaged is trained again."""
        started = self.history
        try:
            found = read_json(self.folder / "state.json", finite=False)
            self.history = [_epoch(row) for row in found]
            expected = [*(row.epoch for row in started), *range(1, len(found) - len(started) + 1)]
            if [row.epoch for row in self.history] != expected:
                raise ValueError("holds other epochs")
            weights, variables = self.model.get_weights(), self._variables()
            best = self._load(f"best-{self.best_epoch()}", weights)
            last = self._load(f"last-{self.epochs_done()}", variables)
        except (OSError, ValueError, TypeError):  # none, another version's or a stranger's
            self.history = started
            return
        for variable, value in zip(variables, last, strict=True):
            variable.assign(value)
        self.best = best

    def _variables(self) -> list[Any]:
        """All that the next epoch starts from: weights, the optimizer's memory, and the random numbers of
        layers like dropout."""
        random = [variable for variable in self.model.variables if "seed_generator" in variable.path]
        return [*self.model.weights, *self.model.optimizer.variables, *random]

    def _save(self, name: str, arrays: list[np.ndarray]) -> None:
        with replacing(self.folder / f"{name}.npz") as unfinished:
            np.savez(unfinished, *arrays)

    def _load(self, name: str, like: list[Any]) -> list[np.ndarray]:
        """Arrays that `_save` wrote.

        Raises:
            FileNotFoundError: there are none.
            OSError: they cannot be read.
            ValueError: they are damaged, or not of the types and shapes of `like`.
        """
        forms = [(np.dtype(item.dtype), tuple(item.shape)) for item in like]
        size = sum(dtype.itemsize * math.prod(shape) for dtype, shape in forms)
        arrays = read_arrays(self.folder / f"{name}.npz", size)
        found = [arrays.get(f"arr_{number}") for number in range(len(forms))]
        if len(arrays) > len(forms) or any(
            array is None or (array.dtype, array.shape) != form
            for array, form in zip(found, forms, strict=True)
        ):
            raise ValueError("holds other weights")
        return [array for array in found if array is not None]


def _epoch(row: Any) -> Epoch:
    """A row of state.json; an error may be infinite or not a number there.

    Raises:
        ValueError: it is none.
    """
    numbers = dict.fromkeys((field.name for field in fields(Epoch)), float | int)
    conform(row, {**numbers, "epoch": COUNT, "phase": str})
    return Epoch(**row)


def _callback(job: Job, keeper: _Keeper, images_per_epoch: int) -> keras.callbacks.Callback:
    """Writes down each epoch, stops when patience is over, and moves the bar."""
    import keras

    deadline = time.monotonic() + (job.seconds or 0.0)

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began, self.seen, self.epoch = time.monotonic(), 0, epoch
            if not hasattr(self, "bar"):
                self.bar: Callable[[int, int], None] = job.display.steps("Training")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if job.seconds is not None and time.monotonic() > deadline:
                keeper.out_of_time = True
                self.model.stop_training = True
            self.seen = min(self.seen + job.settings.batch_size, images_per_epoch)
            total = job.settings.epochs * images_per_epoch
            self.bar(self.epoch * images_per_epoch + self.seen, total)
            rate = self.seen / (time.monotonic() - self.began)
            job.display.note(
                f"epoch {self.epoch + 1}/{job.settings.epochs}  loss {logs['loss']:.3f}  "
                f"accuracy {logs['accuracy']:.3f}  {rate:.0f} images/s"
            )

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if self.seen < images_per_epoch and keeper.history:
                return  # time was over in the middle of it: `resume` does it again
            row = Epoch(
                epoch=epoch + 1,
                phase="training",
                loss=float(logs["loss"]),
                accuracy=float(logs["accuracy"]),
                validation_loss=float(logs["val_loss"]),
                validation_accuracy=float(logs["val_accuracy"]),
                validation_brier=float(logs["val_brier"]),
                learning_rate=float(np.asarray(self.model.optimizer.learning_rate)),
                seconds=time.monotonic() - self.began,
            )
            keeper.add(row)
            if keeper.is_patience_over():
                self.model.stop_training = True

    return Watch()


def write_history(history: tuple[Epoch, ...], file: Path) -> None:
    """history.csv: a row for each epoch."""
    with replacing(file) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([field.name for field in fields(Epoch)])
        writer.writerows([astuple(row) for row in history])

"""Training by gradient steps, shared by every recipe that needs it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice.settings import Settings
from advisor.errors import InputError
from advisor.evidence.linear_head import judge
from advisor.evidence.pooling import AVERAGE
from advisor.results import Epoch
from advisor.system import devices, speed
from recipes.job import Job, Solved, Trained
from recipes.training import pixels
from recipes.training.assembly import assemble, clone, freeze, head_layers, metrics, set_head
from recipes.training.checkpoints import Checkpoints
from recipes.training.frozen import finished, head_alone, solve, solve_both, train_hidden
from recipes.training.keeping import keep
from recipes.training.pixels import Pixels

if TYPE_CHECKING:
    import keras

WARM_UP = 0.1  # of all steps


def train(job: Job) -> Trained:
    """Head first, then gradient steps, on a copy of the network; what is kept, `keeping.keep` says.

    The head starts at its best on frozen features (epoch 0), for a linear one the optimum, so that the first
    gradients do not tear the backbone apart (Kumar et al., Fine-tuning can distort pretrained features,
    ICLR 2022). With random weights there is no such start.

    Raises:
        InputError: an image has changed, or memory is too small.
        KeyboardInterrupt: after Ctrl-C; the last finished epoch is in `checkpoints/`. Not where there is
            `job.on_frozen` and an epoch was trained: then it ends as if time were over.
    """
    settings = job.settings
    strategy, precision = devices.strategy(), devices.precision()
    solved = _frozen_first(job)
    start, history = _head_first(job, solved)
    with strategy.scope():
        backbone = clone(job.backbone, precision)
        freeze(backbone, settings.train_from, settings.batch_norm)
        head = head_layers(settings.head, job.classes)
        if start:
            set_head(head, start)
        flexible = settings.training_size != settings.image_size
        learner = assemble(backbone, settings, head, None if flexible else settings.image_size)
        seen = pixels.decode(job)
        _compile(learner, settings, len(seen.training))
        checkpoints = Checkpoints(learner, job.folder / "checkpoints", history, settings.epochs)
        if job.resume:
            checkpoints.restore()
        earlier_seconds = checkpoints.seconds()
        interrupted = _take_steps(job, seen, checkpoints)
    model, validation, choice = keep(job, seen, checkpoints, solved)
    return Trained(
        model=model,
        history=tuple(checkpoints.history),
        validation=validation,
        complete=checkpoints.epochs_done() == settings.epochs or not (checkpoints.out_of_time or interrupted),
        interrupted=interrupted,
        precision=precision,
        choice=choice,
        earlier_seconds=earlier_seconds,
    )


def _frozen_first(job: Job) -> Solved | None:
    """The heads of the frozen network, which is told as soon as it is there; None with random weights."""
    if job.features is None:
        return None
    began, features = time.monotonic(), job.head_features()
    solved = solve_both(job, features)
    if job.on_frozen:
        job.on_frozen(finished(job, features, solved, began), solved.used)
    return solved


def _head_first(
    job: Job, frozen: Solved | None
) -> tuple[Sequence[tuple[np.ndarray, np.ndarray]], list[Epoch]]:
    """Kernel and bias of the dense layers of a head on frozen features, and the first row of the history.

    Nothing where the weights are random. Training begins from the whole picture, which the frozen network
    may see cells beside.
    """
    if frozen is None:
        return (), []
    began = time.monotonic()
    if job.settings.head == "linear":
        features = job.head_features(cells=False)
        is_solved = job.settings.pooling == AVERAGE
        start = frozen.judged if is_solved else solve(job, features, job.data.indices("train"))
        alone = head_alone(job, lambda at: start.probabilities(features.take(at)), began)
        return ((start.kernel, start.bias),), [alone]
    hidden = train_hidden(job)
    return hidden.weights, [head_alone(job, lambda at: hidden.probabilities(job.averages(at)), began)]


def _compile(model: keras.Model, settings: Settings, training_images: int) -> None:
    """AdamW with warm-up and cosine decay; no weight decay on biases and batch norm."""
    import keras

    steps = settings.epochs * math.ceil(training_images / settings.batch_size)
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


def _take_steps(job: Job, seen: Pixels, checkpoints: Checkpoints) -> bool:
    """Train the epochs that are not done yet, until patience or time is over.

    Returns:
        Whether Ctrl-C ended it and the epochs before are to be made the best of.

    Raises:
        InputError: memory is too small.
        KeyboardInterrupt: after Ctrl-C, where nothing is to be made of it.
    """
    import keras
    import tensorflow as tf

    settings, model = job.settings, checkpoints.model
    board = keras.callbacks.TensorBoard(devices.name_for_tensorflow(job.folder / "logs"), write_graph=False)
    callbacks = [_callback(job, seen, checkpoints), board]
    model.stop_training = checkpoints.is_patience_over()
    for epoch in range(checkpoints.epochs_done(), settings.epochs):
        if model.stop_training:
            break
        try:
            model.fit(
                seen.training_batches(epoch),
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
        except KeyboardInterrupt:
            if job.on_frozen and checkpoints.epochs_done():
                return True
            raise
    return False


def _callback(job: Job, seen: Pixels, checkpoints: Checkpoints) -> keras.callbacks.Callback:
    """Judges and writes down each epoch, stops when patience or time is over, and moves the bar."""
    import keras

    settings, images = job.settings, len(job.data.indices("train"))
    epochs = settings.epochs
    bar, validation = job.display.steps("Training"), seen.validation_batches()
    labels = job.data.labels[job.data.indices("validation")]

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began, self.seen, self.epoch = time.monotonic(), 0, epoch
            self.first = self.began, 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if job.deadline is not None and time.monotonic() > job.deadline:
                checkpoints.out_of_time = True
                self.model.stop_training = True
            self.seen = min(self.seen + settings.batch_size, images)
            if not batch:
                self.first = time.monotonic(), self.seen  # the first step also makes a graph
            bar(self.epoch * images + self.seen, epochs * images)
            rate = self.seen / (time.monotonic() - self.began)
            job.display.note(
                f"epoch {self.epoch + 1}/{epochs}  loss {logs['loss']:.3f}  "
                f"accuracy {logs['accuracy']:.3f}  {rate:.0f} images/s"
            )

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._learn_speed()
            probabilities = self.model.predict(validation, verbose=0)
            judged = judge(probabilities, labels)
            # TensorBoard, which comes next, draws these, too.
            logs.update(val_loss=judged.loss, val_accuracy=judged.accuracy, val_brier=judged.brier)
            if self.seen < images and checkpoints.history:
                return  # time was over in the middle of it: `resume` does it again
            row = Epoch(
                epoch=epoch + 1,
                phase="training",
                loss=float(logs["loss"]),
                accuracy=float(logs["accuracy"]),
                validation_loss=judged.loss,
                validation_accuracy=judged.accuracy,
                validation_brier=judged.brier,
                learning_rate=float(np.asarray(self.model.optimizer.learning_rate)),
                seconds=time.monotonic() - self.began,
            )
            checkpoints.add(row)
            if job.observer:
                job.observer.after_epoch(self.model, probabilities)
            if checkpoints.is_patience_over():
                self.model.stop_training = True

        def _learn_speed(self) -> None:
            (began, before), work = self.first, {"": "step", None: "head"}.get(settings.train_from)
            if work:
                took, size = time.monotonic() - began, settings.training_size
                speed.learn(work, job.backbone.name, size, self.seen - before, took)

    return Watch()

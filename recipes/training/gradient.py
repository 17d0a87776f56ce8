"""Training by gradient steps, shared by every recipe that needs it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.errors import InputError
from advisor.evidence.linear_head import judge
from advisor.results import Epoch
from advisor.system import devices, speed
from advisor.system.stopwatch import Stopwatch
from recipes.job import Job, Solved, Trained
from recipes.training import optimizers, pixels
from recipes.training.assembly import assemble, clone, freeze, head_layers, metrics, set_head
from recipes.training.checkpoints import Checkpoints
from recipes.training.frozen import finished, head_alone, solve, solve_both, train_head
from recipes.training.keeping import keep, save_epoch
from recipes.training.outlook import Outlook
from recipes.training.phases import Phase, phases
from recipes.training.pixels import Pixels

if TYPE_CHECKING:
    import keras

CLIP = 1.0  # the norm that the gradients of AdamW have at most, all weights together


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
        head = head_layers(settings.head, job.classes, settings.dropout)
        if start:
            set_head(head, start)
        flexible = settings.training_size != settings.image_size
        learner = assemble(backbone, settings, head, None if flexible else settings.image_size)
        seen = pixels.decode(job)
        checkpoints = Checkpoints(learner, job.folder / "checkpoints", history, settings)
        outlook = Outlook.of(job, solved, checkpoints)
        earlier_seconds, interrupted = _train_phases(job, seen, backbone, checkpoints, outlook)
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
        lost_patience=checkpoints.is_patience_over(),
        truth=solved.truth if solved and choice and choice.weight == 0 else None,
    )


def _frozen_first(job: Job) -> Solved | None:
    """The heads of the frozen network, which is told as soon as it is there; None with random weights."""
    if job.features is None:
        return None
    began, features = time.monotonic(), job.head_features()
    solved = solve_both(job, features)
    if job.on_frozen:
        job.on_frozen(finished(job, features, solved, began))
    return solved


def _head_first(
    job: Job, frozen: Solved | None
) -> tuple[Sequence[tuple[np.ndarray, np.ndarray]], list[Epoch]]:
    """Kernel and bias of the dense layers of a head on frozen features, and the first row of the history.

    Nothing where the weights are random, or those of the head are to be. Training begins from the whole
    picture, beside which the frozen network may see cells and likenesses.
    """
    if job.settings.head_start == "run":
        return job.backbone.head, []
    if frozen is None or job.settings.head_start == "random":
        return (), []
    began = time.monotonic()
    if job.settings.head == "linear":
        features = job.head_features(averages_alone=True)
        is_solved = not (job.settings.sees_cells or job.settings.sees_likeness)
        start = frozen.judged if is_solved else solve(job, features, job.data.indices("train")).head
        alone = head_alone(job, lambda at: start.probabilities(features.take(at)), began)
        return ((start.kernel, start.bias),), [alone]
    hidden = train_head(job)
    return hidden.weights, [head_alone(job, lambda at: hidden.probabilities(job.averages(at)), began)]


def _train_phases(
    job: Job, seen: Pixels, backbone: Backbone, checkpoints: Checkpoints, outlook: Outlook | None
) -> tuple[float, bool]:
    """Train one phase after the other; a resumed run goes on in the phase of its last finished epoch.

    Returns:
        Seconds of epochs that were trained before, and whether Ctrl-C ended it, see `_take_steps`.
    """
    settings, todo, current = job.settings, phases(job.settings), None

    def begin(phase: Phase) -> None:
        freeze(backbone, phase.train_from, settings.batch_norm)
        _compile(checkpoints.model, settings, phase, len(seen.training))

    if job.resume:
        current = next((phase for phase in todo if checkpoints.epochs_saved() <= phase.ends), todo[-1])
        begin(current)
        checkpoints.restore()
    earlier_seconds = checkpoints.seconds()
    for phase in todo:
        done = checkpoints.epochs_done()
        if done >= phase.ends and phase is not todo[-1]:
            continue
        if phase is not current or done <= phase.begins:
            begin(phase)
        if _take_steps(job, seen, checkpoints, phase, outlook):
            return earlier_seconds, True
        if checkpoints.out_of_time:
            break
    return earlier_seconds, False


def _compile(model: keras.Model, settings: Settings, phase: Phase, training_images: int) -> None:
    """The optimizer of a phase; no weight decay on biases and batch norm."""
    import keras

    steps = math.ceil(training_images / settings.batch_size)
    schedule = optimizers.schedule(settings, phase.rate, phase.epochs, steps)
    clip = CLIP if settings.optimizer == "adamw" else None
    optimizer = optimizers.optimizer(settings, schedule, clip)
    if settings.weight_decay:
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


def _take_steps(
    job: Job, seen: Pixels, checkpoints: Checkpoints, phase: Phase, outlook: Outlook | None
) -> bool:
    """Train the epochs of a phase that are not done yet, until patience or time is over, or the rest is not
    worth its time.

    Returns:
        Whether Ctrl-C ended it and the epochs before are to be made the best of.

    Raises:
        InputError: memory is too small.
        KeyboardInterrupt: after Ctrl-C, where nothing is to be made of it.
    """
    import keras
    import tensorflow as tf

    settings, model = job.settings, checkpoints.model
    logs = devices.name_for_tensorflow(job.folder / "logs")
    board = keras.callbacks.TensorBoard(logs, histogram_freq=int(settings.histograms), write_graph=False)
    callbacks = [_callback(job, seen, checkpoints, phase, outlook), board]
    model.stop_training = _is_over(checkpoints, outlook)
    for epoch in range(checkpoints.epochs_done(), phase.ends):
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


def _is_over(checkpoints: Checkpoints, outlook: Outlook | None) -> bool:
    """Whether more epochs would be for nothing."""
    return checkpoints.is_patience_over() or (outlook is not None and outlook.is_over())


def _callback(
    job: Job, seen: Pixels, checkpoints: Checkpoints, phase: Phase, outlook: Outlook | None
) -> keras.callbacks.Callback:
    """Judges and writes down each epoch, stops when more would be for nothing, and moves the bar."""
    import keras

    settings, images = job.settings, len(job.data.indices("train"))
    epochs, steps = settings.epochs, math.ceil(images / settings.batch_size)
    schedule = optimizers.schedule(settings, phase.rate, phase.epochs, steps)
    bar, validation = job.display.steps("Training"), seen.validation_batches()
    labels = job.data.labels[job.data.indices("validation")]

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began, self.seen, self.epoch = time.monotonic(), 0, epoch
            self.first = Stopwatch(), 0
            words = outlook.in_words() if outlook else ""
            self.told = f"  {words}" if words else ""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if job.deadline is not None and time.monotonic() > job.deadline:
                checkpoints.out_of_time = True
                self.model.stop_training = True
            self.seen = min(self.seen + settings.batch_size, images)
            if not batch:
                self.first = Stopwatch(), self.seen  # the first step also makes a graph
            bar(self.epoch * images + self.seen, epochs * images)
            rate = self.seen / (time.monotonic() - self.began)
            job.display.note(
                f"epoch {self.epoch + 1}/{epochs}  loss {logs['loss']:.3f}  "
                f"accuracy {logs['accuracy']:.3f}  {rate:.0f} images/s{self.told}"
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
                phase=phase.name,
                loss=float(logs["loss"]),
                accuracy=float(logs["accuracy"]),
                validation_loss=judged.loss,
                validation_accuracy=judged.accuracy,
                validation_brier=judged.brier,
                learning_rate=optimizers.rate_at(schedule, (epoch + 1 - phase.begins) * steps - 1),
                seconds=time.monotonic() - self.began,
                frozen_layers=job.backbone.frozen_layers(phase.train_from),
                batch_size=settings.batch_size,
                taken_away=outlook.taken_away(probabilities) if outlook else 0.0,
            )
            checkpoints.add(row)
            if settings.save_every and not row.epoch % settings.save_every:
                save_epoch(job, self.model, row.epoch)
            if job.observer:
                job.observer.after_epoch(self.model, probabilities)
            if _is_over(checkpoints, outlook):
                self.model.stop_training = True

        def _learn_speed(self) -> None:
            (watch, before), work = self.first, {"": "step", None: "head"}.get(phase.train_from)
            if work:
                size = settings.training_size
                speed.learn(work, job.backbone.name, size, self.seen - before, watch.seconds())

    return Watch()

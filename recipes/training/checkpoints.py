"""What a training is resumed from: its history and its weights, on disk after each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice.settings import Settings
from advisor.results import Epoch
from advisor.system.array_file import read_arrays
from advisor.system.json_file import read_json, write_json
from advisor.system.json_shape import conform
from advisor.system.storage import remove, replacing
from recipes.job import Weights

if TYPE_CHECKING:
    import keras

# Training stops after this share of all epochs without a better one; the head's own epoch 0 does not count.
# Few runs are so hopeless: on 1,000 flowers the network needed six epochs of ten to overtake the head. The
# best has the lowest Brier score on the validation split: bounded, so that it follows the accuracy where the
# log-loss is ruled by a few images that the model is too sure about.
PATIENCE_SHARE = 0.8
STATE = "state.json"
# Of a row of state.json, where an error may be infinite or not a number.
ROW: dict[str, Any] = {
    **dict.fromkeys((field.name for field in fields(Epoch)), float),
    **dict.fromkeys(("loss", "validation_loss", "validation_brier"), float | int),  # may be infinite
    **dict.fromkeys(("epoch", "stage", "frozen_layers", "batch_size"), (int, 0, 2**62)),
    "phase": str,
}


class Checkpoints:
    """The history and the weights of the best and the last epoch.

    Everything is replaced as a whole, and `state.json` last, so that a process that is killed at any
    moment leaves a state that `restore` can go on from: files of an epoch that is not in `state.json` yet
    do not count.

    Attributes:
        model: that is trained.
        folder: where the files lie.
        history: by epoch.
        patience: epochs without a better one, after which training stops.
        patient_from: epochs before patience begins.
        watch: what tells the best epoch, as in `Settings`.
        start: the weights before the first step.
        best: the weights of the best epoch; those of the start before there is one.
        out_of_time: whether time was over before all epochs were trained.
    """

    def __init__(
        self, model: keras.Model, folder: Path, history: Sequence[Epoch], settings: Settings
    ) -> None:
        """Begin with the model as it is.

        Args:
            model: compiled, with its optimizer built.
            folder: made if it does not exist.
            history: what there is before the first step.
            settings: how many epochs will be trained, what tells the best of them, and the patience.
        """
        self.model, self.folder, self.history = model, folder, list(history)
        self.patience = settings.patience or max(1, round(PATIENCE_SHARE * settings.epochs))
        self.patient_from = settings.head_epochs
        self.watch = settings.watch
        self.start: Weights = model.get_weights()
        self.best: Weights = self.start
        self.out_of_time = False
        folder.mkdir(parents=True, exist_ok=True)

    def epochs_done(self) -> int:
        """How many epochs were trained."""
        return len(self._trained())

    def best_epoch(self) -> int:
        """The best of the epochs that were trained, from 1; 0 if none was."""
        return min(self._trained(), key=self._badness).epoch if self._trained() else 0

    def seconds(self) -> float:
        """That the epochs took."""
        return sum(row.seconds for row in self._trained())

    def is_patience_over(self) -> bool:
        """Whether the best epoch is too long ago."""
        since = max(self.best_epoch(), self.patient_from)
        return bool(self.history) and self.history[-1].epoch - since >= self.patience

    def epochs_saved(self) -> int:
        """How many epochs `restore` would find, if nothing is damaged."""
        try:
            return max((_epoch(row).epoch for row in read_json(self.folder / STATE, finite=False)), default=0)
        except (OSError, ValueError, TypeError):
            return 0

    def add(self, row: Epoch) -> None:
        """Keep an epoch that was just trained.

        Raises:
            OSError: it cannot be written.
        """
        self.history.append(row)
        kept = {f"best-{self.best_epoch()}.npz", f"last-{row.epoch}.npz"}
        if self.best_epoch() == row.epoch:
            self.best = self.model.get_weights()
            self._save(f"best-{row.epoch}", self.best)
        self._save(f"last-{row.epoch}", [np.asarray(variable) for variable in self.variables()])
        write_json(self.folder / STATE, [asdict(row) for row in self.history])
        for pattern in ("best-*.npz", "last-*.npz"):
            for file in self.folder.glob(pattern):
                if file.name not in kept:
                    remove(file)

    def restore(self) -> None:
        """Take up the last finished epoch, if there is one; what is damaged is trained again."""
        started = self.history
        try:
            found = read_json(self.folder / STATE, finite=False)
            self.history = [_epoch(row) for row in found]
            expected = [*(row.epoch for row in started), *range(1, len(found) - len(started) + 1)]
            if [row.epoch for row in self.history] != expected:
                raise ValueError("holds other epochs")
            weights, variables = self.model.get_weights(), self.variables()
            best = self._load(f"best-{self.best_epoch()}", weights)
            last = self._load(f"last-{self.epochs_done()}", variables)
        except (OSError, ValueError, TypeError):  # none, or a stranger's
            self.history = started
            return
        for variable, value in zip(variables, last, strict=True):
            variable.assign(value)
        self.best = best

    def variables(self) -> list[Any]:
        """All that the next epoch starts from: weights, the optimizer's memory, and the random numbers of
        layers like dropout."""
        random = [variable for variable in self.model.variables if "seed_generator" in variable.path]
        return [*self.model.weights, *self.model.optimizer.variables, *random]

    def _badness(self, row: Epoch) -> float:
        if self.watch == "accuracy":
            return -row.validation_accuracy
        return row.validation_loss if self.watch == "loss" else row.validation_brier

    def _trained(self) -> list[Epoch]:
        return [row for row in self.history if row.epoch > 0]

    def _save(self, name: str, arrays: Weights) -> None:
        with replacing(self.folder / f"{name}.npz") as unfinished:
            np.savez(unfinished, *arrays)

    def _load(self, name: str, like: list[Any]) -> Weights:
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
    """A row of state.json.

    Raises:
        ValueError: it is none.
        TypeError: it has more columns.
    """
    conform(row, ROW)
    return Epoch(**row)

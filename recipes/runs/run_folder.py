"""The folder that a run is written to: who may write to it, and what an interrupted run goes on with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor.advice.networks import TAKEN, Candidate
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Settings
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.system.folder_lock import LOCK, locked
from advisor.system.json_file import read_json, write_json
from advisor.system.json_shape import Maybe, conform
from advisor.system.storage import is_unfinished as is_unfinished_file
from advisor.system.storage import remove
from recipes.runs import run_files

EXPORTS = ("saved_model", "model.tflite", "model-int8.tflite", "model.onnx")
# All that a run folder may hold; `--overwrite` removes these and nothing else.
FILES = (
    "model.keras",
    "labels.json",
    "recommendation.json",
    "metrics.json",
    "splits.csv",
    "corrections.csv",
    "history.csv",
    "curves.png",
    "confusion_matrix.png",
    "augmentation.png",
    "report.html",
    "README.md",
    "neighbours.npz",
    "test.npz",
    "validation.npz",
    "calibration.npz",
    *EXPORTS,
    "logs",
    "epochs",
    "checkpoints",
    ".checkpoints",
)
FINISHED = ("metrics.json", "compare.json")  # the last that a run or a comparison writes
STARTED = "checkpoints/started.json"
# Which network is loaded is never taken from a file.
NETWORK = ("backbone", "weights", "init", "cut_layer", "base_labels", "image_size", "start_from", "fit")

CANDIDATE = {  # a network in recommendation.json
    "name": str,
    "ready": bool,
    "expected_accuracy": Maybe((float, 0, 1)),
    "interval": Maybe([(float, 0, 1)]),
    "seconds": Maybe((float, 0, 1e9)),
    "megabytes": (float, 0, 1e9),
    "top1": Maybe((float, 0, 100)),
    "verdict": str,
}


def is_unfinished(folder: Path) -> bool:
    """Whether a folder exists, and is not that of a finished run or comparison."""
    trains = (folder / "checkpoints").exists() and not (folder / "compare.json").exists()
    return folder.exists() and (trains or not any((folder / name).exists() for name in FINISHED))


@dataclass(frozen=True)
class RunFolder:
    """A folder for one run or comparison.

    Attributes:
        path: where it lies; it need not exist.
    """

    path: Path

    @contextmanager
    def writing(self, resume: bool = False, overwrite: bool = False) -> Iterator[RunFolder]:
        """Hold the folder for one run or comparison.

        Args:
            resume: go on with the unfinished run in it.
            overwrite: replace the run in it; that is `clear`'s, once there is something to put in its place.

        Raises:
            InputError: see `prepare`; or another command is writing to it.
        """
        with self.holding():
            self.prepare(resume, overwrite)
            yield self

    @contextmanager
    def holding(self) -> Iterator[RunFolder]:
        """Keep other commands from writing to the folder, which is made if it does not exist.

        Where nothing is written, nothing is left.

        Raises:
            InputError: it cannot be written, or another command is writing to it.
        """
        self._make()
        try:
            with locked(self.path):
                yield self
        finally:
            self.remove_if_empty()

    def prepare(self, resume: bool, overwrite: bool) -> None:
        """Make sure that a run may write to the folder.

        What a killed process left unfinished in it is removed, so the folder has to be locked.

        Raises:
            InputError: it holds something and neither `resume` nor `overwrite` was asked for, it is damaged,
                or it cannot be written.
        """
        self._make()
        folder = self.path
        if not any(entry.name != LOCK for entry in folder.iterdir()):
            return
        if (resume or overwrite) and not any(os.path.lexists(folder / name) for name in FILES):
            raise InputError(f"{folder} is not a run folder; its content is kept; choose another --output")
        if resume and (folder / "metrics.json").exists() and not is_unfinished(folder):
            raise InputError(f"the run in {folder} is finished; choose another --output, or add --overwrite")
        if not (resume or overwrite):
            raise InputError(
                f"{folder} is not empty; choose another --output, or add --resume or --overwrite"
            )
        if resume:
            run_files.check_folders(folder)
            self._started()  # if that is damaged, it is said before anything slow
            self._remove_unfinished()

    def check_holds_no_run(self) -> None:
        """Refuse to put the page of an advice where the page of a run lies, or will lie.

        Raises:
            InputError: the folder holds a run or a comparison, finished or not.
        """
        if any((self.path / name).exists() for name in (*FINISHED, "checkpoints")):
            raise InputError(f"{self.path} holds a run, whose report is kept; choose another --output")

    def start(
        self, data: Dataset, seed: int, advice: Recommendation, asked: dict[str, Any], resume: bool
    ) -> Recommendation:
        """Write down what is about to be trained: recommendation.json, and what `resume` has to know.

        Args:
            data: the images.
            seed: of everything random.
            advice: with the settings to train with, unless an older run is resumed.
            asked: what the user asked for, in JSON; a resumed run must ask for the same.
            resume: go on with what was started, if anything was.

        Returns:
            The advice with the settings to train with, those of the resumed run.

        Raises:
            InputError: the run to resume is of other images, another seed, or was asked for otherwise.
        """
        started = self._started() if resume else None
        if started is not None:
            advice = self._resumed(started, (data.fingerprint(), seed), asked, advice)
            advice = replace(advice, networks=advice.networks or self._compared())
        (self.path / STARTED).parent.mkdir(exist_ok=True)
        write_json(self.path / "recommendation.json", advice.to_json())
        if started is None:
            settings = advice.settings.to_json()
            of = {"data": data.fingerprint(), "seed": seed, "settings": settings, "asked": asked}
            write_json(self.path / STARTED, of)
        return advice

    def network(self) -> str | None:
        """The network of the run that was started here, by its name; None where none was.

        Raises:
            InputError: what stands here of it is damaged.
        """
        started = self._started()
        if started is None:
            return None
        with run_files.reading(self.path, STARTED):
            return run_files.settings_from(started["settings"]).backbone

    def _compared(self) -> tuple[Candidate, ...]:
        """The networks that were compared when the run was started; none where that cannot be read."""
        try:
            told = read_json(self.path / "recommendation.json")["networks"]
            conform(told, [CANDIDATE])
            found = tuple(map(Candidate.from_json, told))
        except (OSError, ValueError, TypeError, LookupError):
            return ()
        return found if any(network.verdict == TAKEN for network in found) else ()

    def finish(self) -> None:
        """Remove what `resume` would need, at once; the last thing that a run does."""
        with suppress(OSError):
            remove(self.path / ".checkpoints")
            os.replace(self.path / "checkpoints", self.path / ".checkpoints")
            remove(self.path / ".checkpoints")

    def clear(self) -> None:
        """Remove what a run writes, and nothing else."""
        for name in FILES:
            remove(self.path / name)

    def remove_if_empty(self) -> None:
        """Leave nothing behind where nothing was done."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            with suppress(OSError):  # another command has just begun to write to it
                self.path.rmdir()

    def _make(self) -> None:
        """Make the folder where there is none.

        Raises:
            InputError: it is a file, or cannot be written.
        """
        folder = self.path
        try:
            if folder.exists() and not folder.is_dir():
                raise InputError(f"{folder} is a file; give a folder with --output")
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.R_OK | os.W_OK):
                raise InputError(f"cannot write to {folder}; choose another --output")
        except OSError as error:
            raise InputError(
                f"cannot write to {folder}: {error.strerror}; choose another --output"
            ) from error

    def _remove_unfinished(self) -> None:
        """Remove what `replacing` was writing when its process was killed."""
        for entry in self.path.iterdir():
            if any(is_unfinished_file(entry.name, name) for name in FILES if Path(name).suffix):
                remove(entry)
        for entry in self.path.glob("checkpoints/.*"):
            remove(entry)

    def _started(self) -> dict[str, Any] | None:
        """What stands in started.json, or None where a run was interrupted before it was written.

        Raises:
            InputError: it is damaged.
        """
        if not os.path.lexists(self.path / STARTED):
            return None
        with run_files.reading(self.path, STARTED):
            started = read_json(self.path / STARTED)
            conform(started, {})
            return started

    def _resumed(
        self, started: dict[str, Any], of: tuple[str, int], asked: dict[str, Any], advice: Recommendation
    ) -> Recommendation:
        """The advice with the settings in started.json.

        Raises:
            InputError: they are of other data or of another seed, or were asked for otherwise.
        """
        folder = self.path
        try:
            if (started["data"], started["seed"]) != of:
                raise InputError(
                    f"{folder} was started with other images or another --seed; give those again"
                )
            other = [name for name, value in asked.items() if started["asked"].get(name) != value]
            if other:
                options = ", ".join(f"--{name.replace('_', '-')}" for name in other)
                raise InputError(
                    f"{folder} was started with another {options}; "
                    "give the same, or --overwrite to start again"
                )
            settings = self._settings(started, advice)
        except (KeyError, TypeError, AttributeError):
            raise InputError(
                f"{folder} was started by another version of advisor; give --overwrite to start again"
            ) from None
        return advice if settings == advice.settings else advice.with_settings(settings)

    def _settings(self, started: dict[str, Any], advice: Recommendation) -> Settings:
        """The settings in started.json, if they are of the network that the advice is about."""
        with run_files.reading(self.path, STARTED):
            settings = run_files.settings_from(started["settings"])
            if any(getattr(settings, name) != getattr(advice.settings, name) for name in NETWORK):
                raise ValueError("names another network")
            return settings

"""How well a finished run does on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor import results
from advisor.data import copies, sources
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.errors import InputError
from recipes.runs import run_folder
from recipes.runs.prediction import FinishedRun, predict
from recipes.runs.run_folder import Run, score


@dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled images.

    Attributes:
        run: the finished run, with these images and their predictions in place of its test split.
        source: the data, as the user named them.
        used: which of its images, for people.
        shown: the n files as the user knows them.
        unlike: bool [n], see `advisor.evidence.outliers`; None where the run does not know.
        skipped: files that could not be read.
        warnings: what to know before trusting the numbers.
    """

    run: Run
    source: str
    used: str
    shown: tuple[str, ...]
    unlike: np.ndarray | None
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, int64 [n]."""
        return self.run.test_probabilities.argmax(axis=1)

    def metrics(self) -> dict[str, Any]:
        """One object as `advisor evaluate --json` prints it."""
        names, labels, probabilities = self.run.class_names, self.run.test_labels, self.run.test_probabilities
        test = self.run.metrics["test"]
        return {
            "schema": 1,
            "run": str(self.run.folder),
            "source": self.source,
            "used": self.used,
            "images": len(labels),
            "accuracy": test["accuracy"],
            "accuracy_interval": list(results.wilson_interval(test["accuracy"], len(labels))),
            "macro_f1": test["macro_f1"],
            "log_loss": test["log_loss"],
            "calibration_error": results.calibration_error(labels, probabilities),
            "per_class": test["per_class"],
            "unlike": None if self.unlike is None else int(self.unlike.sum()),
            "worst_mistakes": [
                {
                    "path": self.shown[i],
                    "label": names[labels[i]],
                    "predicted": names[self.predicted[i]],
                    "probability": float(probabilities[i].max()),
                }
                for i in results.worst_mistakes(self.run, results.WORST)
            ],
            "skipped": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "warnings": list(self.warnings),
        }


def evaluate(run: FinishedRun, source: str, display: Any) -> Evaluation:
    """Predict labelled images that the run was neither trained nor validated on.

    On the others the model would be asked what it was told. Images are known by their content, whatever
    their names and folders are.

    Args:
        run: from `recipes.runs.prediction.load`.
        source: as for `advisor run`.
        display: an `advisor.system.progress.Display`.

    Raises:
        InputError: the run folder is damaged; nothing to read, nothing that the run has not seen, or classes
            that it does not know.
    """
    known = run_folder.read_splits(run.folder)
    data = sources.load_test(source, display.steps("Looking at files"))
    unknown = [name for name in data.class_names if name not in run.class_names]
    if unknown:
        raise InputError(
            f"{source} has classes that the run does not know: {', '.join(unknown[:5])}"
            f"{' ...' if len(unknown) > 5 else ''}; it knows {', '.join(run.class_names[:10])}"
            f"{' ...' if len(run.class_names) > 10 else ''}"
        )
    data, used, warnings = _choose(known, data)
    to_run = np.array([run.class_names.index(name) for name in data.class_names])
    reasons: dict[str, str] = {}
    bar = display.steps("Classifying")
    predictions = list(predict(run, data.paths, reasons.__setitem__, bar))
    if not predictions:
        raise InputError(f"{source} holds no readable images; put images into its class folders")
    kept = [i for i, path in enumerate(data.paths) if path not in reasons]
    skipped = tuple(Skipped(data.shown(path), reason) for path, reason in reasons.items())
    labels = to_run[data.labels[kept]]
    probabilities = np.stack([item.probabilities for item in predictions])
    tested = Run(
        folder=run.folder,
        recipe=run.metrics["recipe"],
        class_names=run.class_names,
        history=(),
        test_paths=tuple(data.paths[i] for i in kept),
        test_labels=labels,
        test_probabilities=probabilities,
        metrics={**run.metrics, "test": score(labels, probabilities, run.class_names)},
    )
    return Evaluation(
        run=tested,
        source=data.source,
        used=used,
        shown=tuple(data.shown(data.paths[i]) for i in kept),
        unlike=np.array([item.unlike for item in predictions]) if run.neighbours else None,
        skipped=data.skipped + skipped,
        warnings=data.warnings + warnings,
    )


def _choose(
    known: tuple[run_folder.Known, ...] | None, data: Dataset
) -> tuple[Dataset, str, tuple[str, ...]]:
    """The images to use, which those are in words, and what to say about them.

    The run's own test images if there are any, for then the numbers compare with the run's; else those
    that it has not seen.
    """
    used = "its test split" if data.given_splits else "all images"
    if known is None:
        warning = (
            "the run is of an older version and does not say which images it was trained on; "
            "if some of these are among them, the numbers are too good"
        )
        return data, used, (warning,)
    contents = [bytes.fromhex(copies.content(path)) for path in data.paths]
    given = set(contents)
    split_of = {image.content: image.split for image in known if image.content in given}
    splits = np.array([split_of.get(content, "") for content in contents])
    tested, unseen = np.flatnonzero(splits == "test"), np.flatnonzero(splits == "")
    if len(unseen) == len(data):
        return data, used, ()
    if not len(tested):
        if not len(unseen):
            raise InputError(
                f"the run was trained or validated on all images of {data.source}; "
                "give images that it has not seen"
            )
        left_out = len(data) - len(unseen)
        warning = f"images left out, for the run was trained or validated on them: {left_out:,}"
        return data.take(unseen), "the images that the run has not seen", (warning,)
    own = [image for image in known if image.split == "test"]
    lost = [image.path for image in own if image.content not in given]
    warnings = []
    if lost:
        warnings.append(
            f"test images of the run that are not among these, or have changed: {len(lost):,}; "
            f"the first: {lost[0]}"
        )
    if len(unseen):
        warnings.append(
            f"images left out, for they are new or have changed since the run: {len(unseen):,}; "
            f"the first: {data.shown(data.paths[unseen[0]])}; to evaluate on new ones, give them alone"
        )
    used = (
        f"{len(own) - len(lost):,} of the run's {len(own):,} test images"
        if lost
        else "the run's own test split"
    )
    return data.take(tested), used, tuple(warnings)

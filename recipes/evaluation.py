"""How well a finished run does on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor import dataset, report
from advisor.errors import InputError
from recipes.prediction import FinishedRun, predict
from recipes.run_folder import Run, score

BINS = 15
WORST = 20  # mistakes that are shown


@dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled images.

    Attributes:
        run: the finished run, with these images and their predictions in place of its test split.
        source: the data, as the user named them.
        used: which of its images, for people.
        shown: the n files as the user knows them.
        unlike: bool [n], see `recipes.outliers`; None where the run does not know.
        skipped: files that could not be read.
        warnings: what to know before trusting the numbers.
    """

    run: Run
    source: str
    used: str
    shown: tuple[str, ...]
    unlike: np.ndarray | None
    skipped: tuple[dataset.Skipped, ...]
    warnings: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, int64 [n]."""
        return self.run.test_probabilities.argmax(axis=1)

    def metrics(self) -> dict[str, Any]:
        """One object as `advisor evaluate --json` prints it."""
        names, labels, probabilities = self.run.class_names, self.run.test_labels, self.run.test_probabilities
        scores = self.run.metrics["test"]
        return {
            "schema": 1,
            "run": str(self.run.folder),
            "source": self.source,
            "used": self.used,
            "images": len(labels),
            "accuracy": scores["accuracy"],
            "accuracy_interval": list(report.wilson_interval(scores["accuracy"], len(labels))),
            "macro_f1": scores["macro_f1"],
            "log_loss": scores["log_loss"],
            "calibration_error": calibration_error(labels, probabilities),
            "per_class": scores["per_class"],
            "unlike": None if self.unlike is None else int(self.unlike.sum()),
            "worst_mistakes": [
                {
                    "path": self.shown[i],
                    "label": names[labels[i]],
                    "predicted": names[self.predicted[i]],
                    "probability": float(probabilities[i].max()),
                }
                for i in report.worst_mistakes(self.run, WORST)
            ],
            "skipped": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "warnings": list(self.warnings),
        }


def evaluate(run: FinishedRun, source: str, display: Any) -> Evaluation:
    """Predict every labelled image.

    Where the data are those that the run was trained on, only its test split is used: on the others the
    model would be asked what it was told.

    Args:
        run: from `recipes.prediction.load`.
        source: as for `advisor run`.
        display: an `advisor.display.Display`.

    Raises:
        InputError: nothing to read, or classes that the run does not know.
    """
    data, used, warnings = _choose(run, source, display.steps("Looking at files"))
    unknown = [name for name in data.class_names if name not in run.class_names]
    if unknown:
        raise InputError(
            f"{source} has classes that the run does not know: {', '.join(unknown[:5])}"
            f"{' ...' if len(unknown) > 5 else ''}; it knows {', '.join(run.class_names[:10])}"
            f"{' ...' if len(run.class_names) > 10 else ''}"
        )
    to_run = np.array([run.class_names.index(name) for name in data.class_names])
    reasons: dict[str, str] = {}
    bar = display.steps("Classifying")
    predictions = list(predict(run, data.paths, reasons.__setitem__, bar))
    if not predictions:
        raise InputError(f"{source} holds no readable images; put images into its class folders")
    kept = [i for i, path in enumerate(data.paths) if path not in reasons]
    skipped = tuple(dataset.Skipped(data.shown(path), reason) for path, reason in reasons.items())
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
        warnings=warnings,
    )


def _choose(
    run: FinishedRun, source: str, progress: Callable[[int, int], None]
) -> tuple[dataset.Dataset, str, tuple[str, ...]]:
    """The images to use, which those are in words, and what to say about them."""
    if _same(source, run.source):
        data = dataset.load(source, run.metrics["seed"], progress)
        test = data.take(data.indices("test"))
        if len(test) == run.metrics["images"]["test"]:
            return test, "the run's own test split", ()
        warning = (
            "the run was trained on images of these data, which have changed since; the numbers are too good"
        )
        return dataset.load_test(source, progress), "all images", (warning,)
    data = dataset.load_test(source, progress)
    return data, "its test split" if data.given_splits else "all images", ()


def _same(source: str, other: str) -> bool:
    if ":" in source or ":" in other:
        return source == other
    return Path(source).expanduser().resolve() == Path(other).expanduser().resolve()


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images by the probability of their predicted class, in `BINS` bins of equal width.

    Returns:
        Images in each bin, int64 [15]; their mean probability and their accuracy, float64 [15], 0 where
        there are none.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    many = np.maximum(images, 1)
    return (
        images,
        np.bincount(place, confidence, BINS) / many,
        np.bincount(place, right, BINS) / many,
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: how far the probabilities are from the share that is right, 0..1.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    images, confidence, accuracy = reliability(labels, probabilities)
    return float((images * np.abs(confidence - accuracy)).sum() / images.sum())

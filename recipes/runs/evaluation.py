"""How well a finished run does on labelled images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from advisor.choices import CROP
from advisor.data import copies, sources
from advisor.data.checks import long_images
from advisor.data.corrections import Corrections
from advisor.data.dataset import DROPPED, Dataset
from advisor.data.listing import Skipped
from advisor.data.reading import AS_FOUND, Reading
from advisor.errors import InputError
from advisor.evidence.answer_scores import measured_costs
from advisor.evidence.prediction_sets import usually_covered
from advisor.results import Evaluation, Predictions, corrected_score
from advisor.system.progress import Display
from recipes.runs import splits_file
from recipes.runs.prediction import FinishedRun, predict
from recipes.runs.splits_file import Known

NAMED = 5, 10  # classes that a message names: unknown ones, known ones


def evaluate(
    run: FinishedRun,
    source: str,
    display: Display,
    reading: Reading = AS_FOUND,
    corrections: Corrections | None = None,
    costs: np.ndarray | None = None,
) -> Evaluation:
    """Predict labelled images that the run was neither trained nor validated on.

    On the others the model would be asked what it was told. Images are known by their content, whatever
    their names and folders are.

    Args:
        run: from `recipes.runs.prediction.load`.
        source: as for `advisor run`.
        display: where progress is shown.
        reading: what the user says of tables.
        corrections: of the labels; what the run gets right by them is told beside the rest.
        costs: of each confusion, float64 [classes, classes] with the true class in rows.

    Raises:
        InputError: the run folder is damaged; nothing to read, nothing that the run has not seen, or classes
            that it does not know.
    """
    known = splits_file.read(run.folder)
    data = sources.load_test(source, display, reading)
    _check_classes(run, data)
    data = replace(data, corrected=corrections.corrected(data)) if corrections else data
    data = replace(data, warnings=(*data.warnings, *(long_images(data) if run.fit == CROP else ())))
    data, used, warnings = _choose(known, data)
    unreadable: dict[str, str] = {}
    found = list(predict(run, data.paths, unreadable.__setitem__, display.steps("Classifying")))
    if not found:
        raise InputError(f"{source} holds no readable images; put images into its class folders")
    at_class = np.array([run.class_names.index(name) for name in data.class_names])
    is_read = [path not in unreadable for path in data.paths]
    predictions = Predictions(
        class_names=run.class_names,
        paths=tuple(item.path for item in found),
        shown=tuple(data.shown(item.path) for item in found),
        labels=at_class[data.labels[is_read]],
        probabilities=np.stack([item.probabilities for item in found]),
    )
    corrected = None
    if data.corrected is not None:
        labels = data.corrected[is_read]
        labels = np.where(labels == DROPPED, DROPPED, at_class[labels])
        corrected = corrected_score(predictions, labels)
    return Evaluation(
        run=run.folder,
        recipe=run.recipe,
        predictions=predictions,
        source=data.source,
        used=used,
        unlike=np.array([item.unlike for item in found]),
        skipped=(*data.skipped, *(Skipped(data.shown(path), why) for path, why in unreadable.items())),
        warnings=(*data.warnings, *warnings),
        corrected=corrected,
        fit=run.fit,
        grey=run.grey,
        covered=usually_covered(run.calibration, predictions.labels, predictions.probabilities),
        costs=None if costs is None else measured_costs(predictions.labels, predictions.probabilities, costs),
    )


def _check_classes(run: FinishedRun, data: Dataset) -> None:
    """Refuse data with classes that the run does not know."""
    unknown = [name for name in data.class_names if name not in run.class_names]
    if unknown:
        first, some = (
            ", ".join(names[:most]) + (" ..." if len(names) > most else "")
            for names, most in zip((unknown, run.class_names), NAMED, strict=True)
        )
        raise InputError(
            f"{data.source} has classes that the run does not know: {first}; leave them out, or call them as "
            f"the run does: {some}"
        )


def _choose(known: tuple[Known, ...], data: Dataset) -> tuple[Dataset, str, tuple[str, ...]]:
    """The images to use, which those are in words, and what to say about them.

    The run's own test images if there are any, for then the numbers compare with the run's; else those
    that it has not seen.
    """
    contents = [bytes.fromhex(copies.content(path)) for path in data.paths]
    given = set(contents)
    split_of = {image.content: image.split for image in known if image.content in given}
    splits = np.array([split_of.get(content, "") for content in contents])
    tested, unseen = np.flatnonzero(splits == "test"), np.flatnonzero(splits == "")
    if len(unseen) == len(data):
        return data, "its test split" if data.given_splits else "all images", ()
    if not len(tested):
        return _without_known(data, unseen)
    own = [image for image in known if image.split == "test"]
    lost = [image.path for image in own if image.content not in given]
    used, warnings = "the run's own test split", []
    if lost:
        used = f"{len(own) - len(lost):,} of the run's {len(own):,} test images"
        warnings.append(
            f"test images of the run that are not among these, or have changed: {len(lost):,}; "
            f"the first: {lost[0]}"
        )
    if len(unseen):
        warnings.append(
            f"images left out, for they are new or have changed since the run: {len(unseen):,}; "
            f"the first: {data.shown(data.paths[unseen[0]])}; to evaluate on new ones, give them alone"
        )
    return data.take(tested), used, tuple(warnings)


def _without_known(data: Dataset, unseen: np.ndarray) -> tuple[Dataset, str, tuple[str, ...]]:
    """As `_choose`, where the run knows some of the images, and none from its test split."""
    if not len(unseen):
        raise InputError(
            f"the run was trained or validated on all images of {data.source}; "
            "give images that it has not seen"
        )
    left_out = len(data) - len(unseen)
    warning = f"images left out, for the run was trained or validated on them: {left_out:,}"
    return data.take(unseen), "the images that the run has not seen", (warning,)

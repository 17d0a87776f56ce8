"""What a run, a prediction, an evaluation and a comparison give back, and every score on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Settings
from advisor.choices import CROP
from advisor.data.dataset import DROPPED
from advisor.data.deep_grey import GreyRange
from advisor.data.listing import Skipped
from advisor.evidence.answer_scores import AnswerScores, Costs, answer_scores
from advisor.evidence.prediction_sets import Covered

BINS = 15
WORST = 20  # mistakes that are shown
CHANCE = 0.05  # what chance alone does less often than this is taken for a difference


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told from the others.

    Attributes:
        precision: share of the images taken for it that are of it, 0..1.
        recall: share of its images that are found, 0..1.
        f1: harmonic mean of both.
        images: of this class, that were tested.
    """

    precision: float
    recall: float
    f1: float
    images: int


@dataclass(frozen=True)
class Scores:
    """How good predictions on labelled images are.

    Attributes:
        accuracy: 0..1.
        macro_f1: mean F1 of the classes that have images, 0..1.
        log_loss: mean, in nats.
        per_class: by the name of the class, in the order of the model's outputs.
    """

    accuracy: float
    macro_f1: float
    log_loss: float
    per_class: Mapping[str, ClassScores]

    @property
    def images(self) -> int:
        """How many were tested."""
        return sum(one.images for one in self.per_class.values())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, see `wilson_interval`."""
        return wilson_interval(self.accuracy, self.images)

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Scores:
        """What `to_json` gave."""
        per_class = {name: ClassScores(**one) for name, one in values["per_class"].items()}
        return Scores(**{**values, "per_class": per_class})


@dataclass(frozen=True)
class Predictions:
    """What a model says of labelled images.

    Attributes:
        class_names: in the order of the model's outputs.
        paths: n files.
        shown: the same as the user knows them, relative to the data.
        labels: int64 [n].
        probabilities: float32 [n, classes].
    """

    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    shown: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Which images are taken for what they are, bool [n]."""
        return self.predicted == self.labels

    def scores(self) -> Scores:
        """Accuracy, F1 and log-loss."""
        return score(self.labels, self.probabilities, self.class_names)

    def confusion_matrix(self) -> np.ndarray:
        """Images by true and predicted class, int64 [classes, classes]."""
        matrix = np.zeros((len(self.class_names),) * 2, dtype=np.int64)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    def worst_mistakes(self, most: int = WORST) -> np.ndarray:
        """Positions of misclassified images, int64, those with the least probability for the truth first."""
        truth = self.probabilities[np.arange(len(self.labels)), self.labels]
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(truth[wrong], kind="stable")][:most]


def corrected_score(seen: Predictions, labels: np.ndarray) -> Corrected | None:
    """How well a model does by corrected labels, int64 [n], `DROPPED` where an image is left out.

    None where nothing was corrected, or nothing is left.
    """
    kept, changed = labels != DROPPED, labels != seen.labels
    if not changed.any() or not kept.any():
        return None
    right = seen.predicted[kept] == labels[kept]
    return Corrected(int(kept.sum()), int(changed.sum()), float(right.mean()))


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv; epoch 0 is the head alone, before any gradient step.

    Attributes:
        epoch: from 1 for gradient steps, counted through all stages.
        phase: "head" where the head alone was fitted or trained, else "training".
        loss: on the training images, as they were changed at random, in nats.
        accuracy: on the same, 0..1.
        validation_loss: in nats.
        validation_accuracy: 0..1.
        validation_brier: mean squared error of the probabilities, summed over the classes.
        learning_rate: of the last step; 0 where there was none.
        seconds: that it took.
        stage: from 1; another one for each run that went on from the one before.
        frozen_layers: of the backbone, from the lowest upwards, as Keras or the user's file counts them.
        batch_size: images for each step; 0 where there was none.
        taken_away: of the log-loss of the frozen network on the validation images, the share that the pool of
            both takes away, at most 1; 0 where there is no pool.
    """

    epoch: int
    phase: str
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_brier: float
    learning_rate: float
    seconds: float
    stage: int = 1
    frozen_layers: int = 0
    batch_size: int = 0
    taken_away: float = 0.0


@dataclass(frozen=True)
class NearCopies:
    """Test images that are nearly the same as one that the model was made with.

    Attributes:
        test_images: how many.
        accuracy_without: accuracy on the others, 0..1.
    """

    test_images: int
    accuracy_without: float


@dataclass(frozen=True)
class Corrected:
    """Test images with the labels that `--corrections` gives them; all other numbers are with the old ones.

    Attributes:
        images: without those that are to be left out.
        changed: how many have another label now, or are left out.
        accuracy: on these images with these labels, 0..1.
    """

    images: int
    changed: int
    accuracy: float


@dataclass(frozen=True)
class Alone:
    """How accurate one of two networks is alone, 0..1.

    Attributes:
        test: on the test split, as it would be kept.
        validation: on the validation split, by a head that did not learn from it.
    """

    test: float
    validation: float


@dataclass(frozen=True)
class Second:
    """What a second network in the model costs.

    Attributes:
        megabytes: of weights in single precision, 1,000,000 bytes each; 0 where there is none.
        milliseconds: for each image, without decoding it, on the device that trained.
    """

    megabytes: float = 0.0
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Kept:
    """What was kept after training that began from a head on frozen features.

    Attributes:
        rule: that chose, one of `advisor.choices.KEEP`; "frozen" before training.
        weight: of the trained network's logits in the model's, 0..1; 0 is the frozen network alone, 1 the
            trained one alone.
        frozen: the network before training.
        trained: the network after training; None before that.
        second: what it costs to hold both.
    """

    rule: str
    weight: float
    frozen: Alone
    trained: Alone | None = None
    second: Second = Second()

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Kept:
        """What `to_json` gave."""
        frozen, trained = (
            one and Alone(one["test"], one["validation"]) for one in (values["frozen"], values["trained"])
        )
        second = Second(values["second"]["megabytes"], values["second"]["milliseconds"])
        return Kept(values["rule"], values["weight"], frozen, trained, second)


@dataclass(frozen=True)
class StepTaken:
    """A step of the advice that was taken: what was foretold, and what came.

    Attributes:
        action: the recipe.
        gain: accuracy over the frozen model that was foretold, -1..1; None where nobody knew.
        interval: 90 % interval of that; None where nobody knew.
        seconds: that were foretold; None where nothing told.
        measured_gain: test accuracy over that of the frozen model.
        measured_seconds: that it took.
    """

    action: str
    gain: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    measured_gain: float
    measured_seconds: float

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> StepTaken:
        """As in metrics.json."""
        named = {field.name: values[field.name] for field in fields(StepTaken)}
        return StepTaken(**{**named, "interval": named["interval"] and tuple(named["interval"])})


@dataclass(frozen=True)
class BeforeTraining:
    """Scores of the backbone's own classifier."""

    validation: Scores
    test: Scores

    def to_json(self) -> dict[str, Any]:
        return {"validation": self.validation.to_json(), "test": self.test.to_json()}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> BeforeTraining:
        return BeforeTraining(**{split: Scores.from_json(values[split]) for split in ("validation", "test")})


@dataclass(frozen=True)
class Metrics:
    """What stands in metrics.json.

    Attributes:
        recipe: that was trained.
        settings: that it was built with.
        test: scores of the saved model on the test split.
        validation: scores on the validation split, of a model that did not learn from it.
        images: of each split.
        parameters: "total" and "trained".
        complete: whether all epochs were trained, or patience was over, or the rest was not worth its time;
            False where time was over, and before training is done.
        lost_patience: True where training ended because the best epoch was too long ago; else None.
        model_sha256: of the model.keras that all this is about, in hexadecimal digits.
        seed: of everything random.
        seconds: "embed", "train" and "total".
        device: that trained.
        precision: Keras' dtype policy while training.
        versions: of Python and of the packages.
        kept: how the model was chosen; None where training began from no head on frozen features.
        trained_share: of the weights after training in the trained network's, 0..1, the rest being those
            before it; None where they were not averaged.
        near_copies: None where no test image is nearly the same as one in training.
        corrected: None where no label of a test image was corrected.
        before_training: how good the backbone's own classifier is, where its rows were asked for.
        steps: of the advice that were taken and can be judged; empty before the end.
        prediction_sets: how sets of the usual coverages did on the test split; empty in what an older version
            wrote, and where there were too few images to calibrate them.
    """

    recipe: str
    settings: Settings
    test: Scores
    validation: Scores
    images: Mapping[str, int]
    parameters: Mapping[str, int]
    complete: bool
    model_sha256: str
    seed: int
    seconds: Mapping[str, float]
    device: str
    precision: str
    versions: Mapping[str, str]
    lost_patience: bool | None = None
    kept: Kept | None = None
    trained_share: float | None = None
    near_copies: NearCopies | None = None
    corrected: Corrected | None = None
    before_training: BeforeTraining | None = None
    steps: tuple[StepTaken, ...] = ()
    prediction_sets: tuple[Covered, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object in metrics.json; what there is nothing to say about is left out."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {
            "settings": self.settings.to_json(),
            "test": self.test.to_json(),
            "validation": self.validation.to_json(),
            "kept": self.kept and self.kept.to_json(),
            "near_copies": self.near_copies and asdict(self.near_copies),
            "corrected": self.corrected and asdict(self.corrected),
            "before_training": self.before_training and self.before_training.to_json(),
            "steps": [asdict(step) for step in self.steps] or None,
            "prediction_sets": [asdict(one) for one in self.prediction_sets] or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Metrics:
        """What `to_json` gave."""
        copies, before = values.get("near_copies"), values.get("before_training")
        return Metrics(
            **{
                **values,
                "settings": Settings.from_json(values["settings"]),
                "test": Scores.from_json(values["test"]),
                "validation": Scores.from_json(values["validation"]),
                "kept": Kept.from_json(values["kept"]) if "kept" in values else None,
                "near_copies": NearCopies(**copies) if copies else None,
                "corrected": Corrected(**values["corrected"]) if "corrected" in values else None,
                "before_training": BeforeTraining.from_json(before) if before else None,
                "steps": tuple(StepTaken.from_json(step) for step in values.get("steps", ())),
                "prediction_sets": tuple(
                    Covered(**{field.name: one[field.name] for field in fields(Covered)})
                    for one in values.get("prediction_sets", ())
                ),
            }
        )


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        history: by epoch.
        test: what the saved model says of the test split.
        metrics: as in metrics.json.
    """

    folder: Path
    history: tuple[Epoch, ...]
    test: Predictions
    metrics: Metrics

    @property
    def recipe(self) -> str:
        """One of `advisor.choices.RECIPES`."""
        return self.metrics.recipe

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the model's outputs."""
        return self.test.class_names


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        path: as it was given.
        class_names: in the order of the model's outputs.
        probabilities: float32 [classes], in the same order.
        distance: to the training images, see `advisor.evidence.outliers`.
        unlike: whether that is more than a new image of the same kind has.
        least: probability of a class in the prediction set; None where no set was asked for.
    """

    path: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    distance: float
    unlike: bool
    least: float | None = None

    @property
    def possible(self) -> tuple[str, ...] | None:
        """The prediction set: the classes that it may be of, one, several or none, the most probable first.

        None where none was asked for. See `advisor.evidence.prediction_sets`.
        """
        if self.least is None:
            return None
        return tuple(name for name, _ in self.best(int((self.probabilities >= self.least).sum())))

    def best(self, count: int) -> list[tuple[str, float]]:
        """The names of the most probable classes with their probabilities, the best one first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]


@dataclass(frozen=True)
class Evaluation:
    """How well a run does on labelled images.

    Attributes:
        run: its folder.
        recipe: of the run.
        predictions: on the images.
        source: the data, as the user named them.
        used: which of its images, for people.
        unlike: bool [n], images unlike those that the run was trained on.
        skipped: files that could not be read.
        warnings: what to know before trusting the numbers.
        corrected: None where no label was corrected.
        fit: how images become squares, one of `advisor.choices.FITS`; as in the run.
        grey: the values of deep grey that are black and white; as in the run.
        covered: how prediction sets did, by coverage; empty in the run of an older version, and where there
            were too few images to calibrate them.
        costs: None where nothing was said of them.
    """

    run: Path
    recipe: str
    predictions: Predictions
    source: str
    used: str
    unlike: np.ndarray
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    corrected: Corrected | None = None
    fit: str = CROP
    grey: GreyRange | None = None
    covered: tuple[Covered, ...] = ()
    costs: Costs | None = None

    @property
    def answers(self) -> AnswerScores:
        """See `advisor.evidence.answer_scores`."""
        return answer_scores(self.predictions.labels, self.predictions.probabilities)

    @property
    def calibration_error(self) -> float:
        """See `calibration_error`."""
        return calibration_error(self.predictions.labels, self.predictions.probabilities)

    def to_json(self) -> dict[str, Any]:
        """The object that `advisor evaluate --json` prints."""
        seen, scores, answers = self.predictions, self.predictions.scores(), self.answers
        return {
            "schema": 1,
            "run": str(self.run),
            "source": self.source,
            "used": self.used,
            "images": len(seen),
            "accuracy": scores.accuracy,
            "accuracy_interval": list(scores.interval),
            "macro_f1": scores.macro_f1,
            "log_loss": scores.log_loss,
            "auroc": answers.auroc,
            "balanced_accuracy": answers.balanced_accuracy,
            "top": {str(k): share for k, share in answers.top.items()},
            "accuracy_of_surest": {f"{share:g}": each for share, each in answers.accuracy_of_surest.items()},
            "calibration_error": self.calibration_error,
            "prediction_sets": [asdict(one) for one in self.covered],
            "per_class": scores.to_json()["per_class"],
            "unlike": int(self.unlike.sum()),
            "fit": self.fit,
            **({"grey": list(self.grey)} if self.grey else {}),
            "worst_mistakes": [
                {
                    "path": seen.shown[i],
                    "label": seen.class_names[seen.labels[i]],
                    "predicted": seen.class_names[seen.predicted[i]],
                    "probability": float(seen.probabilities[i].max()),
                }
                for i in seen.worst_mistakes()
            ],
            "skipped": [vars(item) for item in self.skipped],
            "warnings": list(self.warnings),
            **({"corrected": asdict(self.corrected)} if self.corrected else {}),
            **({"costs": asdict(self.costs)} if self.costs else {}),
        }


@dataclass(frozen=True)
class Row:
    """One recipe on the leaderboard; without an accuracy it did not come to run.

    Attributes:
        name: of the recipe, or of the plain network that is the baseline.
        status: "finished", "out of time" (the best epoch so far is judged) or "not run".
        accuracy: on the test split, 0..1.
        interval: 95 % Wilson interval of it.
        macro_f1: 0..1.
        seconds: that it took, before an interruption, too.
        parameters: how many were trained.
        advised: whether it is the advised one.
        same_as: the name of the recipe that trains the very same network on these data: it is trained once,
            and both rows show it; None where there is none.
        needs: seconds that it needs at least, where the budget left less than that; else None.
    """

    name: str
    status: str
    accuracy: float | None
    interval: tuple[float, float] | None
    macro_f1: float | None
    seconds: float
    parameters: int | None
    advised: bool
    same_as: str | None = None
    needs: float | None = None


@dataclass(frozen=True)
class Paired:
    """The advised recipe and the best other one, on the test images that both judged.

    Attributes:
        name: of the other recipe.
        images: that both judged.
        only_advised: how many of them only the advised recipe got right.
        only_other: how many only the other one got right.
    """

    name: str
    images: int
    only_advised: int
    only_other: int

    @property
    def chance(self) -> float:
        """See `sign_test`."""
        return sign_test(self.only_advised, self.only_other)

    @property
    def is_clear(self) -> bool:
        """Whether these images tell which of the two is better."""
        return self.chance < CHANCE

    def to_json(self) -> dict[str, Any]:
        """As in compare.json."""
        return {**asdict(self), "chance": self.chance, "is_clear": self.is_clear}


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        advice: what was advised.
        rows: best first.
        regret: accuracy that the advised recipe loses against the best one, 0..1; None if it did not run.
        paired: the advised recipe beside the best other one; None if not both did run.
        tested: what each recipe that came to run says of the test images, by its name.
        seconds: that training took this time, everything between the advice and the last model included.
        budget: seconds that it had.
    """

    advice: Recommendation
    rows: tuple[Row, ...]
    regret: float | None
    paired: Paired | None
    tested: Mapping[str, Predictions]
    seconds: float
    budget: float

    @property
    def lead(self) -> float:
        """Accuracy by which the better of the two in `paired` is ahead on the images of both, 0..1."""
        both = self.paired
        return abs(both.only_advised - both.only_other) / both.images if both and both.images else 0.0

    def to_json(self) -> dict[str, Any]:
        """The object in compare.json: the same again where nothing was left to train."""
        return {
            "schema": 1,
            "dataset": self.advice.data.to_json(),
            "quadrant": self.advice.quadrant.name,
            "advised": self.advice.recipe,
            "leaderboard": [asdict(row) for row in self.rows],
            "regret": self.regret,
            "paired": self.paired and self.paired.to_json(),
        }


@dataclass(frozen=True)
class Quantized:
    """What a model in whole numbers of 8 bits does on the run's test images.

    Attributes:
        images: how many.
        accuracy: of it, 0..1.
        accuracy_before: of the run's own model, 0..1.
        same_class: share of the images that get the same class from both, 0..1.
        megabytes: of its file, 1,000,000 bytes each.
    """

    images: int
    accuracy: float
    accuracy_before: float
    same_class: float
    megabytes: float


@dataclass(frozen=True)
class Export:
    """A model in another format.

    Attributes:
        path: file or folder.
        difference: largest absolute difference of a probability from the original's, on 8 images, or, in
            int8, on the test images.
        is_same: whether that is no more than rounding makes.
        quantized: what whole numbers of 8 bits lose; None in other formats.
    """

    path: Path
    difference: float
    is_same: bool
    quantized: Quantized | None = None


def score(labels: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...]) -> Scores:
    """Score predictions.

    Args:
        labels: int64 [n].
        probabilities: [n, classes].
        class_names: in the order of the columns.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted = probabilities.argmax(axis=1)
    truth = probabilities[np.arange(len(labels)), labels]
    columns = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(class_names)), zero_division=0
    )
    rows = zip(class_names, *columns, strict=True)
    per_class = {name: ClassScores(float(p), float(r), float(f1), int(n)) for name, p, r, f1, n in rows}
    return Scores(
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(np.mean([one.f1 for one in per_class.values() if one.images])),
        log_loss=float(-np.log(np.maximum(truth, 1e-7)).mean()),
        per_class=per_class,
    )


def wilson_interval(accuracy: float, images: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson, JASA 1927).

    Args:
        accuracy: 0..1.
        images: that it was measured on.
        z: quantile of the normal distribution.
    """
    if not images:
        return 0.0, 1.0
    center = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * np.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images**2))
    return float(max(0.0, center - half)), float(min(1.0, center + half))


def pair(name: str, advised: Predictions, other: Predictions) -> Paired:
    """Put two models side by side on the images that both judged.

    Args:
        name: of the other one.
        advised: what the advised recipe says.
        other: what the other one says.
    """
    known = dict(zip(other.paths, other.right.tolist(), strict=True))
    both = [
        (own, known[path])
        for path, own in zip(advised.paths, advised.right.tolist(), strict=True)
        if path in known
    ]
    return Paired(name, len(both), both.count((True, False)), both.count((False, True)))


def sign_test(first: int, second: int) -> float:
    """How often chance alone would divide the images that two models disagree on so unevenly, 0..1.

    This is McNemar's test in its exact form (Psychometrika 1947): images that both get right or both get
    wrong tell nothing about which of them is better.

    Args:
        first: images that only the first model got right.
        second: images that only the second one got right.

    >>> sign_test(1, 2), sign_test(0, 6)
    (1.0, 0.03125)
    """
    differing = first + second
    ways = (
        math.lgamma(differing + 1) - math.lgamma(k + 1) - math.lgamma(differing - k + 1)
        for k in range(min(first, second) + 1)
    )
    tail = sum(math.exp(way - differing * math.log(2)) for way in ways)
    return min(1.0, round(2 * tail, 9))


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

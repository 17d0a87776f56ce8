"""What each chart shows, as plain values: `plots` draws them into files, `svg` into pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from advisor import results
from advisor.advice import rule
from advisor.advice.recommendation import Recommendation
from advisor.evidence import similarity
from advisor.report import words
from advisor.results import Comparison, Epoch, Evaluation, Predictions, Row, Run
from advisor.system.text import legible

Tone = Literal["plain", "quiet", "marked"]
COLORS: dict[Tone, str] = {"plain": "#4c86d9", "quiet": "#8a8f98", "marked": "#e08a3c"}
MOST_CLASSES = 30  # whose names and numbers a drawn confusion matrix has room for

# Well-known kinds of images in the map: name, images, and the Kernel Inception Distance that
# `advisor recommend DATA --json` gives as similarity.distance with the default sample and seed. The folders
# hold hymenoptera, tf_flowers, NEU surface defects and 6,000 of NIH's malaria cells; digits is
# sklearn:digits, garments are those of Fashion-MNIST.
REFERENCE_POINTS = (
    ("ants, bees", 398, 0.074),
    ("flowers", 3670, 0.097),
    ("steel surfaces", 1800, 0.309),
    ("blood cells", 6000, 0.578),
    ("digits", 1797, 0.454),
    ("garments", 70000, 0.263),
)


@dataclass(frozen=True)
class Series:
    """A line through points (x, y), of which there is one or more."""

    name: str
    points: tuple[tuple[float, float], ...]
    tone: Tone
    dashed: bool = False


@dataclass(frozen=True)
class LineChart:
    """Lines over a common axis.

    Attributes:
        title: what they show.
        axes: names of x, which counts something, and of y.
        series: the lines.
        in_percent: whether y is a share, 0..1.
        log_x: whether x is logarithmic.
        borders: x of vertical lines, and words that say what begins there.
        interval: x, low and high of an interval; None where there is none.
    """

    title: str
    axes: tuple[str, str]
    series: tuple[Series, ...]
    in_percent: bool = True
    log_x: bool = False
    borders: tuple[tuple[float, str], ...] = ()
    interval: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class BarChart:
    """Values side by side.

    Attributes:
        title: what they show.
        axis: name of the values.
        bars: name and value of each.
        marked: the name of one that stands out; None for none.
        in_percent: whether the values are shares, 0..1.
    """

    title: str
    axis: str
    bars: tuple[tuple[str, float], ...]
    marked: str | None = None
    in_percent: bool = True


@dataclass(frozen=True)
class ConfusionMatrix:
    """Images by true and predicted class.

    Attributes:
        names: of the classes, legible.
        counts: int64 [classes, classes], a row for each true class.
    """

    names: tuple[str, ...]
    counts: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Of the images of the true class, float64 [classes, classes], 0..1."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    def most_confused(self, most: int) -> list[tuple[str, str, int]]:
        """True class, the class that it is taken for, and how many images; the most frequent pairs first."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(wrong, axis=None, kind="stable")[::-1][:most]
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(self.names[i], self.names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


@dataclass(frozen=True)
class Corner:
    """A quadrant of the 2 x 2.

    Attributes:
        recipe: that the rule of thumb names there.
        probability: that the data set lies there, 0..1.
        is_few: whether it is one of few images.
        is_similar: whether it is one of images similar to the source domain.
        is_here: whether the data set was put there.
    """

    recipe: str
    probability: float
    is_few: bool
    is_similar: bool
    is_here: bool


@dataclass(frozen=True)
class QuadrantMap:
    """The 2 x 2 to scale, with a data set in it.

    Attributes:
        images: of the data set.
        many_from: images from which on they are many.
        score: similarity of the data set, 0..1.
        interval: of the score.
        similar_from: the score from which on they are similar.
        corners: few and similar, few and unlike, many and similar, many and unlike.
        known: name, images and score of well-known data sets.
    """

    images: int
    many_from: int
    score: float
    interval: tuple[float, float]
    similar_from: float
    corners: tuple[Corner, ...]
    known: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Ranked:
    """A line of the leaderboard: accuracy on the test split with its interval, 0..1.

    It is quiet where the recipe is the same training as another one.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    tone: Tone


@dataclass(frozen=True)
class Reliability:
    """How often the model is right against how sure it is, in bins of equal width from 0 to 1.

    Attributes:
        error: expected calibration error, 0..1.
        images: in each bin, int64 [bins].
        confidence: mean probability of the predicted class, float64 [bins].
        accuracy: share that is right, float64 [bins].
    """

    error: float
    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class Mistake:
    """A misclassified image.

    Attributes:
        path: of the file.
        shown: the same as the user knows it.
        truth: name of its class.
        guess: name of the class that it was taken for.
        truth_probability: of its class, 0..1.
        guess_probability: of the class that it was taken for, 0..1.
    """

    path: str
    shown: str
    truth: str
    guess: str
    truth_probability: float
    guess_probability: float


def quadrant_map(advice: Recommendation) -> QuadrantMap:
    """The 2 x 2 with the place of the data set that the advice is about."""
    near, place = advice.evidence.similarity, advice.quadrant
    names = ("small-similar", "small-dissimilar", "large-similar", "large-dissimilar")
    return QuadrantMap(
        images=advice.data.images,
        many_from=rule.LARGE_FROM_IMAGES,
        score=near.score,
        interval=near.interval,
        similar_from=rule.SIMILAR_FROM_SCORE,
        corners=tuple(
            Corner(
                recipe=rule.RECIPE[name],
                probability=place.probabilities[name],
                is_few=name.startswith("small"),
                is_similar=name.endswith("-similar"),
                is_here=name == place.name,
            )
            for name in names
        ),
        known=tuple(
            (name, images, similarity.score(distance)) for name, images, distance in REFERENCE_POINTS
        ),
    )


def probes_by_depth(advice: Recommendation) -> BarChart:
    """Accuracy of the linear probes, the best one marked."""
    probes = advice.evidence.probes
    bars = tuple((probe.tap, probe.accuracy) for probe in (*probes.by_depth, probes.together))
    return BarChart("Linear probes by depth", "accuracy", bars, marked=max(bars, key=lambda bar: bar[1])[0])


def learning_curve(advice: Recommendation) -> LineChart:
    """Accuracy of a frozen model by the images it saw: measured, and expected of all and of twice as many."""
    splits, expected = advice.data.splits, advice.evidence.probes.expected[advice.frozen_recipe]
    fitted = float(splits["train"] + splits["validation"])
    measured = tuple((float(point.images), point.accuracy) for point in expected.curve)
    ahead = (fitted, expected.accuracy), (2 * fitted, expected.accuracy + expected.gain_at_double)
    return LineChart(
        title="Learning curve",
        axes=("images", "accuracy"),
        series=(
            Series("measured", measured, "plain"),
            Series("expected", (measured[-1], *ahead), "marked", dashed=True),
        ),
        log_x=True,
        interval=(fitted, *expected.interval),
    )


def was_solved(run: Run) -> bool:
    """Whether the model was solved in one step and has no course over epochs."""
    return len(run.history) == 1


def solved(run: Run) -> tuple[BarChart, BarChart]:
    """Accuracy and loss of a run that was solved in one step."""
    (only,) = run.history
    accuracy = ("training", only.accuracy), ("validation", only.validation_accuracy)
    loss = ("training", only.loss), ("validation", only.validation_loss)
    return (
        BarChart("Accuracy by split", "accuracy", (*accuracy, ("test", run.metrics.test.accuracy))),
        BarChart("Loss by split", "loss", (*loss, ("test", run.metrics.test.log_loss)), in_percent=False),
    )


def courses(run: Run) -> tuple[LineChart, LineChart]:
    """Accuracy and loss of a run over its epochs."""
    borders = _borders(run)

    def chart(
        name: str, training: Callable[[Epoch], float], validation: Callable[[Epoch], float]
    ) -> LineChart:
        lines: tuple[tuple[str, Callable[[Epoch], float], Tone], ...] = (
            ("training", training, "quiet"),
            ("validation", validation, "plain"),
        )
        series = tuple(
            Series(label, tuple((float(row.epoch), value(row)) for row in run.history), tone)
            for label, value, tone in lines
        )
        return LineChart(name, ("epoch", name), series, in_percent=name == "accuracy", borders=borders)

    return (
        chart("accuracy", lambda row: row.accuracy, lambda row: row.validation_accuracy),
        chart("loss", lambda row: row.loss, lambda row: row.validation_loss),
    )


def _borders(run: Run) -> tuple[tuple[float, str], ...]:
    """Where training begins after the head, and where a run went on from another one."""
    found = []
    for before, row in pairwise(run.history):
        at = before.epoch + 0.5
        if row.stage != before.stage:
            found.append((at, f"stage {row.stage} starts"))
        elif before.epoch == 0 or (before.phase == "head" and row.phase != "head"):
            found.append((at, f"{words.training_of(run)} starts; before it, only the head"))
    return tuple(found)


def confusion(predictions: Predictions) -> ConfusionMatrix:
    """Images by true and predicted class."""
    return ConfusionMatrix(
        tuple(legible(name) for name in predictions.class_names), predictions.confusion_matrix()
    )


def leaderboard(compared: Comparison) -> tuple[Ranked, ...]:
    """The recipes that came to run, best first."""

    def tone(row: Row) -> Tone:
        return "marked" if row.advised else "quiet" if row.same_as else "plain"

    return tuple(
        Ranked(words.leaderboard_name(row), row.accuracy, row.interval, tone(row))
        for row in compared.rows
        if row.accuracy is not None and row.interval is not None
    )


def reliability(evaluation: Evaluation) -> Reliability:
    """How often a model is right against how sure it is."""
    seen = evaluation.predictions
    return Reliability(evaluation.calibration_error, *results.reliability(seen.labels, seen.probabilities))


def mistakes(predictions: Predictions) -> tuple[Mistake, ...]:
    """The worst mistakes, see `Predictions.worst_mistakes`."""
    names, predicted = predictions.class_names, predictions.predicted
    return tuple(
        Mistake(
            path=predictions.paths[i],
            shown=predictions.shown[i],
            truth=names[predictions.labels[i]],
            guess=names[predicted[i]],
            truth_probability=float(predictions.probabilities[i, predictions.labels[i]]),
            guess_probability=float(predictions.probabilities[i, predicted[i]]),
        )
        for i in predictions.worst_mistakes()
    )

"""The plots of a run, an evaluation and a comparison, as PNG files drawn by matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.data import images
from advisor.data.deep_grey import GreyRange
from advisor.report import charts, words
from advisor.report.charts import COLORS
from advisor.results import BINS, Comparison, Evaluation, Run
from advisor.system.json_file import write_json
from advisor.system.storage import replacing
from advisor.system.text import legible, shortened

MISTAKE_PIXELS = 224
NAME_LENGTH = 20  # characters of the name of a class beside a confusion matrix
LABEL_LENGTH = 24  # characters of a name under a mistake


def write_run(run: Run) -> None:
    """Draw curves.png and confusion_matrix.png into the run folder."""
    caption = words.caption(run.recipe, run.metrics.test)
    _save(_training(run, caption), run.folder / "curves.png")
    _save(_confusion(charts.confusion(run.test), caption), run.folder / "confusion_matrix.png")


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write evaluation.json, confusion_matrix.png, reliability.png and, if there are any, mistakes.png.

    Args:
        evaluation: what to show.
        folder: is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "evaluation.json", evaluation.to_json())
    seen = evaluation.predictions
    caption = words.caption(evaluation.recipe, seen.scores())
    _save(_confusion(charts.confusion(seen), caption), folder / "confusion_matrix.png")
    _save(_reliability(charts.reliability(evaluation)), folder / "reliability.png")
    mistakes = charts.mistakes(seen)
    if mistakes:
        _save(_mistakes(mistakes, evaluation.grey), folder / "mistakes.png")
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)  # of an earlier evaluation


def write_leaderboard(compared: Comparison, folder: Path) -> None:
    """Draw leaderboard.png into a folder."""
    rows = charts.leaderboard(compared)[::-1]  # matplotlib begins at the bottom
    figure = _figure(8, 1.2 + 0.5 * len(rows))
    axes = figure.subplots()
    for y, row in enumerate(rows):
        color = COLORS[row.tone]
        axes.plot(row.interval, (y, y), color=color, linewidth=2)
        axes.plot(row.accuracy, y, "o", color=color)
        axes.annotate(
            f"{row.accuracy:.1%}", (row.accuracy, y), (0, 6), textcoords="offset points", ha="center"
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.2)
    grey = "; grey: the same training as another" if any(row.tone == "quiet" for row in rows) else ""
    axes.set_xlabel(f"test accuracy, with its 95 % interval{grey}")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, folder / "leaderboard.png")


def write_augmentation(batches: Sequence[np.ndarray], file: Path) -> None:
    """Draw what the network sees: a row for each image, first as it is, then changed at random.

    Args:
        batches: the same n images again and again, float or uint8 [n, size, size, 3] in 0..255; the first
            as they are.
        file: a PNG to write.
    """
    rows, columns = len(batches[0]), len(batches)
    figure = _figure(1.1 * columns, 1.1 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for column, batch in enumerate(batches):
        for row, pixels in enumerate(batch):
            axes = grid[row][column]
            axes.imshow(np.clip(pixels, 0, 255).astype(np.uint8))
            axes.set_axis_off()
    grid[0][0].set_title("as it is", fontsize=9)
    if columns > 1:
        grid[0][1].set_title("what training sees", fontsize=9, loc="left")
    _save(figure, file)


def _figure(width: float, height: float) -> Any:
    """An empty figure of so many inches; it needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, file: Path) -> None:
    with replacing(file) as unfinished, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # no font has every letter that a class name may have
        figure.savefig(unfinished)


def _training(run: Run, caption: str) -> Any:
    """Accuracy and loss side by side: over the epochs, or as bars where there are none."""
    figure = _figure(9, 3.6)
    figure.suptitle(caption)
    panels = figure.subplots(1, 2)
    if charts.was_solved(run):
        for axes, bars in zip(panels, charts.solved(run), strict=True):
            _draw_bars(axes, bars)
            axes.set_title("head solved in one step", fontsize=9)
    else:
        for axes, course in zip(panels, charts.courses(run), strict=True):
            _draw_lines(axes, course)
    return figure


def _draw_bars(axes: Any, shown: charts.BarChart) -> None:
    values = [value for _, value in shown.bars]
    colors = [COLORS["quiet"], *[COLORS["plain"]] * (len(values) - 1)]  # training is what it learned from
    drawn = axes.bar([name for name, _ in shown.bars], values, width=0.5, color=colors)
    axes.bar_label(drawn, [f"{value:.1%}" if shown.in_percent else f"{value:.3f}" for value in values])
    axes.margins(y=0.12)  # room for the numbers
    axes.set_ylabel(shown.axis)


def _draw_lines(axes: Any, shown: charts.LineChart) -> None:
    for one in shown.series:
        xs, ys = zip(*one.points, strict=True)
        axes.plot(xs, ys, "o--" if one.dashed else "o-", ms=3, label=one.name, color=COLORS[one.tone])
    for at, _ in shown.borders:
        axes.axvline(at, color="grey", linestyle="--", linewidth=1)
    if shown.borders:
        axes.set_title("dashed: " + "; ".join(meaning for _, meaning in shown.borders), fontsize=9, wrap=True)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(shown.axes[0])
    axes.set_ylabel(shown.axes[1])
    axes.grid(alpha=0.3)
    axes.legend()


def _confusion(shown: charts.ConfusionMatrix, caption: str) -> Any:
    """Shares of the true class as shades, with numbers and names where there is room for them."""
    side = min(14.0, 3.0 + 0.5 * len(shown.names))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    shares = shown.shares
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, shrink=0.8, label="share of the true class")
    if len(shown.names) <= charts.MOST_CLASSES:
        names = [shortened(name, NAME_LENGTH) for name in shown.names]
        # matplotlib reads $...$ as mathematics
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for i, j in np.argwhere(shown.counts):
            color = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, shown.counts[i, j], ha="center", va="center", color=color, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(caption, fontsize=10)
    return figure


def _reliability(shown: charts.Reliability) -> Any:
    """Share that is right against probability, and below how many images have which probability."""
    blue, width, held = COLORS["plain"], 1 / BINS, shown.images > 0
    edges = np.arange(BINS) / BINS
    figure = _figure(5, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="grey", linestyle="--", linewidth=1, label="perfectly calibrated")
    upper.bar(edges[held], shown.accuracy[held], width, align="edge", color=blue, alpha=0.35, edgecolor=blue)
    upper.plot(shown.confidence[held], shown.accuracy[held], "o", color=blue, label="share that is right")
    upper.set_ylabel("share that is right")
    upper.set_ylim(0, 1.02)
    upper.set_title(f"expected calibration error {shown.error:.3f}")
    upper.legend(loc="upper left")
    lower.bar(edges, shown.images, width, align="edge", color=COLORS["quiet"])
    lower.set_xlabel("probability of the predicted class")
    lower.set_ylabel("images")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure


def _mistakes(mistakes: Sequence[charts.Mistake], grey: GreyRange | None) -> Any:
    """A contact sheet."""

    def short(name: str) -> str:
        return shortened(legible(name), LABEL_LENGTH)

    columns = min(5, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    figure = _figure(2.2 * columns, 2.85 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, mistake in zip(figure.axes, mistakes, strict=False):
        axes.imshow(images.load_square(mistake.path, MISTAKE_PIXELS, grey=grey))
        text = (
            f"{short(Path(mistake.shown).name)}\ntrue: {short(mistake.truth)}\n"
            f"{short(mistake.guess)} {mistake.guess_probability:.1%}"
        )
        axes.set_xlabel(text, fontsize=7.5, parse_math=False)
    return figure

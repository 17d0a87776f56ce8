"""An evaluation as a person sees it: a table on the terminal, three pictures in a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor import results
from advisor.data import images
from advisor.report import terminal
from advisor.system.storage import replacing
from advisor.system.text import fitting, legible

if TYPE_CHECKING:
    from recipes.runs.evaluation import Evaluation

MOST_CLASSES = 30  # rows of the table


def lines(metrics: dict[str, Any]) -> list[str]:
    """The metrics as lines of text of 80 columns.

    Args:
        metrics: as `Evaluation.metrics` gives them.
    """
    low, high = metrics["accuracy_interval"]
    text = [
        f"{metrics['source']}: {metrics['images']:,} images ({metrics['used']})",
        f"Accuracy {metrics['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"macro F1 {metrics['macro_f1']:.3f}",
        f"Log-loss {metrics['log_loss']:.3f}, expected calibration error {metrics['calibration_error']:.3f}",
        "",
        f"{'class':32}{'precision':>11}{'recall':>9}{'F1':>9}{'images':>9}",
    ]
    rows = [(name, row) for name, row in metrics["per_class"].items() if row["images"]]
    rows.sort(key=lambda item: item[1]["f1"])
    for name, row in rows[:MOST_CLASSES]:
        shown = _short(fitting(name), 31)
        text.append(
            f"{shown:32}{row['precision']:>11.1%}{row['recall']:>9.1%}{row['f1']:>9.3f}{row['images']:>9,}"
        )
    if len(rows) > MOST_CLASSES:
        text.append(f"... and {len(rows) - MOST_CLASSES} classes that do better")
    if metrics["unlike"]:
        text += ["", f"Images unlike those that the run was trained on: {metrics['unlike']:,}"]
    if metrics["skipped"]:
        first = metrics["skipped"][0]
        text += ["", f"Left out: {len(metrics['skipped'])}; the first: {first['path']}: {first['reason']}"]
    return text + [f"Warning: {warning}" for warning in metrics["warnings"]]


def write(evaluation: Evaluation, metrics: dict[str, Any], folder: Path) -> None:
    """Write evaluation.json, confusion_matrix.png, reliability.png and, if there are any, mistakes.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "evaluation.json") as unfinished:
        unfinished.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    with replacing(folder / "confusion_matrix.png") as unfinished:
        terminal.confusion_figure(evaluation.run).savefig(unfinished)
    with replacing(folder / "reliability.png") as unfinished:
        draw_reliability(evaluation, metrics["calibration_error"], unfinished)
    (folder / "mistakes.png").unlink(missing_ok=True)  # of an earlier evaluation
    if metrics["worst_mistakes"]:
        with replacing(folder / "mistakes.png") as unfinished:
            draw_mistakes(evaluation, unfinished)


def draw_reliability(evaluation: Evaluation, error: float, file: Path) -> None:
    """Share that is right against probability, and how many images have which probability."""
    run = evaluation.run
    count, confidence, accuracy = results.reliability(run.test_labels, run.test_probabilities)
    held = count > 0
    figure = terminal.empty_figure(5, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="grey", linestyle="--", linewidth=1, label="perfectly calibrated")
    edges = np.arange(results.BINS) / results.BINS
    upper.bar(edges[held], accuracy[held], 1 / results.BINS, align="edge", alpha=0.35, edgecolor="tab:blue")
    upper.plot(confidence[held], accuracy[held], "o", color="tab:blue", label="share that is right")
    upper.set_ylabel("share that is right")
    upper.set_ylim(0, 1.02)
    upper.set_title(f"expected calibration error {error:.3f}")
    upper.legend(loc="upper left")
    lower.bar(edges, count, 1 / results.BINS, align="edge", color="tab:grey")
    lower.set_xlabel("probability of the predicted class")
    lower.set_ylabel("images")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.savefig(file)


def draw_mistakes(evaluation: Evaluation, file: Path) -> None:
    """A contact sheet of the mistakes that gave the truth the least probability."""
    run = evaluation.run
    worst = results.worst_mistakes(run, results.WORST)
    columns = min(5, len(worst))
    rows = math.ceil(len(worst) / columns)
    figure = terminal.empty_figure(2.2 * columns, 2.85 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, i in zip(figure.axes, worst, strict=False):
        axes.imshow(images.load_square(run.test_paths[i], 224))
        true, predicted = (run.class_names[label] for label in (run.test_labels[i], evaluation.predicted[i]))
        text = (
            f"{_short(Path(evaluation.shown[i]).name)}\ntrue: {_short(true)}\n"
            f"{_short(predicted)} {run.test_probabilities[i].max():.1%}"
        )
        axes.set_xlabel(text, fontsize=7.5, parse_math=False)
    figure.savefig(file)


def _short(name: str, most: int = 24) -> str:
    name = legible(name)
    return name if len(name) <= most else name[: most - 1] + "…"

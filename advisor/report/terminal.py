"""What a person sees on the terminal, and the plots of a run folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice import plan
from advisor.advice.rule import RECIPE
from advisor.results import wilson_interval
from advisor.system.storage import replacing
from advisor.system.text import fitting, legible

if TYPE_CHECKING:
    from rich.console import Console

    from recipes.runs.run_folder import Run

WIDTH = 80

WHAT = {
    "feature_extraction": "freeze the whole backbone, train a new classifier on its features",
    "fine_tuning": "fine-tune the whole network gently, classifier first",
    "shallow_features": "use what the lower layers know, and a new classifier",
    "full_training": "train the whole network from the pre-trained weights",
}
PLACES = (
    ("small-similar", "small-dissimilar"),
    ("large-similar", "large-dissimilar"),
)


def console() -> Console:
    """Standard output, at most 80 columns wide; plain text where it is no terminal."""
    from rich.console import Console

    found = Console(highlight=False)
    found.width = min(WIDTH, found.width) if found.is_terminal else WIDTH
    return found


def print_recommendation(advice: dict[str, Any]) -> None:
    """Print the advice with its rationale.

    Args:
        advice: as `Recommendation.to_json` returns it.
    """
    out = console()
    for part in recommendation_parts(advice):
        out.print(part)


def recommendation_parts(advice: dict[str, Any]) -> list[Any]:
    """The advice as rich renderables, from top to bottom."""
    data, asked = advice["dataset"], advice["settings"]["recipe"]
    splits = " + ".join(f"{count:,} {split}" for split, count in data["splits"].items())
    parts: list[Any] = [
        _text(data["source"], "bold"),
        _text(f"{data['images']:,} images, {data['classes']:,} classes ({splits})"),
        "",
        _rationale(advice["rationale"]),
        "",
        _map(advice),
        "",
        _text(f"Advice: {advice['recipe']}", "bold green") + _text(f" - {WHAT[advice['recipe']]}"),
        _text(f"Confidence in the quadrant: {advice['confidence']:.0%}"),
    ]
    if asked != advice["recipe"]:
        parts.append(_text(f"You asked for: {asked}"))
    parts += ["", _pairs(plan.words(advice)), ""]
    parts.append(_pairs((f"or {item['recipe']}", item["when"]) for item in advice["alternatives"]))
    parts += [""] if advice["warnings"] else []
    parts += [_text(f"Warning: {warning}", "yellow") for warning in advice["warnings"]]
    seconds = f"{advice['similarity']['sampled']:,} images in {advice['seconds']:.1f} s"
    return [*parts, "", _text(f"Measured {seconds}", "dim")]


def _text(text: object, style: str = "") -> Any:
    """Text, never markup: a file may be called [bold]."""
    from rich.text import Text

    return Text(fitting(text), style, overflow="fold")


def _rationale(rows: list[dict[str, str]]) -> Any:
    """One row for each factor. Columns are as wide as their longest word, the reason has the rest."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, width=WIDTH, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    *short, reason = rows[0]
    for name, least in zip(short, (10, 16, 9, 10), strict=True):
        longest = max(len(word) for row in rows for word in row[name].split() or [""])
        table.add_column(name.capitalize(), width=min(18, max(least, longest)), overflow="fold")
    table.add_column(reason.capitalize(), ratio=1, overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _map(advice: dict[str, Any]) -> Any:
    """The 2 x 2 with this data set's place in it."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.ASCII, width=WIDTH, show_lines=True)
    similar, few = advice["similarity"]["threshold"], advice["size"]["threshold"]
    table.add_column("", width=15)
    table.add_column(f"similar (score from {similar:.2f})", ratio=1)
    table.add_column(f"unlike (score below {similar:.2f})", ratio=1)
    sizes = f"few\n(below {few:,})", f"many\n(from {few:,})"
    for size, row in zip(sizes, PLACES, strict=True):
        cells: list[Any] = [size]
        for name in row:
            here = name == advice["quadrant"]
            mark, style = (">> HERE << ", "bold") if here else ("", "")
            cells.append(
                _text(f"{mark}{advice['quadrants'][name]:.0%}", style) + "\n" + _text(RECIPE[name], style)
            )
        table.add_row(*cells)
    return table


def _pairs(rows: Iterable[tuple[str, str]]) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(_text(f"  {name}"), _text(value))
    return table


def print_run(run: Run) -> None:
    """Print how well a finished run does and where it lies."""
    test, seconds = run.metrics["test"], run.metrics["seconds"]
    low, high = wilson_interval(test["accuracy"], len(run.test_labels))
    out = console()
    out.print(
        f"Test accuracy {test['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"macro F1 {test['macro_f1']:.3f}, {len(run.test_labels)} images"
    )
    for line in near_copies_told(run.metrics):
        out.print(line)
    if run.metrics.get("trained_share") == 0:
        judges = f"{run.metrics['images']['validation']:,} validation images"
        out.print(f"Training brought no clear gain on the {judges}: the frozen model was kept.")
    place = f"model, plots and metrics are in {run.folder}"
    out.print(_text(f"{run.recipe} took {seconds['total']:.0f} s; {place}"))


def near_copies_told(metrics: dict[str, Any]) -> list[str]:
    """One sentence if test images are nearly the same as images in training, else nothing."""
    copies = metrics.get("near_copies")
    if not copies:
        return []
    return [
        f"{copies['test_images']:,} of the test images are nearly the same as images in training; without "
        f"them the accuracy is {copies['accuracy_without']:.1%}"
    ]


def confusion_matrix(run: Run) -> np.ndarray:
    """Test images by true and predicted class, int64 [classes, classes]."""
    matrix = np.zeros((len(run.class_names),) * 2, dtype=np.int64)
    np.add.at(matrix, (run.test_labels, run.test_probabilities.argmax(axis=1)), 1)
    return matrix


def after_head(run: Run) -> str:
    """What follows epoch 0, in which only the head was solved."""
    return "training of the head" if run.metrics["settings"]["train_from"] is None else "fine-tuning"


def write_plots(run: Run) -> None:
    """Draw curves.png and confusion_matrix.png into the run folder."""
    for name, figure in (("curves", _curves(run)), ("confusion_matrix", confusion_figure(run))):
        _save(figure, run.folder / f"{name}.png")


def write_augmentation(batches: Sequence[np.ndarray], file: Path) -> None:
    """Draw what the network sees: a row for each image, first as it is, then changed at random.

    Args:
        batches: the same n images again and again, float or uint8 [n, size, size, 3] in 0..255; the first
            as they are.
        file: a PNG to write.
    """
    rows, columns = len(batches[0]), len(batches)
    figure = empty_figure(1.1 * columns, 1.1 * rows + 0.3)
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


def _save(figure: Any, file: Path) -> None:
    with replacing(file) as unfinished, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # no font has every letter that a class name may have
        figure.savefig(unfinished)


def empty_figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _curves(run: Run) -> Any:
    history = run.history
    figure = empty_figure(9, 3.6)
    figure.suptitle(f"{run.recipe}: test accuracy {run.metrics['test']['accuracy']:.1%}")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        columns = {"training": name, "validation": f"validation_{name}"}
        if len(history) == 1:  # a head that was solved at once has no course over time
            values = [getattr(history[0], column) for column in columns.values()]
            drawn = axes.bar(list(columns), values, width=0.5, color=["0.6", "C0"])
            axes.bar_label(
                drawn, [f"{value:.1%}" if name == "accuracy" else f"{value:.3f}" for value in values]
            )
            axes.margins(y=0.12)  # room for the numbers
            axes.set_title("head solved in one step", fontsize=9)
        else:
            epochs = [row.epoch for row in history]
            for (label, column), color in zip(columns.items(), ("0.6", "C0"), strict=True):
                axes.plot(
                    epochs, [getattr(row, column) for row in history], "o-", ms=3, label=label, color=color
                )
            if epochs[0] == 0:
                axes.axvline(0.5, color="grey", linestyle="--", linewidth=1)
                axes.set_title(f"epoch 0: head only; then {after_head(run)}", fontsize=9)
            axes.locator_params(axis="x", integer=True)
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.3)
            axes.legend()
        axes.set_ylabel(name)
    return figure


def confusion_figure(run: Run) -> Any:
    names, matrix = [legible(name) for name in run.class_names], confusion_matrix(run)
    side = min(14.0, 3.0 + 0.5 * len(names))
    figure = empty_figure(side + 1, side)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, shrink=0.8, label="share of the true class")
    if len(names) <= 30:
        short = [name if len(name) <= 20 else f"{name[:19]}…" for name in names]
        # matplotlib reads $...$ as mathematics
        axes.set_xticks(range(len(names)), short, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), short, parse_math=False)
        for i, j in np.argwhere(matrix):
            color = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, matrix[i, j], ha="center", va="center", color=color, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{run.recipe}: test accuracy {run.metrics['test']['accuracy']:.1%}", fontsize=10)
    return figure

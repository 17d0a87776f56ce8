"""What a person sees: tables on the terminal, plots in the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

    from recipes.run_folder import Run

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


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_recommendation(advice: dict[str, Any]) -> None:
    """Print the advice with its rationale; plain text where standard output is no terminal.

    Args:
        advice: as `Recommendation.to_json` returns it.
    """
    console = _console()
    for part in recommendation_parts(advice):
        console.print(part)


def recommendation_parts(advice: dict[str, Any]) -> list[Any]:
    """The advice as rich renderables, from top to bottom."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    data = advice["dataset"]
    splits = " + ".join(f"{count:,} {split}" for split, count in data["splits"].items())
    head = Text(f"{data['source']}: {data['images']:,} images, {data['classes']} classes ({splits})", "bold")
    table = Table(box=box.SIMPLE_HEAD, width=WIDTH, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column, share in (
        ("factor", 15),
        ("measured", 17),
        ("threshold", 9),
        ("verdict", 12),
        ("because", 23),
    ):
        table.add_column(column.capitalize(), min_width=min(share, 9), ratio=share, overflow="fold")
    for row in advice["rationale"]:
        table.add_row(*(Text(str(value)) for value in row.values()))
    parts: list[Any] = [head, "", table, "", _map(advice), ""]
    parts.append(Text(f"Advice: {advice['recipe']}", "bold green") + Text(f" - {WHAT[advice['recipe']]}"))
    parts.append(f"Confidence in the quadrant: {advice['confidence']:.0%}")
    if advice["settings"]["recipe"] != advice["recipe"]:
        parts.append(f"You asked for: {advice['settings']['recipe']}")
    parts.append(Padding(_plan(advice), (1, 0)))
    for item in advice["alternatives"]:
        parts.append(Text(f"Or {item['recipe']}: {item['when']}"))
    for warning in advice["warnings"]:
        parts.append(Text(f"Warning: {warning}", "yellow"))
    parts.append(
        Text(f"Measured {advice['similarity']['sampled']:,} images in {advice['seconds']:.1f} s", "dim")
    )
    return parts


def _map(advice: dict[str, Any]) -> Any:
    """The 2 x 2 with this data set's place in it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ASCII, width=WIDTH, show_lines=True)
    similar, few = advice["similarity"]["threshold"], advice["size"]["threshold"]
    table.add_column("", ratio=1)
    table.add_column(f"similar (score from {similar:.2f})", ratio=2)
    table.add_column(f"unlike (score below {similar:.2f})", ratio=2)
    from advisor.quadrant import RECIPE

    for size, row in zip((f"few (below {few:,})", f"many (from {few:,})"), PLACES, strict=True):
        cells = [Text(size)]
        for name in row:
            here = name == advice["quadrant"]
            text = f"{'>> HERE << ' if here else ''}{advice['quadrants'][name]:.0%}\n{RECIPE[name]}"
            cells.append(Text(text, "bold" if here else ""))
        table.add_row(*cells)
    return table


def plan(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """What will be built, in words: pairs of a name and a value."""
    if settings["train_from"] is None:
        layers = "all frozen"
    elif settings["train_from"] == "":
        layers = "all trained" + ("" if settings["init"] == "pretrained" else ", from random weights")
    else:
        layers = f"frozen below {settings['train_from']}, trained from there"
    taps = settings["taps"]
    features = taps[0] if len(taps) == 1 else f"{len(taps)} depths together, {taps[0]} to {taps[-1]}"
    rows = [
        ("backbone", f"{settings['backbone']} at {settings['image_size']} px, {layers}"),
        ("features", features),
        ("head", settings["head"] + (", solved to its optimum" if not settings["epochs"] else "")),
    ]
    if settings["epochs"]:
        rows += [
            (
                "training",
                f"{settings['epochs']} epochs at {settings['training_size']} px, "
                f"batches of {settings['batch_size']}, best epoch kept",
            ),
            (
                "optimizer",
                f"AdamW, learning rate {settings['learning_rate']:g}, "
                f"weight decay {settings['weight_decay']:g}, batch norm {settings['batch_norm']}",
            ),
            ("augmentation", ", ".join(settings["augmentation"]) or "none"),
        ]
    if settings["class_weights"] != "none":
        rows.append(("class weights", settings["class_weights"]))
    return rows


def _plan(advice: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in plan(advice["settings"]):
        table.add_row(f"  {name}", value)
    return table


def print_run(run: Run) -> None:
    """Print how well a finished run does and where it lies."""
    test, seconds = run.metrics["test"], run.metrics["seconds"]
    low, high = wilson_interval(test["accuracy"], len(run.test_labels))
    console = _console()
    console.print(
        f"Test accuracy {test['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"macro F1 {test['macro_f1']:.3f}, {len(run.test_labels)} images"
    )
    console.print(f"{run.recipe} took {seconds['total']:.0f} s; model, plots and metrics are in {run.folder}")


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


def write_run(run: Run, advice: dict[str, Any]) -> None:
    """Draw curves.png and confusion_matrix.png into the run folder."""
    _draw_curves(run)
    _draw_confusion(run)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_curves(run: Run) -> None:
    figure = _figure(9, 3.6)
    epochs = [row.epoch for row in run.history]
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        marker = "o" if len(epochs) < 3 else "."
        for label, column in (("training", name), ("validation", f"validation_{name}")):
            axes.plot(epochs, [getattr(row, column) for row in run.history], marker=marker, label=label)
        if epochs[0] == 0 and len(epochs) > 1:
            axes.axvline(0.5, color="grey", linestyle="--", linewidth=1)
            axes.annotate(
                "head only | whole network", (0.5, 1.01), xycoords=("data", "axes fraction"), fontsize=8
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{run.recipe}")
    figure.savefig(run.folder / "curves.png")


def _draw_confusion(run: Run) -> None:
    names = run.class_names
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(matrix, (run.test_labels, run.test_probabilities.argmax(axis=1)), 1)
    side = min(14.0, 3.0 + 0.5 * len(names))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 30:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for i, j in np.argwhere(matrix):
            color = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, matrix[i, j], ha="center", va="center", color=color, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{run.recipe}: test accuracy {run.metrics['test']['accuracy']:.1%}")
    figure.savefig(run.folder / "confusion_matrix.png")

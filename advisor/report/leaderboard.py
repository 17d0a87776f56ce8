"""The leaderboard of `advisor compare`: on the terminal, as a picture and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from advisor.report import page, terminal
from advisor.system.storage import replacing


def columns(row: dict[str, Any]) -> list[str]:
    """A row of the leaderboard as text; the advised recipe has a star."""
    measured = row["accuracy"] is not None
    return [
        row["name"] + (" *" if row["advised"] else ""),
        f"{row['accuracy']:.1%}" if measured else "-",
        f"{row['interval'][0]:.1%}-{row['interval'][1]:.1%}" if measured else "-",
        f"{row['macro_f1']:.3f}" if measured else "-",
        f"{row['seconds']:.0f}",
        f"{row['parameters']:,}" if measured else "-",
        "trained once" if row["status"].startswith("as ") else row["status"],
    ]


HEADS = ("Recipe", "Accuracy", "95 % range", "F1", "Secs", "Trained", "Status")


def verdict(compared: dict[str, Any]) -> str:
    """What the advice cost, and which recipes were one and the same training."""
    twins = [row for row in compared["leaderboard"] if row["status"].startswith("as ")]
    once = "".join(
        f" On these data {row['name']} is the same training {row['status']}, done once." for row in twins
    )
    return _cost(compared) + once


def _cost(compared: dict[str, Any]) -> str:
    if compared["regret"] is None:
        return f"* The advised recipe, {compared['advised']}, did not come to run: give --resume."
    best = compared["leaderboard"][0]["name"]
    if not compared["regret"]:
        return f"* The advice, {compared['advised']}, was the best: regret 0."
    points = f"{100 * compared['regret']:.1f} points"
    return f"* The advice, {compared['advised']}, loses {points} of test accuracy against {best}."


def print_comparison(compared: dict[str, Any]) -> None:
    """Print the leaderboard, 80 columns wide."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, width=terminal.WIDTH, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in HEADS:
        right = name in ("Accuracy", "F1", "Secs", "Trained")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in compared["leaderboard"]:
        table.add_row(*columns(row), style="bold" if row["advised"] else "")
    console = terminal.console()
    console.print(table)
    console.print(verdict(compared))


def write(compared: dict[str, Any], folder: Path) -> None:
    """Write leaderboard.png and report.html into a folder."""
    _draw(compared, folder / "leaderboard.png")
    section = page.section(
        "Leaderboard",
        f"<p>{page.safe(verdict(compared))}</p>",
        page.table(HEADS, [columns(row) for row in compared["leaderboard"]], numbers=(1, 3, 4, 5)),
        page.picture(folder / "leaderboard.png", "Test accuracy of each recipe with its interval"),
    )
    data = compared["dataset"]
    title = f"{data['source']}: which recipe is best"
    with replacing(folder / "report.html") as unfinished:
        unfinished.write_text(page.page(title, [section]), encoding="utf-8")


def _draw(compared: dict[str, Any], file: Path) -> None:
    rows = [row for row in reversed(compared["leaderboard"]) if row["accuracy"] is not None]
    figure = terminal.empty_figure(8, 1.2 + 0.5 * len(rows))
    axes = figure.subplots()
    for y, row in enumerate(rows):
        low, high = row["interval"]
        color = "#d9730d" if row["advised"] else "#3b6fb6"
        axes.plot((low, high), (y, y), color=color, linewidth=2)
        axes.plot(row["accuracy"], y, "o", color=color)
        axes.annotate(
            f"{row['accuracy']:.1%}", (row["accuracy"], y), (0, 6), textcoords="offset points", ha="center"
        )
    axes.set_yticks(range(len(rows)), [columns(row)[0] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.2)
    axes.set_xlabel("test accuracy, with its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    with replacing(file) as unfinished:
        figure.savefig(unfinished)

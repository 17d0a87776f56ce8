"""report.html: one self-contained page for a browser, a phone or paper, and what a notebook shows."""

from __future__ import annotations

import base64
import io
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from advisor.advice.recommendation import Recommendation
from advisor.data import images
from advisor.data.dataset import Dataset
from advisor.data.deep_grey import GreyRange
from advisor.report import charts, svg, words
from advisor.report.rendering import html
from advisor.results import Comparison, Predictions, Row, Run
from advisor.system.json_file import write_json, write_text

SAMPLED_CLASSES, SAMPLED_IMAGES = 6, 6
THUMBNAIL = 128  # pixels; 36 samples and 20 mistakes take about 400 kB
MOST_ROWS = 30  # of a table
MOST_CONFUSED, FEW_CONFUSED = 20, 5  # pairs of classes, on the page of a run and of a comparison


def write_recommendation(advice: Recommendation, data: Dataset, folder: Path) -> None:
    """Write recommendation.json and report.html.

    Args:
        advice: what to show.
        data: the images that it is about.
        folder: exists.
    """
    write_json(folder / "recommendation.json", advice.to_json())
    record = advice.reproduction
    write_text(
        folder / "report.html",
        html(
            "recommendation.html",
            title=f"Advice for {advice.data.source}",
            **_of_advice(advice),
            **_of_data(data, advice),
            command=record.command,
            record=_record(advice, record.seed, record.versions),
        ),
    )


def write_run(run: Run, advice: Recommendation, data: Dataset, command: str) -> None:
    """Write report.html into a run folder, which has its plots.

    Args:
        run: finished.
        advice: why it was run.
        data: what was trained on.
        command: that does the same again.
    """
    mistakes = [(mistake, thumbnail(mistake.path, data.grey)) for mistake in charts.mistakes(run.test)]
    write_text(
        run.folder / "report.html",
        html(
            "run.html",
            title=f"{run.recipe} on {advice.data.source}",
            **_of_run(run),
            mistakes=[(mistake, image) for mistake, image in mistakes if image],
            augmentation=_picture(run.folder / "augmentation.png"),
            **_of_advice(advice),
            **_of_data(data, advice),
            command=command,
            record=_record(advice, run.metrics.seed, run.metrics.versions),
        ),
    )


def write_comparison(compared: Comparison, data: Dataset, folder: Path, command: str) -> None:
    """Write report.html into the folder of a comparison, which has the folders of its runs.

    Args:
        compared: finished.
        data: what was trained on.
        folder: exists.
        command: that does the same again.
    """
    advice, record = compared.advice, compared.advice.reproduction
    write_text(
        folder / "report.html",
        html(
            "comparison.html",
            title=f"{advice.data.source}: which recipe is best",
            verdict=words.verdict(compared),
            about_the_rows=words.about_the_rows(compared),
            heads=words.LEADERBOARD_HEADS,
            numbers=words.LEADERBOARD_NUMBERS,
            rows=[_linked(row, folder) for row in compared.rows],
            chart=svg.leaderboard(charts.leaderboard(compared)),
            splits=advice.data.splits,
            confusion=[
                (_page_of(name, name, folder), _small_confusion(tested))
                for name, tested in compared.tested.items()
            ],
            **_of_advice(advice),
            **_of_data(data, advice),
            command=command,
            record=_record(advice, record.seed, record.versions),
        ),
    )


def _linked(row: Row, folder: Path) -> list[str]:
    """A row of the leaderboard, whose name leads to the page of the run."""
    name, *others = words.leaderboard_cells(row)
    return [_page_of(row.same_as or row.name, name, folder), *others]


def _page_of(run: str, name: str, folder: Path) -> str:
    """A name that leads to the page of a run, where it has one."""
    address = f"{run}/report.html"
    if not (folder / address).exists():
        return name
    return Markup('<a href="{}">{}</a>').format(address, name)


def _small_confusion(tested: Predictions) -> dict[str, Any]:
    """A confusion matrix, or the pairs that are most confused where it would be too large."""
    matrix = charts.confusion(tested)
    if len(matrix.names) <= charts.MOST_CLASSES:
        return {"drawn": svg.confusion(matrix), "pairs": []}
    return {"drawn": None, "pairs": matrix.most_confused(FEW_CONFUSED)}


def notebook_recommendation(advice: Recommendation) -> str:
    """What a notebook shows for an advice."""
    return html("notebook_recommendation.html", **_of_advice(advice))


def notebook_run(run: Run) -> str:
    """What a notebook shows for a run."""
    return html("notebook_run.html", **_of_run(run))


def _of_advice(advice: Recommendation) -> dict[str, Any]:
    """What the templates of an advice need."""
    return {
        "advice": advice,
        "what": words.what_it_does(advice.recipe),
        "asked": words.what_it_does(advice.settings.recipe),
        "factor_heads": words.FACTOR_HEADS,
        "factors": [astuple(factor) for factor in advice.rationale],
        "quadrant_map": svg.quadrant_map(charts.quadrant_map(advice)),
        "probes": svg.bars(charts.probes_by_depth(advice)),
        "learning_curve": svg.line_chart(charts.learning_curve(advice)),
        "expected": advice.evidence.probes.expected[advice.frozen_recipe],
        "plan": words.plan_rows(advice),
        "network_heads": words.NETWORK_HEADS,
        "network_numbers": words.NETWORK_NUMBERS,
        "networks": words.networks_of(advice),
        "about_networks": words.about_networks(advice),
        "step_heads": words.STEP_HEADS,
        "step_numbers": words.STEP_NUMBERS,
        "steps": words.steps_of(advice),
        "about_steps": words.about_steps(advice),
        "alternatives": [astuple(other) for other in advice.alternatives],
    }


def _of_data(data: Dataset, advice: Recommendation) -> dict[str, Any]:
    """What the template of an advice needs beside it: sample images, and what was left out.

    The samples are spaced evenly, so that the same data always show the same.
    """
    classes = _spaced(np.arange(len(data.class_names)), SAMPLED_CLASSES)
    samples = []
    for label in classes:
        members = _spaced(np.flatnonzero(data.labels == label), SAMPLED_IMAGES)
        shown = [image for i in members if (image := thumbnail(data.paths[i], data.grey))]
        if shown:
            samples.append((data.class_names[label], shown))
    return {
        "samples": samples,
        "more_classes": len(data.class_names) - len(classes),
        "skipped": [astuple(item) for item in advice.data.skipped[:MOST_ROWS]],
    }


def _spaced(items: np.ndarray, most: int) -> np.ndarray:
    return items[np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))]


def _of_run(run: Run) -> dict[str, Any]:
    """What the templates of a run need."""
    metrics = run.metrics
    ranked = sorted(metrics.test.per_class.items(), key=lambda item: item[1].f1)
    solved = charts.was_solved(run)
    matrix = charts.confusion(run.test)
    is_drawn = len(matrix.names) <= charts.MOST_CLASSES
    return {
        "metrics": metrics,
        "interval": words.interval(metrics.test),
        "near_copies": words.near_copies(metrics),
        "corrected": words.corrected(metrics.corrected),
        "about_training": words.about_training(metrics),
        "ended_early": words.ended_early(run),
        "classes": [
            (name, f"{row.precision:.1%}", f"{row.recall:.1%}", f"{row.f1:.3f}", f"{row.images:,}")
            for name, row in ranked[:MOST_ROWS]
        ],
        "more_scored": len(ranked[MOST_ROWS:]),
        "was_solved": solved,
        "courses": (
            [svg.bars(charts.solved(run)[0])]
            if solved
            else [svg.line_chart(course) for course in charts.courses(run)]
        ),
        "confusion_matrix": svg.confusion(matrix) if is_drawn else None,
        "confused": [] if is_drawn else matrix.most_confused(MOST_CONFUSED),
        "confusion_picture": None if is_drawn else _picture(run.folder / "confusion_matrix.png"),
    }


def _record(advice: Recommendation, seed: int, versions: Any) -> list[tuple[str, object]]:
    """What it takes to get the same again, but for the command."""
    return [
        ("seed", seed),
        ("hardware", advice.device),
        ("data", f"{advice.data.source}, fingerprint {advice.reproduction.data}"),
        *versions.items(),
    ]


def thumbnail(path: str, grey: GreyRange | None) -> Markup | None:
    """A small image as an address that carries its pixels; None where the file cannot be read."""
    try:
        return jpeg(Image.fromarray(images.load_square(path, THUMBNAIL, grey=grey)))
    except images.UnreadableImage:
        return None


def _picture(file: Path) -> Markup | None:
    """A plot as an address that carries its pixels; None where there is no such file."""
    if not file.exists():
        return None
    with Image.open(file) as drawn:
        return jpeg(drawn.convert("RGB"))


def jpeg(image: Image.Image) -> Markup:
    """An image as an address that carries its pixels."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}")

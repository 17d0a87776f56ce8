"""report.html: one self-contained page for a browser, a phone or paper, and what a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from advisor.advice.recommendation import Recommendation
from advisor.data.dataset import Dataset
from advisor.evidence.sights import Sights
from advisor.report import charts, image_map, overview, svg, words
from advisor.report.image_map import Marks, marks_of_probes, marks_of_tests
from advisor.report.looks import looks
from advisor.report.pictures import THUMBNAIL, jpeg, plot, thumbnail
from advisor.report.rendering import html
from advisor.results import Comparison, Predictions, Row, Run
from advisor.system.json_file import write_json, write_text

MOST_ROWS = 30  # of a table
MOST_CONFUSED, FEW_CONFUSED = 20, 5  # pairs of classes, on the page of a run and of a comparison


def write_recommendation(advice: Recommendation, data: Dataset, sights: Sights, folder: Path) -> None:
    """Write recommendation.json and report.html.

    Args:
        advice: what to show.
        data: the images that it is about.
        sights: what there is to see of them.
        folder: exists.
    """
    write_json(folder / "recommendation.json", advice.to_json())
    record = advice.reproduction
    marks = marks_of_probes(sights, data, _suspects(advice))
    write_text(
        folder / "report.html",
        html(
            "recommendation.html",
            title=f"Advice for {advice.data.source}",
            overview=overview.of_advice(advice),
            **_of_advice(advice),
            **_of_data(data, advice, sights, marks),
            command=record.command,
            record=_record(advice, record.seed, record.versions),
        ),
    )


def write_run(
    run: Run,
    advice: Recommendation,
    data: Dataset,
    sights: Sights,
    looked: Mapping[str, Image.Image],
    command: str,
) -> None:
    """Write report.html into a run folder, which has its plots.

    Args:
        run: finished.
        advice: why it was run.
        data: what was trained on.
        sights: what there is to see of it.
        looked: where the model looked, drawn over images, by their files.
        command: that does the same again.
    """
    wrong = _wrong(run.test)
    marks = marks_of_tests(sights, data, _suspects(advice), wrong)
    mistakes = [
        (mistake, thumbnail(mistake.path, data.grey), _small(looked.get(mistake.path)))
        for mistake in charts.mistakes(run.test)
    ]
    write_text(
        run.folder / "report.html",
        html(
            "run.html",
            title=f"{run.recipe} on {advice.data.source}",
            overview=overview.of_run(run, advice),
            **_of_run(run),
            mistakes=[shown for shown in mistakes if shown[1]],
            looked=bool(looked),
            augmentation=plot(run.folder / "augmentation.png"),
            **_of_advice(advice),
            **_of_data(data, advice, sights, marks),
            command=command,
            record=_record(advice, run.metrics.seed, run.metrics.versions),
        ),
    )


def _small(image: Image.Image | None) -> Markup | None:
    return jpeg(image.resize((THUMBNAIL, THUMBNAIL))) if image else None


def _wrong(tested: Predictions) -> dict[str, str]:
    """The name of the class that a file was taken for, of those that were taken for a wrong one."""
    return {
        path: tested.class_names[told]
        for path, told, right in zip(tested.paths, tested.predicted, tested.right, strict=True)
        if not right
    }


def write_comparison(compared: Comparison, data: Dataset, sights: Sights, folder: Path, command: str) -> None:
    """Write report.html into the folder of a comparison, which has the folders of its runs.

    Args:
        compared: finished.
        data: what was trained on.
        sights: what there is to see of it.
        folder: exists.
        command: that does the same again.
    """
    advice, record = compared.advice, compared.advice.reproduction
    marks = marks_of_probes(sights, data, _suspects(advice))
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
            **_of_data(data, advice, sights, marks),
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


def _of_data(data: Dataset, advice: Recommendation, sights: Sights, marks: Marks) -> dict[str, Any]:
    """What the template of an advice needs beside it: what there is to see, and what was left out."""
    return {
        "looks": looks(sights, data),
        "plane": image_map.image_map(sights, data, marks),
        "skipped": [astuple(item) for item in advice.data.skipped[:MOST_ROWS]],
    }


def _suspects(advice: Recommendation) -> list[str]:
    """Images whose label may be wrong, as the user knows them."""
    return [path for finding in advice.findings if finding.kind == "labels" for path in finding.paths]


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
        "confusion_picture": None if is_drawn else plot(run.folder / "confusion_matrix.png"),
    }


def _record(advice: Recommendation, seed: int, versions: Any) -> list[tuple[str, object]]:
    """What it takes to get the same again, but for the command."""
    return [
        ("seed", seed),
        ("hardware", advice.device),
        ("data", f"{advice.data.source}, fingerprint {advice.reproduction.data}"),
        *versions.items(),
    ]

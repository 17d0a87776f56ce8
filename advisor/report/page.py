"""report.html: one self-contained page for a browser, a phone or paper, and what a notebook shows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from advisor.advice import plan
from advisor.data import images
from advisor.report import svg
from advisor.report.svg import BLUE, GREY, ORANGE, Series, safe
from advisor.report.terminal import WHAT, after_head, confusion_matrix, near_copies_told
from advisor.results import wilson_interval, worst_mistakes
from advisor.system.storage import replacing

if TYPE_CHECKING:
    from advisor.advice.recommendation import Recommendation
    from advisor.data.dataset import Dataset
    from recipes.runs.run_folder import Run

SAMPLED_CLASSES, SAMPLED_IMAGES = 6, 6
THUMBNAIL = 128  # pixels; 36 samples and 20 mistakes take about 400 kB
MOST_CLASSES_DRAWN = 30
MISTAKES = 20
MOST_ROWS = 30

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; overflow-wrap: anywhere; }
.advice { font-size: 1.25rem; margin: .5rem 0; } .quiet { opacity: .75; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
.wide { overflow-x: auto; }
.pictures { display: flex; flex-wrap: wrap; gap: .4rem; }
figure { margin: 0; width: 8rem; font-size: .75rem; overflow-wrap: anywhere; break-inside: avoid; }
figure img { width: 100%; border-radius: 4px; display: block; }
.pictures > img { width: 6rem; border-radius: 4px; }
pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem;
      background: #8882; border-radius: 4px; }
h1, h2, h3 { break-after: avoid; } svg, tr, .pair > div, section > img { break-inside: avoid; }
@media (prefers-color-scheme: dark) { body { background: #15181c; color: #e4e6ea; } }
@media print { body { max-width: none; font-size: 11pt; background: #fff; color: #000;
               print-color-adjust: exact; -webkit-print-color-adjust: exact; }
               .pair { grid-template-columns: 1fr 1fr; } svg { max-height: 9cm; } }
"""
TABLE_STYLE = """
.advisor table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
.advisor th, .advisor td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
.advisor th { overflow-wrap: normal; }
.advisor td.number, .advisor th.number { text-align: right; }
@media (max-width: 40rem) {
  .advisor table.rows thead { display: none; }
  .advisor table.rows tr { display: block; border-bottom: 1px solid #8884; padding: .4rem 0; }
  .advisor table.rows td { display: block; border: 0; padding: 0; }
  .advisor table.rows td.number { text-align: left; }
  .advisor table.rows td:first-child { font-weight: bold; }
  .advisor table.rows td:not(:first-child)::before { content: attr(data-name) ": "; opacity: .75; }
}
"""


def write_recommendation(advice: Recommendation, folder: Path) -> None:
    """Write recommendation.json and report.html."""
    values = advice.to_json()
    with replacing(folder / "recommendation.json") as unfinished:
        content = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
        unfinished.write_text(content, encoding="utf-8", errors="backslashreplace")
    sections = [*_advice_sections(values, advice.data), _reproduction(values, values["reproduction"])]
    _write(folder / "report.html", f"Advice for {values['dataset']['source']}", sections)


def write_run(run: Run, advice: dict[str, Any], data: Dataset, command: str) -> None:
    """Write report.html into a run folder, which has its confusion_matrix.png.

    Args:
        run: finished.
        advice: as `Recommendation.to_json` returns it.
        data: what was trained on.
        command: that does the same again.
    """
    sections = [
        _result(run),
        _training(run),
        _confusion(run),
        _mistakes(run, data),
        _augmentation(run.folder / "augmentation.png"),
        "<h1>Why this recipe</h1>",
        *_advice_sections(advice, data),
        _reproduction(advice, {**run.metrics, "command": command, "data": advice["reproduction"]["data"]}),
    ]
    _write(run.folder / "report.html", f"{run.recipe} on {advice['dataset']['source']}", sections)


def notebook_recommendation(advice: dict[str, Any]) -> str:
    """What a notebook shows for a `Recommendation`."""
    parts = (_headline(advice), _rationale(advice["rationale"]), svg.quadrant_map(advice))
    return f'<div class="advisor"><style>{TABLE_STYLE}</style>{"".join(parts)}</div>'


def notebook_run(run: Run) -> str:
    """What a notebook shows for a `Run`."""
    parts = (_result(run), _training(run), _confusion(run))
    return f'<div class="advisor"><style>{TABLE_STYLE}</style>{"".join(parts)}</div>'


def page(title: str, sections: Iterable[str]) -> str:
    """A whole HTML document; `sections` are HTML, `title` is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{STYLE}{TABLE_STYLE}</style></head>"
        f'<body class="advisor"><h1>{safe(title)}</h1>\n' + "\n".join(sections) + "\n</body></html>\n"
    )


def _write(file: Path, title: str, sections: Iterable[str]) -> None:
    with replacing(file) as unfinished:
        unfinished.write_text(page(title, sections), encoding="utf-8")


def section(title: str, *parts: str) -> str:
    """A heading (text) and what is under it (HTML); nothing where all of it is empty."""
    return f"<section><h2>{safe(title)}</h2>{''.join(parts)}</section>" if any(parts) else ""


def table(names: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table of text; columns in `numbers` stand to the right."""

    def cells(tag: str, row: Sequence[object]) -> str:
        found = ""
        for i, (name, value) in enumerate(zip(names, row, strict=True)):
            kind = ' class="number"' if i in numbers else ""
            data_name = f' data-name="{safe(name)}"' if tag == "td" else ""
            found += f"<{tag}{kind}{data_name}>{safe(value)}</{tag}>"
        return f"<tr>{found}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f'<table class="rows"><thead>{cells("th", names)}</thead><tbody>{body}</tbody></table>'


def thumbnail(path: str) -> str | None:
    """An <img> that carries its pixels; None where the file cannot be read."""
    try:
        pixels = images.load_square(path, THUMBNAIL)
    except images.UnreadableImage:
        return None
    return f'<img alt="" src="{_jpeg(Image.fromarray(pixels))}">'


def picture(file: Path, description: str) -> str:
    """A plot inside the page, as JPEG; nothing where there is no such file."""
    if not file.exists():
        return ""
    with Image.open(file) as drawn:
        content = _jpeg(drawn.convert("RGB"))
    return f'<img style="max-width:100%" alt="{safe(description)}" src="{content}">'


def _jpeg(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _pairs(rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(f"<tr><th>{safe(name)}</th><td>{safe(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _headline(advice: dict[str, Any]) -> str:
    data, recipe, asked = advice["dataset"], advice["recipe"], advice["settings"]["recipe"]
    other = f'<p class="quiet">Asked for: {safe(asked)}</p>' if asked != recipe else ""
    return (
        f'<p class="quiet">{safe(data["source"])}: {data["images"]:,} images, {data["classes"]:,} classes</p>'
        f'<p class="advice"><strong>{safe(recipe)}</strong>: {safe(WHAT[recipe])} '
        f"(confidence in the quadrant {advice['confidence']:.0%})</p>{other}"
    )


def _rationale(rows: list[dict[str, str]]) -> str:
    return table([name.capitalize() for name in rows[0]], [list(row.values()) for row in rows])


def _advice_sections(advice: dict[str, Any], data: Dataset) -> list[str]:
    evidence, splits = advice["evidence"], advice["dataset"]["splits"]
    fitted = splits["train"] + splits["validation"]
    probes = [(probe["tap"], probe["accuracy"]) for probe in evidence["linear_probes"]]
    best = max(probes, key=lambda probe: probe[1])[0]
    frozen = evidence["frozen"][evidence["frozen_recipe"]]
    expected, (low, high) = frozen["expected_accuracy"], frozen["expected_interval"]
    measured = [(point["images"], point["accuracy"]) for point in frozen["learning_curve"]]
    ahead = [(fitted, expected), (2 * fitted, expected + frozen["gain_at_double"])]
    curve = svg.line_chart(
        "Learning curve",
        [Series("measured", measured, BLUE), Series("expected", [measured[-1], *ahead], ORANGE, dashed=True)],
        ("images", "accuracy"),
        log_x=True,
        band=(fitted, low, high),
    )
    warnings = "".join(f"<li>{safe(warning)}</li>" for warning in advice["warnings"])
    return [
        _headline(advice),
        section("Why", _rationale(advice["rationale"]), f"<ul>{warnings}</ul>" if warnings else ""),
        section(
            "Where these images lie",
            svg.quadrant_map(advice),
            '<p class="quiet">The orange line is the 90 % interval of the similarity; grey points are '
            "well-known data sets, measured in the same way.</p>",
        ),
        section(
            "What frozen features know",
            '<div class="pair"><div><h3>Linear probes by depth, shallow to deep</h3>',
            svg.bars("Linear probes by depth", probes, best),
            "</div><div><h3>Learning curve of a frozen model</h3>",
            curve,
            "</div></div>",
            f'<p class="quiet">With {evidence["frozen_recipe"]} the model should reach '
            f"{svg.percent(expected)} on the test split "
            f"(90 % interval {svg.percent(low)} to {svg.percent(high)}); twice the images would add "
            f"about {svg.percent(frozen['gain_at_double'])}.</p>",
        ),
        section("The plan", _pairs(plan.words(advice))),
        section(
            "Otherwise", table(("Recipe", "When"), [(o["recipe"], o["when"]) for o in advice["alternatives"]])
        ),
        _samples(data),
        _skipped(advice["dataset"]["skipped"]),
    ]


def _samples(data: Dataset) -> str:
    """A few images of a few classes, evenly spaced so that the same data always show the same."""
    classes = _spaced(np.arange(len(data.class_names)), SAMPLED_CLASSES)
    parts = []
    for label in classes:
        members = _spaced(np.flatnonzero(data.labels == label), SAMPLED_IMAGES)
        shown = "".join(thumbnail(data.paths[i]) or "" for i in members)
        parts.append(
            f'<h3>{safe(data.class_names[label])}</h3><div class="pictures">{shown}</div>' if shown else ""
        )
    more = len(data.class_names) - len(classes)
    return section("Sample images", *parts, f'<p class="quiet">and {more:,} more classes</p>' if more else "")


def _spaced(items: np.ndarray, most: int) -> np.ndarray:
    return items[np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))]


def _skipped(skipped: list[dict[str, str]]) -> str:
    if not skipped:
        return ""
    rows = [(item["path"], item["reason"]) for item in skipped[:MOST_ROWS]]
    more = len(skipped) - len(rows)
    rest = f'<p class="quiet">and {more:,} more</p>' if more else ""
    return section(f"Left out: {len(skipped):,}", table(("Path", "Reason"), rows), rest)


def _result(run: Run) -> str:
    test, count = run.metrics["test"], len(run.test_labels)
    low, high = wilson_interval(test["accuracy"], count)
    seconds = plan.duration(run.metrics["seconds"]["total"])
    ranked = sorted(test["per_class"].items(), key=lambda item: item[1]["f1"])
    rows = [
        (name, f"{row['precision']:.1%}", f"{row['recall']:.1%}", f"{row['f1']:.3f}", f"{row['images']:,}")
        for name, row in ranked[:MOST_ROWS]
    ]
    more = len(ranked) - len(rows)
    return section(
        "Result",
        f'<p class="advice"><strong>{test["accuracy"]:.1%}</strong> of {count:,} test images right '
        f"(95 % interval {low:.1%} to {high:.1%})</p>",
        f"<p>{safe(run.recipe)}: macro F1 {test['macro_f1']:.3f}, log-loss {test['log_loss']:.3f}, "
        f"validation accuracy {run.metrics['validation']['accuracy']:.1%}; finished in {seconds}.</p>",
        *(f"<p>{line}.</p>" for line in near_copies_told(run.metrics)),
        table(("Class", "Precision", "Recall", "F1", "Images"), rows, numbers=(1, 2, 3, 4)),
        f'<p class="quiet">The {MOST_ROWS} classes with the lowest F1; {more:,} more.</p>' if more else "",
    )


def _training(run: Run) -> str:
    history = run.history
    if len(history) == 1:
        (row,) = history
        rows = [("training", row.accuracy), ("validation", row.validation_accuracy)]
        rows.append(("test", run.metrics["test"]["accuracy"]))
        return section(
            "Training",
            "<p>The head was solved in one step, so there is no curve. Accuracy:</p>",
            svg.bars("Accuracy by split", rows),
        )
    border = (0.5, f"{after_head(run)} starts; before it, only the head") if history[0].epoch == 0 else None
    charts = []
    for name in ("accuracy", "loss"):
        lines = [
            Series(label, [(float(row.epoch), getattr(row, column)) for row in history], color)
            for label, column, color in (("training", name, GREY), ("validation", f"validation_{name}", BLUE))
        ]
        charts.append(svg.line_chart(name, lines, ("epoch", name), False, name == "accuracy", border))
    return section(
        "Training",
        f'<div class="pair"><div>{charts[0]}</div><div>{charts[1]}</div></div>',
        '<p class="quiet">Training images are changed at random, so their accuracy may be the lower one.</p>'
        if run.metrics["settings"]["augmentation"]
        else "",
    )


def _confusion(run: Run) -> str:
    if not len(run.test_labels):
        return ""
    matrix, names = confusion_matrix(run), run.class_names
    if len(names) <= MOST_CLASSES_DRAWN:
        drawing = svg.confusion("Confusion matrix of the test split", matrix.tolist(), names)
        return section("Confusion matrix", f'<div class="wide">{drawing}</div>')
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:MISTAKES]
    pairs = [np.unravel_index(at, wrong.shape) for at in order]
    rows = [(names[i], names[j], f"{wrong[i, j]:,}") for i, j in pairs if wrong[i, j]]
    drawn = picture(run.folder / "confusion_matrix.png", "Confusion matrix of the test split")
    confused = table(("True class", "Taken for", "Images"), rows, numbers=(2,))
    return section("Most confused classes", confused, drawn)


def _mistakes(run: Run, data: Dataset) -> str:
    figures = []
    for i in worst_mistakes(run, MISTAKES):
        image = thumbnail(run.test_paths[i])
        if image:
            probabilities, label = run.test_probabilities[i], run.test_labels[i]
            guess = int(probabilities.argmax())
            figures.append(
                f"<figure>{image}<figcaption><strong>{safe(run.class_names[guess])}</strong> "
                f"{probabilities[guess]:.0%}, is {safe(run.class_names[label])} {probabilities[label]:.0%}"
                f'<br><span class="quiet">{safe(data.shown(run.test_paths[i]))}</span></figcaption></figure>'
            )
    return section("Worst mistakes", f'<div class="pictures">{"".join(figures)}</div>' if figures else "")


def _augmentation(file: Path) -> str:
    return section("What the network sees while it learns", picture(file, "Augmented training images"))


def _reproduction(advice: dict[str, Any], record: dict[str, Any]) -> str:
    rows = [
        ("seed", record["seed"]),
        ("hardware", advice["device"]),
        ("data", f"{advice['dataset']['source']}, fingerprint {record['data']}"),
        *record["versions"].items(),
    ]
    return section("To get the same again", f"<pre>{safe(record['command'])}</pre>", _pairs(rows))

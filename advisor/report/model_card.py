"""README.md of a run folder: a model card as Hugging Face reads it.

Reference: Mitchell et al., Model Cards for Model Reporting, FAT* 2019; the fields of the front matter are
those of https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

from advisor.advice.recommendation import Recommendation
from advisor.backbones.hub import PREFIX
from advisor.choices import FITS
from advisor.evidence.prediction_sets import Covered
from advisor.report import words
from advisor.report.rendering import markdown
from advisor.results import Run, wilson_interval
from advisor.system.json_file import write_text

MOST_CLASSES = 50  # rows of the table


def write(run: Run, advice: Recommendation, command: str) -> None:
    """Write README.md into the folder of a finished run.

    Args:
        run: finished.
        advice: why it was run.
        command: that makes the same model again.
    """
    write_text(run.folder / "README.md", text(run, advice, command))


def text(run: Run, advice: Recommendation, command: str) -> str:
    """The card in Markdown."""
    metrics, source = run.metrics, advice.data.source
    per_class = list(metrics.test.per_class.items())
    weakest_name, weakest = min(per_class, key=lambda item: item[1].recall)
    return markdown(
        "card.md",
        name=source.rstrip("/").rpartition("/")[2] or source,
        what=words.what_it_does(run.recipe),
        metrics=metrics,
        needs_hub=metrics.settings.backbone.startswith(PREFIX),
        test=metrics.test,
        size=metrics.settings.image_size,
        fit=FITS[metrics.settings.fit],
        grey=metrics.settings.grey,
        interval=words.interval(metrics.test),
        near_copies=words.near_copies(metrics),
        about_training=words.about_training(metrics),
        covered=[_covered(one, metrics.test.images) for one in metrics.prediction_sets],
        classes=per_class[:MOST_CLASSES],
        more_classes=len(per_class[MOST_CLASSES:]),
        splits=", ".join(f"{count:,} {split}" for split, count in metrics.images.items()),
        similarity=advice.evidence.similarity,
        fingerprint=advice.reproduction.data,
        steps=[(name, value) for name, value in words.plan_rows(advice) if name != "time"],
        versions=", ".join(f"{package} {version}" for package, version in metrics.versions.items()),
        command=command,
        weakest_name=weakest_name,
        weakest=weakest,
        warnings=advice.warnings,
    )


def _covered(one: Covered, images: int) -> dict[str, str]:
    """A row of the table of prediction sets."""
    low, high = wilson_interval(one.measured, images)
    return {
        "asked": f"{one.asked:.0%}",
        "share": f"{one.measured:.4f}",
        "measured": f"{one.measured:.1%} ({low:.1%} to {high:.1%})",
        "classes": f"{one.classes:.2f}",
        "none": f"{one.none:.1%}",
        "several": f"{one.several:.1%}",
        "calibrated": f"{one.calibrated:,}",
    }

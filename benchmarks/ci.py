"""A short benchmark that fails when a bound is broken; made to be run at every change.

    python -m benchmarks.ci --output benchmark.json

Uses only data that come with the dependencies or are generated here. Prints a table of measurements and
their bounds, writes them as JSON, and exits with 1 if one is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from advisor.advice import recommendation, rule
from advisor.advice.recommendation import Decide
from advisor.advice.settings import Options
from advisor.data import sources
from advisor.system.progress import Silent
from benchmarks.speed import embedding_speed
from benchmarks.tasks import cut, train

TOP_LEVEL = {
    "schema", "dataset", "size", "similarity", "quadrant", "confidence", "quadrants", "recipe", "settings",
    "rationale", "evidence", "alternatives", "warnings", "device", "seconds",
}  # fmt: skip
IMAGE_SIZE = 64
RECIPES = ("feature_extraction", "shallow_features", "fine_tuning")


@dataclass(frozen=True)
class Check:
    """A measurement, its bound, and whether it holds."""

    name: str
    measured: str
    bound: str
    holds: bool


def textures(folder: Path, classes: int = 4, images_of_each: int = 40, seed: int = 0) -> Path:
    """Striped noise, a class for each direction and width of stripes, as PNG files in class folders."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64]
    for label in range(classes):
        (folder / f"stripes {label}").mkdir(parents=True)
        for number in range(images_of_each):
            angle = np.pi * label / classes + generator.normal(0, 0.2)
            phase = generator.uniform(0, 2 * np.pi)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.6 + phase)
            pixels = 128 + 50 * wave + generator.normal(0, 60, wave.shape)
            grey = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            grey.save(folder / f"stripes {label}" / f"{number:03}.png")
    return folder


def check_advice(source: str, decide: Decide) -> list[Check]:
    """Schema, quadrant and advice for handwritten digits: unlike photographs, best known by lower layers."""
    data = sources.load(source)
    options = Options(image_size=IMAGE_SIZE)
    advised = recommendation.recommend(data, options, Silent(), sample=300, decide=decide)
    advice = advised.advice.to_json()
    missing = sorted(TOP_LEVEL - set(advice))
    total = sum(advice["quadrants"].values())
    level, recipe = advice["similarity"]["level"], advice["recipe"]
    allowed = ("shallow_features", "full_training")
    return [
        Check("JSON schema of digits", f"missing {missing}", "missing []", not missing),
        Check("digits, level of similarity", level, "low", level == "low"),
        Check("digits, sum of probabilities", f"{total:.6f}", "1", abs(total - 1) < 1e-6),
        Check("digits, advice", recipe, " or ".join(allowed), recipe in allowed),
    ]


def check_regret(source: str, size: int, bound: float, decide: Decide) -> Check:
    """Points of test accuracy that the advice loses against the best recipe in hindsight."""
    task = cut(source, size, seed=0)
    assert task is not None
    options = Options(image_size=IMAGE_SIZE, epochs=4)
    advised = recommendation.recommend(task.held, options, Silent(), decide=decide)
    recipe = advised.advice.recipe
    accuracy = {
        name: train(task, advised.with_recipe(name).settings)["test"] for name in sorted({*RECIPES, recipe})
    }
    regret = 100 * (max(accuracy.values()) - accuracy[recipe])
    return Check(
        f"{task.name}, {size} images, regret of {recipe}",
        f"{regret:.1f} points",
        f"<= {bound}",
        regret <= bound,
    )


def check_speed(source: str, bound: float) -> Check:
    """Images a second of our embedding over those of `keras.Model.predict`, decoding included."""
    rates = embedding_speed(sources.load(source), count=320)
    ratio = rates["our embedding, images/s"] / rates["keras predict, images/s"]
    return Check("embedding over keras predict, speed", f"{ratio:.2f} x", f">= {bound}", ratio >= bound)


def main(arguments: list[str] | None = None, decide: Decide = rule.decide) -> int:
    """Run all checks; returns the exit code. A test gives a rule that is wrong on purpose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the measurements as JSON to this file")
    parser.add_argument("--only", choices=("advice", "regret", "speed"), help="this part only")
    chosen = parser.parse_args(arguments)
    checks: list[Check] = []
    with tempfile.TemporaryDirectory() as folder:
        made = str(textures(Path(folder) / "textures"))
        if chosen.only in (None, "advice"):
            checks += check_advice("sklearn:digits", decide)
        if chosen.only in (None, "regret"):
            checks += [check_regret(made, 60, 10.0, decide), check_regret("sklearn:digits", 200, 5.0, decide)]
        if chosen.only in (None, "speed"):
            checks.append(check_speed("sklearn:digits", 1.0))
    for check in checks:
        print(f"{'ok' if check.holds else 'BROKEN':7} {check.name:50} {check.measured:>16}   {check.bound}")
    if chosen.output:
        chosen.output.write_text(json.dumps([asdict(check) for check in checks], indent=1))
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())

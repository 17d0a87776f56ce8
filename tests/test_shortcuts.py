"""What gives a class away beside the picture is named; on data as they are, nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from advisor.audit import shortcuts
from advisor.audit.shortcuts import Shortcut
from advisor.data import sources
from advisor.data.dataset import Dataset


def picture(seed: int) -> Image.Image:
    """Soft blobs of colour, another picture for each seed."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(40, 215, (4, 5, 3), np.uint8))
    width = 150 + 10 * (seed % 5)
    return coarse.resize((width, 120), Image.Resampling.BICUBIC)


def bordered(image: Image.Image) -> None:
    outline = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(image).rectangle(outline, outline=(20, 60, 220), width=2)


def marked(image: Image.Image) -> None:
    ImageDraw.Draw(image).text((image.width - 58, image.height - 22), "(c) 2026", fill=(255, 255, 255))


def planted(where: Path, change: Callable[[Image.Image], None] | None, **saved: str) -> Path:
    """Three classes of pictures, one of them changed."""
    for number, name in enumerate(("cat", "cow", "dog")):
        (where / name).mkdir(parents=True)
        for i in range(24):
            image = picture(100 * number + i)
            if change and name == "cow":
                change(image)
            image.save(where / name / f"{i}.jpg", saved["format"] if name == "cow" and saved else "JPEG")
    return where


def named(data: Dataset) -> tuple[Shortcut, ...]:
    """What gives a class away."""
    return shortcuts.find(shortcuts.look(data, seed=0), data)


@pytest.mark.parametrize(
    ("change", "saved", "kind", "value"),
    [
        (bordered, {}, "border", "blue"),
        (marked, {}, "mark", "lower right corner"),
        (None, {"format": "PNG"}, "file format", "PNG"),
    ],
    ids=["border", "watermark", "format"],
)
def test_a_planted_shortcut_is_named(tmp_path: Path, change, saved, kind, value):
    data = sources.load(str(planted(tmp_path / "data", change, **saved)))
    found = named(data)
    assert [(one.kind, one.value, data.class_names[one.label]) for one in found] == [(kind, value, "cow")]
    assert found[0].with_it >= 20
    assert found[0].elsewhere <= 1
    assert {Path(data.paths[at]).parent.name for at in found[0].positions} == {"cow"}


def test_a_camera_and_a_size_are_named(tmp_path: Path):
    data = planted(tmp_path / "data", None)
    for file in (data / "dog").iterdir():
        image = Image.open(file).resize((64, 64))
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Maker", "One"
        image.save(file, exif=exif)
    found = named(sources.load(str(data)))
    assert {(one.kind, one.value) for one in found} == {("camera", "Maker One"), ("image size", "64 x 64")}


def test_nothing_is_named_without_a_shortcut(tmp_path: Path):
    assert named(sources.load(str(planted(tmp_path / "data", None)))) == ()


def test_nothing_is_named_on_ants_and_bees(real_data: Path):
    assert named(sources.load(str(real_data / "hymenoptera"))) == ()

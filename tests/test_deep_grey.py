"""Grey of more than 8 bits: one range for a data set, and the same from the advice to the card."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import advisor
from advisor import backbones
from advisor.advice import by_hand
from advisor.data import sources
from advisor.evidence.embedding import embed

Save = Callable[
    [np.ndarray, Path], None
]  # grey levels 0..255, float [height, width], and a file without ending


def plain(grey: np.ndarray, path: Path) -> None:
    Image.fromarray(grey.round().astype(np.uint8)).save(path.with_suffix(".png"))


def png(depth: int) -> Save:
    def save(grey: np.ndarray, path: Path) -> None:
        values = (grey / 255 * (2**depth - 1)).round().astype(np.uint16)
        Image.fromarray(values).save(path.with_suffix(".png"))

    return save


def tiff(scale: float, dtype: type, tags: dict[int, object] | None = None) -> Save:
    def save(grey: np.ndarray, path: Path) -> None:
        values = (grey / 255 * scale).astype(dtype)
        Image.fromarray(values).save(path.with_suffix(".tif"), tiffinfo=tags or {})

    return save


def centikelvin(grey: np.ndarray, path: Path) -> None:
    """As a thermal camera writes it: a little of what 16 bits hold, and not from zero on."""
    Image.fromarray((29_000 + grey / 255 * 900).round().astype(np.uint16)).save(path.with_suffix(".png"))


KINDS: dict[str, tuple[Save, tuple[float, float]]] = {
    "8 bits in PNG of 16": (png(8), (0, 255)),
    "12 bits in PNG of 16": (png(12), (0, 4095)),
    "16 bits in PNG": (png(16), (0, 65535)),
    "12 bits in TIFF of 16": (tiff(4095, np.uint16), (0, 4095)),
    "0..1 in TIFF": (tiff(1, np.float32), (0, 1)),
    "part of 16 bits": (centikelvin, (29_000, 29_900)),
}


def steel(root: Path, save: Save, each: int = 16) -> Path:
    """Grey photographs of two classes where there are real ones, else stripes, saved in one way."""
    real, generator = os.environ.get("ADVISOR_DATA"), np.random.default_rng(0)
    for number, name in enumerate(("patches", "scratches")):
        (root / name).mkdir(parents=True)
        files = sorted(Path(real, "neu").glob(f"*{name}*/*"))[:each] if real else []
        for i in range(each):
            if files:
                with Image.open(files[i]) as image:
                    grey = np.asarray(image.convert("L"), float)
            else:
                stripes = np.sin(np.arange(96) / (2 + 3 * number))[:, None] * 80 + 128
                grey = stripes + generator.normal(0, 12, (96, 96))
            grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
            save(grey, root / name / f"{i:02}")
    return root


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    return steel(tmp_path_factory.mktemp("plain") / "data", plain)


@pytest.mark.parametrize("kind", KINDS)
def test_deep_grey_is_seen_as_plain_grey_is(kind, usual, tmp_path):
    save, expected = KINDS[kind]
    data, same = sources.load(str(steel(tmp_path / "data", save))), sources.load(str(usual))
    assert data.grey == pytest.approx(expected, rel=1e-3)
    assert same.grey is None
    network = backbones.load(backbones.BUNDLED)
    deep, shallow = (embed(network, one, np.arange(len(one)), 64).features.last() for one in (data, same))
    difference = np.linalg.norm(deep - shallow) / np.linalg.norm(shallow)
    assert difference < (0.04 if kind != "part of 16 bits" else 0.08)
    assert not any("almost of one colour" in text for text in data.warnings)
    (told,) = [text for text in data.warnings if "more than 8 bits" in text]
    assert f"{data.grey[1]:g} as white" in told


def test_the_range_is_that_of_training_images_and_of_no_others(tmp_path):
    root = steel(tmp_path / "all", png(12))
    (tmp_path / "split").mkdir()
    shutil.move(root, tmp_path / "split" / "train")
    steel(tmp_path / "split" / "test", png(16), each=3)
    assert sources.load(str(tmp_path / "split")).grey == (0, 4095)


def test_a_hot_pixel_decides_nothing(tmp_path):
    root = steel(tmp_path / "data", png(12))
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            values = np.array(image)
        values[5, 5] = 65535
        Image.fromarray(values).save(path)
    assert sources.load(str(root)).grey == (0, 4095)


@pytest.mark.parametrize("tags", [{281: 6000}, {280: 0, 281: 6000}, {340: 0.0, 341: 6000.0}])
def test_what_all_files_state_is_believed(tags, tmp_path):
    data = sources.load(str(steel(tmp_path / "data", tiff(4095, np.uint16, tags))))
    assert data.grey == (0, 6000)
    assert any("as the files state" in text for text in data.warnings)


def test_what_a_file_states_wrongly_is_not_believed(tmp_path):
    """Some writers leave 0..255 in the tags whatever the values are."""
    root = steel(tmp_path / "data", tiff(4095, np.uint16, {280: 0, 281: 1000}))
    assert sources.load(str(root)).grey == (0, 4095)


def test_a_run_keeps_its_range_for_new_images(usual, tmp_path):
    """A dark image alone stays dark: not stretched to its own values, nor to those of its folder."""
    data = steel(tmp_path / "data", png(12))
    options = {"recipe": "feature_extraction", "image_size": 64}
    deep = advisor.run(str(data), output=tmp_path / "deep", **options)
    shallow = advisor.run(str(usual), output=tmp_path / "plain", **options)
    assert deep.metrics.settings.grey == (0, 4095)
    assert deep.metrics.test.accuracy == shallow.metrics.test.accuracy
    new = steel(tmp_path / "dark", lambda grey, path: png(12)(grey / 6, path), each=4)
    same = steel(tmp_path / "dark and plain", lambda grey, path: plain(grey / 6, path), each=4)

    def probabilities(run: str, folder: Path) -> np.ndarray:
        return np.stack(
            [one.probabilities for one in advisor.predict(tmp_path / run, sorted(folder.rglob("*.png")))]
        )

    told, expected = probabilities("deep", new), probabilities("plain", same)
    assert np.abs(told - expected).max() < 0.1
    evaluated = advisor.evaluate(tmp_path / "deep", str(new))
    assert np.allclose(evaluated.predictions.probabilities, told, atol=1e-5)
    card = (tmp_path / "deep" / "README.md").read_text()
    assert "0 became 0 and 4095 became 255" in card
    advice = json.loads((tmp_path / "deep" / "recommendation.json").read_text())
    assert advice["dataset"]["grey"] == advice["settings"]["grey"] == [0, 4095]
    # Settings that are taken over from another run do not bring its range with them.
    assert "grey" not in by_hand.checked(deep.metrics.settings.to_json())


@pytest.mark.parametrize("grey", ["[5, 5]", "[1]", '"all"', "[0, NaN]"])
def test_a_damaged_range_is_refused(grey, finished_run, tmp_path, refused):
    shutil.copytree(finished_run, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    metrics["settings"]["grey"] = "HERE"
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics).replace('"HERE"', grey))
    assert "metrics.json" in refused("evaluate", str(tmp_path / "run"), "sklearn:digits")

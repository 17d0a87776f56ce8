"""How images become squares: by measurement where they are long, and the same from the advice to the card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import advisor
from advisor.choices import CROP, FITS
from advisor.cli import main
from advisor.data import images, sources


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """Images of 4:1 of two classes, whose colour stands at the left end alone."""
    root = tmp_path_factory.mktemp("long")
    generator = np.random.default_rng(0)
    for label, colour in (("blue", (40, 60, 220)), ("red", (220, 60, 40))):
        (root / label).mkdir()
        for number in range(20):
            pixels = np.tile(generator.integers(90, 150, (48, 192, 1), dtype=np.uint8), (1, 1, 3))
            pixels[:, :48] = colour
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


@pytest.fixture
def striped(tmp_path) -> Path:
    """One image of 4:1: green, but for a red end; its upper and lower sides are blue."""
    pixels = np.zeros((40, 160, 3), np.uint8)
    pixels[:, :, 1] = 200
    pixels[:, :40] = (200, 0, 0)
    pixels[:8], pixels[-8:] = (0, 0, 200), (0, 0, 200)
    Image.fromarray(pixels).save(tmp_path / "striped.png")
    return tmp_path / "striped.png"


@pytest.mark.parametrize("size", [32, 33, 200])
@pytest.mark.parametrize("fit", FITS)
def test_each_way_gives_a_square(fit, size, striped):
    square = images.load_square(striped, size, fit)
    assert (square.shape, square.dtype) == ((size, size, 3), np.uint8)
    middle = square[size // 2]
    assert (middle[2, 0] > 150) == (fit != CROP)  # the red end
    assert middle[-2, 1] > 150
    corner = {"pad:grey": (128, 128, 128), "pad:border": (0, 0, 200)}.get(fit)
    if corner:
        assert np.abs(square[0, 0].astype(int) - corner).max() < 30
        assert (square[: size // 3] == square[0, 0]).all()


def test_a_tall_image_is_padded_at_its_sides(striped, tmp_path):
    with Image.open(striped) as image:
        image.transpose(Image.Transpose.TRANSPOSE).save(tmp_path / "tall.png")
    for fit in FITS:
        turned = images.load_square(tmp_path / "tall.png", 64, fit).swapaxes(0, 1)
        assert np.abs(turned.astype(int) - images.load_square(striped, 64, fit)).max() <= 1


def test_a_square_is_the_same_in_every_way(tmp_path):
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "square.png")
    ways = [images.load_square(tmp_path / "square.png", 48, fit) for fit in FITS]
    assert all((way == ways[0]).all() for way in ways)


def test_probes_decide_where_images_are_long(long, capsys):
    def told(*options: str) -> dict:
        with pytest.raises(SystemExit):
            main(["recommend", str(long), "--image-size", "32", "--json", *options])
        return json.loads(capsys.readouterr().out)

    auto = told()
    assert set(auto["fit"]["measured"]) == set(FITS)
    assert auto["fit"]["measured"][CROP] < 0.8
    assert auto["fit"]["chosen"] == auto["settings"]["fit"] != CROP
    assert auto["fit"]["measured"][auto["fit"]["chosen"]] > 0.9
    assert [row["factor"] for row in auto["rationale"]].count("Shape") == 1
    assert not any("images are long" in warning for warning in auto["warnings"])
    crop = told("--fit", "crop")
    assert crop["fit"] == {"chosen": CROP, "measured": {}}
    assert any("40 of 40 images are long" in warning for warning in crop["warnings"])
    assert crop["similarity"] == auto["similarity"]
    assert set(told("--fit", "pad")["fit"]["measured"]) == {"pad:border", "pad:grey"}


def test_images_that_are_not_long_are_cut_as_ever(tmp_path):
    for number in range(20):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.effect_noise((60, 40), number).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    advice = advisor.recommend(str(tmp_path), image_size=32).to_json()
    assert advice["fit"] == {"chosen": CROP, "measured": {}}
    assert not any(row["factor"] == "Shape" for row in advice["rationale"])


def test_a_run_predicts_and_evaluates_as_it_was_trained(long, tmp_path):
    made = advisor.run(
        str(long), output=tmp_path / "run", recipe="feature_extraction", fit="pad", image_size=32
    )
    assert made.metrics.settings.fit.startswith("pad:")
    assert made.metrics.test.accuracy == 1.0
    assert advisor.evaluate(tmp_path / "run", str(long)).predictions.scores().accuracy == 1.0
    files = sources.load(str(long)).paths
    told = list(advisor.predict(tmp_path / "run", files))
    assert all(Path(item.path).parent.name == item.best(1)[0][0] for item in told)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "padded to a square" in card
    assert "image = ImageOps.pad(image, (32, 32)" in card
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["settings"]["fit"].startswith("pad:")


def test_an_unknown_way_is_refused(long, refused):
    assert "'stretch' is not one of" in refused("recommend", str(long), "--fit", "stretch")
    with pytest.raises(advisor.InputError, match="unknown --fit 'stretch'; choose one of auto, crop"):
        advisor.recommend(str(long), fit="stretch")

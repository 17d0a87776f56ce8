"""Several views of each image: mirrored, or at two sizes, by one frozen network inside one model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_position import spots

from advisor import api, backbones
from advisor.data import sources
from advisor.evidence import embedding
from advisor.evidence.views import HALVED, MIRRORED, PLAIN

SIZE = 64


@pytest.fixture(scope="module")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spots(tmp_path_factory.mktemp("thirds"), images_of_each=20)


def pixels_of(thirds: Path, count: int) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sources.load(str(thirds)).paths[:count]])


def seen_of(thirds: Path, views: tuple, grid: str = "average") -> embedding.Features:
    data, rows = sources.load(str(thirds)), np.arange(4)
    return embedding.embed(backbones.load(backbones.BUNDLED), data, rows, SIZE, None, views, grid).features


def test_mirror_images_are_averaged_with_the_images(thirds):
    backbone = backbones.load(backbones.BUNDLED)
    run, pixels = embedding.runner(backbone, SIZE), pixels_of(thirds, 4)
    both = (run(pixels)[0] + run(pixels[:, :, ::-1])[0]) / 2
    found = seen_of(thirds, (PLAIN, MIRRORED))
    np.testing.assert_allclose(found.at(found.taps[0]), both, rtol=1e-5, atol=1e-5)


def test_cells_of_mirror_images_are_turned_back(thirds):
    plain, both = (seen_of(thirds, views, "cells:4") for views in ((PLAIN,), (PLAIN, MIRRORED)))
    mirrored = seen_of(thirds, (MIRRORED,), "cells:4")
    side, channels = 4, plain.widths[0]
    first = slice(0, plain.cell_widths[0])
    back = mirrored.cells[:, first].reshape(4, side, side, channels)[:, :, ::-1]
    expected = (plain.cells[:, first].reshape(back.shape).astype(np.float32) + back) / 2
    np.testing.assert_allclose(both.cells[:, first].reshape(back.shape), expected, atol=2e-3)
    assert both.cell_widths == plain.cell_widths


def test_the_image_at_half_its_size_stands_beside_it_tap_by_tap(thirds):
    plain, both = seen_of(thirds, (PLAIN,)), seen_of(thirds, (PLAIN, HALVED))
    smaller = pixels_of(thirds, 4).reshape(4, SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(2, 4))
    of_half = embedding.runner(backbones.load(backbones.BUNDLED), SIZE // 2)(smaller.astype(np.float32))
    for tap, expected in zip(plain.taps, of_half, strict=False):
        np.testing.assert_allclose(both.at(tap)[:, : plain.at(tap).shape[1]], plain.at(tap))
        np.testing.assert_allclose(both.at(tap)[:, plain.at(tap).shape[1] :], expected, rtol=1e-5, atol=1e-5)


def test_each_image_is_decoded_once_for_all_views_and_nothing_is_computed_twice(tmp_path, monkeypatch):
    thirds, asked = spots(tmp_path / "thirds", images_of_each=3), []
    seen_of(thirds, (PLAIN,))
    runner = embedding.runner
    monkeypatch.setattr(embedding, "runner", lambda *of: asked.append(of[1]) or runner(*of))
    first = seen_of(thirds, (PLAIN, HALVED))
    assert asked == [SIZE // 2]
    np.testing.assert_array_equal(seen_of(thirds, (PLAIN, HALVED)).values, first.values)
    assert len(asked) == 1


@pytest.mark.parametrize("views", ["mirror", "sizes"])
@pytest.mark.parametrize("recipe", ["shallow_features", "feature_extraction"])
def test_a_model_with_views_is_plain_keras_predicts_and_exports(views, recipe, thirds, tmp_path):
    import keras

    folder = tmp_path / "run"
    run = api.run(str(thirds), recipe=recipe, image_size=SIZE, settings={"views": views}, output=folder)
    assert run.metrics.settings.views == views
    model = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    assert model.input_shape == (None, SIZE, SIZE, 3)
    pixels = np.stack([np.asarray(Image.open(path)) for path in run.test.paths])
    said = np.asarray(model(pixels))
    np.testing.assert_allclose(said, run.test.probabilities, atol=2e-3)
    predicted = list(api.predict(folder, run.test.paths))
    np.testing.assert_allclose([one.probabilities for one in predicted], said, atol=1e-3)
    for format in ("tflite", "saved_model"):
        assert api.export(folder, format, output=tmp_path / format).difference < 1e-4

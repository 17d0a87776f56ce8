"""What stands where in the picture: cells of a grid beside the average over the whole."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor import api, backbones
from advisor.advice.recommendation import Recommendation
from advisor.backbones import Backbone
from advisor.data import sources
from advisor.evidence import embedding, measure, pooling
from advisor.evidence.features import Features
from advisor.system.progress import Silent
from benchmarks import ci

SIZE = 64


def spots(folder: Path, images_of_each: int = 50) -> Path:
    """Noise with the same bright spot, in a class for each third of the width that it may lie in."""
    draw = np.random.default_rng(0)
    for name, left in {"left": 12, "middle": 26, "right": 40}.items():
        (folder / name).mkdir(parents=True)
        for number in range(images_of_each):
            pixels = draw.normal(100, 40, (SIZE, SIZE, 3))
            y, x = draw.integers(12, 40), left + draw.integers(-3, 4)
            pixels[y : y + 12, x : x + 12] += 60
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spots(tmp_path_factory.mktemp("thirds"))


@pytest.fixture(scope="module")
def finished(thirds: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """A frozen run on all depths that sees cells."""
    folder = tmp_path_factory.mktemp("position") / "run"
    return api.run(str(thirds), recipe="shallow_features", image_size=SIZE, output=folder)


def advice_of(folder: Path) -> Recommendation:
    return Recommendation.from_json(json.loads((folder / "recommendation.json").read_text(encoding="utf-8")))


def test_cells_are_taken_where_position_tells_the_classes(finished):
    position = advice_of(finished.folder).evidence.probes.position["shallow_features"]
    assert position.pooling == position.tried == finished.metrics.settings.pooling == "cells:4"
    assert position.loss < -4
    assert position.gain > 2 * position.error
    assert finished.metrics.test.accuracy > 0.8
    cells = position.width - sum(advice_of(finished.folder).evidence.probes.widths.values())
    trained = finished.metrics.parameters["trained"]
    assert trained == 3 * (position.width + 1) == advice_of(finished.folder).plan.parameters_trained
    assert cells > position.width / 2


def test_the_whole_picture_is_enough_for_textures(tmp_path):
    advice = api.recommend(str(ci.textures(tmp_path / "textures")), image_size=SIZE)
    for recipe, position in advice.evidence.probes.position.items():
        assert (position.pooling, position.tried) == ("average", "cells:4"), recipe
    assert advice.settings.pooling == "average"
    (row,) = [row for row in advice.rationale if row.factor == "Position"]
    assert row.verdict == "whole picture"


def test_a_model_that_sees_cells_is_plain_keras_predicts_and_exports(finished, thirds, tmp_path):
    import keras

    images = finished.test.paths[:8]
    model = keras.saving.load_model(finished.folder / "model.keras", safe_mode=True)
    pixels = np.stack([np.asarray(Image.open(path)) for path in images])
    said = finished.test.probabilities[:8]
    np.testing.assert_allclose(np.asarray(model(pixels)), said, atol=1e-3)
    predicted = list(api.predict(finished.folder, images))
    np.testing.assert_allclose([one.probabilities for one in predicted], said, atol=1e-4)
    evaluated = api.evaluate(finished.folder, str(thirds))
    assert evaluated.predictions.scores().accuracy == finished.metrics.test.accuracy
    assert api.export(finished.folder, "tflite", output=tmp_path / "tflite").difference < 1e-4


def test_strangers_are_told_by_the_whole_picture(finished, tmp_path):
    with np.load(finished.folder / "neighbours.npz") as kept:
        assert kept["features"].shape[1] == sum(advice_of(finished.folder).evidence.probes.widths.values())
    stranger = tmp_path / "stranger.png"
    Image.fromarray(np.full((SIZE, SIZE, 3), (250, 20, 20), np.uint8)).save(stranger)
    *own, strange = api.predict(finished.folder, [*finished.test.paths, str(stranger)])
    assert strange.unlike
    assert np.mean([one.unlike for one in own]) < 0.2


@pytest.mark.slow
def test_training_pools_with_the_frozen_network_that_sees_cells(thirds, finished, tmp_path):
    trained = api.run(str(thirds), recipe="full_training", image_size=SIZE, epochs=1, output=tmp_path / "run")
    assert trained.metrics.settings.pooling == "cells:4"
    assert trained.metrics.kept.frozen.test == finished.metrics.test.accuracy
    assert trained.metrics.kept.frozen.validation == finished.metrics.validation.accuracy
    said = list(api.predict(trained.folder, trained.test.paths[:4]))
    np.testing.assert_allclose([one.probabilities for one in said], trained.test.probabilities[:4], atol=1e-4)


def embedded(thirds: Path, backbone: Backbone, grid: str, rows: np.ndarray) -> Features:
    data = sources.load(str(thirds))
    return embedding.embed(backbone, data, rows, SIZE, pooling=grid).features


@pytest.mark.parametrize(("grid", "cells"), [("cells:4", 4), ("cells:2", 2)])
def test_cells_are_roots_of_averages_over_parts_of_the_maps(grid, cells, thirds):
    import keras

    backbone = backbones.load(backbones.BUNDLED)
    rows = np.arange(5)
    found = embedded(thirds, backbone, grid, rows)
    maps = keras.Model(backbone.model.inputs[0], [backbone.model.get_layer(tap).output for tap in found.taps])
    paths = sources.load(str(thirds)).paths[:5]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]).astype(np.float32)
    left = 0
    for values, width, average in zip(
        maps(pixels),
        found.cell_widths,
        np.split(found.values, np.cumsum(found.widths)[:-1], axis=1),
        strict=True,
    ):
        values = np.asarray(values)
        side = math.ceil(values.shape[1] / cells)
        assert values.shape[1] % side == 0  # at this size, so that no cell is smaller than another
        grid_of = values.reshape(5, -1, side, values.shape[2] // side, side, values.shape[3]).mean(
            axis=(2, 4)
        )
        own = found.cells[:, left : left + width].astype(np.float32)
        roots = np.sign(grid_of) * np.sqrt(np.abs(grid_of))
        np.testing.assert_allclose(own, roots.reshape(5, -1), atol=0.06)
        np.testing.assert_allclose(average, values.mean(axis=(1, 2)), atol=0.01)
        left += width
    assert left == found.cells.shape[1]


def test_what_is_in_the_cache_is_not_computed_again(tmp_path, monkeypatch):
    thirds, backbone = spots(tmp_path / "thirds", images_of_each=8), backbones.load(backbones.BUNDLED)
    few, more = np.arange(10), np.arange(20)
    first = embedded(thirds, backbone, "cells:4", few)
    asked = []
    runner = embedding.forward.runner
    monkeypatch.setattr(embedding.forward, "runner", lambda *of: asked.append(of[1]) or runner(*of))
    np.testing.assert_array_equal(embedded(thirds, backbone, "cells:4", few).cells, first.cells)
    np.testing.assert_array_equal(embedded(thirds, backbone, "average", few).values, first.values)
    assert not asked
    again = embedded(thirds, backbone, "cells:4", more)
    np.testing.assert_array_equal(again.cells[:10], first.cells)
    assert [key.endswith("cells:4") for key in asked] == [True]


def test_layers_that_are_no_maps_have_no_cells(thirds):
    import keras
    from keras import layers

    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, strides=4, name="low")(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(6, name="end")(layers.Flatten()(x))
    model = keras.Model(image, x, name="mine")
    backbone = Backbone("mine", lambda: model, ("low", "end"), SIZE, True, "photographs", "flat")
    found = embedded(thirds, backbone, "cells:4", np.arange(3))
    assert found.widths == (4, 6)
    assert found.cell_widths == (4 * 16, 0)
    assert found.has_cells(("low", "end"))
    assert not found.has_cells(("end",))
    assert [part.shape for part in found.with_cells(("low", "end")).parts] == [(3, 10), (3, 64)]


@pytest.mark.parametrize(
    ("bounds", "grid"),
    [
        ({}, "cells:4"),
        ({"MOST_WEIGHTS": 3 * 12_000}, "cells:2"),
        ({"MOST_WEIGHTS": 3 * 5_000}, "average"),
        ({"MOST_IMAGES": 50}, "average"),
        ({"MOST_NUMBERS": 150 * 12_000}, "cells:2"),
    ],
    ids=["all fits", "a large head", "a larger one", "many images", "much memory"],
)
def test_cells_become_coarser_where_they_are_too_many(bounds, grid, thirds, monkeypatch):
    for name, most in bounds.items():
        monkeypatch.setattr(pooling, name, most)
    data, backbone = sources.load(str(thirds)), backbones.load(backbones.BUNDLED)
    measured = measure.measure(data, backbone, SIZE, True, 1000, None, 0, Silent())
    assert measured.evidence.probes.position["shallow_features"].pooling == grid


def test_large_features_do_not_overflow_half_precision(thirds, tmp_path, monkeypatch):
    huge = np.full((2, 8), 3e9, np.float32)
    monkeypatch.setattr(embedding.forward, "runner", lambda *_: lambda pixels: [huge[:, :2], huge])
    backbone = replace(backbones.load(backbones.BUNDLED), taps=("only",), fingerprint=str(tmp_path))
    found = embedded(thirds, backbone, "cells:2", np.arange(2))
    assert np.isfinite(found.cells).all()

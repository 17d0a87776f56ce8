"""Several views of each image: mirrored, or at two sizes, by one frozen network inside one model."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest
from PIL import Image
from test_position import spots

from advisor import api, backbones
from advisor.advice import looks, rule, steps, times
from advisor.advice.by_hand import choose
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options
from advisor.backbones.efficientnet_lite import LITE2
from advisor.data import images, sources
from advisor.errors import InputError
from advisor.evidence import embedding
from advisor.evidence.features import Features
from advisor.evidence.second_look import Look
from advisor.evidence.views import HALVED, MIRRORED, PLAIN

SIZE = 64


@pytest.fixture(scope="module")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spots(tmp_path_factory.mktemp("thirds"), images_of_each=20)


def pixels_of(thirds: Path, count: int) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sources.load(str(thirds)).paths[:count]])


def seen_of(thirds: Path, views: tuple, grid: str = "average") -> Features:
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
    runner = embedding.forward.runner
    monkeypatch.setattr(embedding.forward, "runner", lambda *of: asked.append(of[2]) or runner(*of))
    first = seen_of(thirds, (PLAIN, HALVED))
    assert asked == [SIZE // 2]
    np.testing.assert_array_equal(seen_of(thirds, (PLAIN, HALVED)).values, first.values)
    assert len(asked) == 1


def test_images_that_cannot_be_read_any_more_are_left_out(tmp_path, monkeypatch):
    thirds = spots(tmp_path / "thirds", images_of_each=2)
    seen_of(thirds, (PLAIN,))

    def gone(*_):
        raise images.UnreadableImage("it is gone")

    monkeypatch.setattr(images, "load_square", gone)
    assert len(seen_of(thirds, (PLAIN,))) == 4
    assert len(seen_of(thirds, (PLAIN, MIRRORED))) == 0


@pytest.mark.parametrize(
    ("views", "recipe"),
    [("mirror", "shallow_features"), pytest.param("sizes", "feature_extraction", marks=pytest.mark.slow)],
)
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
    assert api.export(folder, "tflite").difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("views", ["mirror", "sizes"])
def test_a_model_with_views_and_cells_is_the_same_in_other_formats(views, thirds, tmp_path):
    folder, settings = tmp_path / "run", {"views": views, "pooling": "cells:4"}
    api.run(str(thirds), recipe="shallow_features", image_size=SIZE, settings=settings, output=folder)
    for format in ("tflite", "saved_model", *(["onnx"] if importlib.util.find_spec("tf2onnx") else [])):
        assert api.export(folder, format).difference < 1e-4


def look(views: str = "mirror", network: str | None = None, taken: float = 0.1) -> Look:
    recipe = "shallow_features"
    return Look(views, network, recipe, images=300, gain=0.01, taken=taken, width=16)


def advice_with(*found: Look, accuracy: float = 0.85, options: Options | None = None) -> Recommendation:
    known = made_up.evidence(made_up.summary(400))
    expected = {name: replace(one, accuracy=accuracy) for name, one in known.probes.expected.items()}
    known = replace(known, looks=found, probes=replace(known.probes, expected=expected))
    return made_up.recommendation(evidence=known, recipe="shallow_features", options=options)


@pytest.mark.parametrize(
    ("found", "accuracy", "views"),
    [
        ((look("mirror", taken=0.2), look("sizes", taken=0.1)), 0.75, "mirror"),
        ((look("mirror", taken=0.06), look("sizes", taken=0.1)), 0.75, "sizes"),
        ((look("mirror", taken=-0.05), look("sizes", taken=-0.01)), 0.75, "one"),
        ((look("mirror", taken=0.05),), 0.95, "one"),  # a twentieth of 5 % errors is not worth it
        (
            (look("one", network=LITE2.name, taken=0.2),),
            0.85,
            "one",
        ),  # another network is a step of the user's
    ],
)
def test_views_are_taken_where_what_they_should_gain_is_worth_it(found, accuracy, views):
    advice = advice_with(*found, accuracy=accuracy)
    assert advice.settings.views == views
    told = {step.action: step for step in advice.steps}
    for one in found:
        step = told[looks.action(one)]
        assert step.gain == pytest.approx(rule.gain_of_look(1 - accuracy, one.taken, one.network is not None))
        assert step.interval[0] < step.gain < step.interval[1]
        assert step.worth == (
            step.gain >= rule.least_gain(looks.seconds(one, advice.evidence, backbones.BUNDLED))
        )
        assert step.seconds > advice.steps[0].seconds
    assert Recommendation.from_json(json.loads(json.dumps(advice.to_json()))) == advice


def test_training_sees_each_image_once():
    known = advice_with(look("mirror", taken=0.2)).evidence
    assert choose("fine_tuning", Options(), known).views == "one"
    assert choose("shallow_features", Options(), known).views == "mirror"
    assert choose("shallow_features", Options(settings={"views": "one"}), known).views == "one"


def test_one_view_is_taken_where_two_do_not_fit_into_the_minutes(monkeypatch):
    seconds = {"one": 20.0, "mirror": 40.0}
    monkeypatch.setattr(times, "run", lambda settings, images, known: seconds[settings.views])
    known = advice_with(look("mirror", taken=0.2)).evidence
    advised, by_hand = (
        choose("shallow_features", Options(settings=values), known) for values in ({}, {"views": "mirror"})
    )
    assert steps.fitting(advised, known, 41.0).views == "mirror"
    assert steps.fitting(advised, known, 30.0).views == "one"
    assert steps.fitting(advised, known, 10.0) is None
    assert by_hand.by_hand == ()  # what would have been chosen anyway
    told = steps.steps(known, {"shallow_features": advised}, "fine_tuning", seconds=10.0)
    assert [step.worth for step in told if step.action == "views=mirror"] == [False]


@pytest.mark.parametrize(
    ("recipe", "options", "fixed_size", "words"),
    [
        ("fine_tuning", Options(settings={"views": "mirror"}), False, "frozen network"),
        ("shallow_features", Options(settings={"views": "sizes"}), True, "224 px only"),
    ],
)
def test_views_that_cannot_be_had_are_refused(recipe, options, fixed_size, words):
    known = made_up.evidence(made_up.summary(400))
    known = replace(known, network=replace(known.network, fixed_size=fixed_size))
    with pytest.raises(InputError, match=words):
        choose(recipe, options, known)


def test_only_looks_that_change_nothing_are_tried_and_told(thirds, monkeypatch):
    """Left is another class than right, so that no mirror image is looked at."""
    assert api.recommend(str(thirds), image_size=SIZE).evidence.looks == ()  # next to nothing is wrong
    monkeypatch.setattr(rule, "VIEWS_FROM_ERROR", 0.0)
    advice = api.recommend(str(thirds), image_size=SIZE)
    (found,) = advice.evidence.looks
    assert (found.views, found.network, found.images) == ("sizes", None, 54)
    assert -1 < found.taken < 1
    assert [step.action for step in advice.steps[1:3]] == ["feature_extraction", "views=sizes"]
    assert "Second look" in [row.factor for row in advice.rationale]


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of two mean shades, which vary so much that a third cannot be told."""
    folder, draw = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for name, shade in {"dark": 110, "light": 130}.items():
        (folder / name).mkdir()
        for number in range(30):
            pixels = draw.normal(shade + draw.normal(0, 20), 40, (SIZE, SIZE, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_two_networks_are_told_as_a_step(shades):
    advice = api.recommend(str(shades))
    assert [step.action for step in advice.steps[2:4]] == ["views=mirror", "views=sizes"]
    (step,) = [step for step in advice.steps if step.action == f"with {LITE2.name}"]
    assert f"--backbone {backbones.BUNDLED}+{LITE2.name}" in step.what
    assert step.gain is not None


def test_nothing_is_looked_at_again_where_nearly_all_is_right(thirds):
    advice = api.recommend(str(thirds))
    assert advice.evidence.probes.expected[advice.frozen_recipe].accuracy > 0.95
    assert advice.evidence.looks == ()

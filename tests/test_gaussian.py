"""A head with a Gaussian kernel: against other ways to compute it, its probes, its model and its bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest

from advisor import api
from advisor.advice import by_hand
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options
from advisor.data.images import load_square
from advisor.errors import InputError
from advisor.evidence import linear_head, probe
from advisor.evidence.features import Features
from advisor.evidence.gaussian import Gaussian
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Products
from advisor.evidence.measure import Evidence
from benchmarks import ci

SIZE = 64


def rings(count: int, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [count, width] in a plane and noise around it; every second quarter of it is a class.

    No straight border tells the two classes apart.
    """
    draw = np.random.default_rng(seed)
    angles = draw.uniform(0, 2 * np.pi, count)
    points = draw.normal(0, 0.1, (count, width))
    points[:, :2] += np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points.astype(np.float32), (angles // (np.pi / 2)).astype(int) % 2


def seen_by(features: np.ndarray, known: int) -> HeadInput:
    """What a head sees that knows the first images."""
    own = np.where(np.arange(len(features)) < known, np.arange(len(features)), -1)
    return HeadInput((features,)).and_likeness(Gaussian.of(features[:known]), own)


def test_borders_are_curved_and_new_images_told():
    features, labels = rings(300)
    fitted, new = np.arange(200), np.arange(200, 300)
    straight = linear_head.fit(features[:200], labels[:200], 2).head.probabilities(features[200:])
    assert linear_head.judge(straight, labels[200:]).accuracy < 0.7
    seen = seen_by(features, 200)
    head = linear_head.fit(seen.take(fitted), labels[:200], 2).head
    assert head.gaussian is not None
    told = head.probabilities(seen.take(new))
    assert linear_head.judge(told, labels[200:]).accuracy > 0.85
    # A head on part of what the kernel knows is what inner products say, the way in which probes ask.
    head = linear_head.fit(seen.take(fitted[::2]), labels[:200:2], 2).head
    part = head.probabilities(seen.take(fitted[1::2]))
    near = Products.of(seen.take(fitted)).probabilities(fitted[::2], fitted[1::2], labels[:200:2], 2)
    assert (part.argmax(axis=1) == near.argmax(axis=1)).mean() > 0.95


def test_held_out_is_what_a_head_says_that_was_not_fitted_to_the_image(monkeypatch):
    monkeypatch.setattr(linear_head, "RIDGES", np.array([0.1]))
    monkeypatch.setattr(linear_head, "floored", lambda deviation: np.ones_like(deviation))
    features, labels = rings(40)
    seen, everything = seen_by(features, 40), np.arange(40)
    held_out = linear_head.fit(seen, labels, 2).held_out
    for i in everything:
        others = np.delete(everything, i)
        head = linear_head.fit(seen.take(others), labels[others], 2).head
        alone = head.probabilities(seen.take(np.array([i])))[0]
        assert (alone[0] > 0.5) == (held_out[i, 0] > 0.5) or abs(held_out[i, 0] - 0.5) < 0.02


@pytest.mark.parametrize(("points", "kernel"), [(rings, "gaussian"), (None, "linear")])
def test_probes_take_the_kernel_where_it_says_more(points, kernel):
    if points is None:
        draw = np.random.default_rng(0)
        labels = np.arange(300) % 2
        values = draw.normal(0, 1, (300, 6)).astype(np.float32) + 0.8 * labels[:, None].astype(np.float32)
    else:
        values, labels = points(300)
    features = Features(("low", "high"), (3, 3), values, (0, 0), np.empty((300, 0), np.float16))
    found = probe.gather(features, "average", labels, 2, 300, 30, 0)
    known = found.kernel["shallow_features"]
    assert (known.kernel, known.tried) == (kernel, True)
    assert (known.loss < -probe.BELIEF_IN_STRAIGHT) == (kernel == "gaussian")


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(ci.textures(tmp_path_factory.mktemp("gaussian") / "textures"))


@pytest.fixture(scope="module")
def finished(textures: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """A frozen run whose head has a Gaussian kernel."""
    asked = {"recipe": "shallow_features", "image_size": SIZE, "settings": {"kernel": "gaussian"}}
    return api.run(str(textures), **asked, output=tmp_path_factory.mktemp("gaussian") / "run")


def test_the_model_is_plain_keras_predicts_and_exports(finished):
    import keras

    assert finished.metrics.settings.kernel == "gaussian"
    model = keras.saving.load_model(finished.folder / "model.keras", safe_mode=True)
    pixels = np.stack([load_square(path, SIZE) for path in finished.test.paths])
    np.testing.assert_allclose(np.asarray(model(pixels)), finished.test.probabilities, atol=2e-3)
    told = [one.probabilities for one in api.predict(finished.folder, finished.test.paths)]
    np.testing.assert_allclose(told, finished.test.probabilities, atol=2e-3)
    assert api.export(finished.folder, "tflite").difference < 1e-3


def test_what_is_fitted_is_counted_as_the_plan_says(finished):
    told = json.loads((finished.folder / "recommendation.json").read_text(encoding="utf-8"))
    advice = Recommendation.from_json(told)
    assert finished.metrics.parameters["trained"] == advice.plan.parameters_trained
    assert {row.factor for row in advice.rationale} >= {"Kernel"}
    known = finished.metrics.images["train"] + finished.metrics.images["validation"]
    widths = sum(advice.evidence.probes.widths.values())
    assert advice.plan.parameters_trained == len(finished.test.class_names) * (widths + known + 1)


@pytest.mark.slow
def test_training_pools_with_the_frozen_network(textures, finished, tmp_path):
    asked = {"recipe": "full_training", "image_size": SIZE, "settings": {"kernel": "gaussian"}}
    trained = api.run(str(textures), **asked, epochs=1, output=tmp_path / "run")
    assert trained.metrics.kept.frozen.test == finished.metrics.test.accuracy
    told = [one.probabilities for one in api.predict(trained.folder, trained.test.paths)]
    np.testing.assert_allclose(told, trained.test.probabilities, atol=2e-3)


@pytest.mark.slow
def test_whole_numbers_of_8_bits_say_the_same(finished, textures):
    made = api.export(finished.folder, "tflite-int8", data=str(textures))
    assert made.is_same


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"init": "random", "recipe": "full_training"}, "leave it out with --init random"),
        ({"recipe": "shallow_features"}, "at most 20"),
    ],
)
def test_where_there_is_no_kernel_it_is_refused(asked, words, textures, monkeypatch, refused):
    monkeypatch.setattr(by_hand, "MOST_IMAGES", 20)
    given = [part for name, value in asked.items() for part in (f"--{name}", value)]
    message = refused("run", str(textures), "--image-size", str(SIZE), "--set", "kernel=gaussian", *given)
    assert words in message


def with_kernel() -> Evidence:
    """Evidence of which the probes took the kernel."""
    known = made_up.evidence(made_up.summary(400))
    kernel = {name: replace(one, kernel="gaussian", loss=-9.0) for name, one in known.probes.kernel.items()}
    return replace(known, probes=replace(known.probes, kernel=kernel))


@pytest.mark.parametrize(
    ("values", "kernel"),
    [
        ({}, "gaussian"),
        ({"views": "one", "pooling": "average"}, "gaussian"),  # as it would have been anyway
        ({"views": "mirror"}, "gaussian"),
        ({"pooling": "cells:2"}, "linear"),
        ({"pooling": "cells:2", "kernel": "gaussian"}, "gaussian"),
        ({"kernel": "linear"}, "linear"),
        ({"head_start": "random"}, "linear"),
    ],
)
def test_what_is_set_by_hand_keeps_the_kernel_or_not(values, kernel):
    assert by_hand.choose("shallow_features", Options(settings=values), with_kernel()).kernel == kernel


def test_a_head_that_learns_by_steps_has_no_kernel():
    options = Options(head="mlp:8", settings={"kernel": "gaussian"})
    with pytest.raises(InputError, match="a head that is solved"):
        by_hand.choose("shallow_features", options, with_kernel())
    assert by_hand.choose("full_training", options, with_kernel()).kernel == "gaussian"  # of the frozen one


def test_an_advice_from_before_there_were_kernels_can_be_read():
    told = json.loads(json.dumps(made_up.recommendation(evidence=with_kernel()).to_json()))
    assert Recommendation.from_json(told).settings.kernel == told["settings"]["kernel"]
    del told["evidence"]["kernel"], told["settings"]["kernel"]
    old = Recommendation.from_json(told)
    assert {one.kernel for one in old.evidence.probes.kernel.values()} == {old.settings.kernel} == {"linear"}

"""The pool of the frozen network and the trained one: its weight, its model, and what a run says of it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import made_up
import numpy as np
import pytest

from advisor import api, backbones
from advisor.advice import rule
from advisor.advice.settings import Options, Settings, choose
from advisor.backbones import Backbone
from advisor.errors import InputError
from advisor.evidence.linear_head import LinearHead, softmax
from advisor.evidence.pooling import CELLS
from advisor.report import words
from advisor.results import Alone, Kept, Run, Second
from advisor.system import folder_lock
from advisor.system.progress import Silent
from benchmarks import ci
from recipes.runs import prediction, run_files
from recipes.training import pool
from recipes.training.assembly import assemble, clone, freeze, head_layers, set_dense

SIZE = 32  # pixels


def logits_of(right: int, images: int = 200, sure: float = 3.0, first: int = 0) -> np.ndarray:
    """Of a network that is right about so many of images, all of class 0 of two, from the first on."""
    truth = np.full(images, -sure)
    truth[(np.arange(images) - first) % images < right] = sure
    return np.stack([truth, -truth], axis=1) / 2


@pytest.mark.parametrize(
    ("frozen", "trained", "low", "high"),
    [
        (logits_of(150), logits_of(150, first=50), 0.35, 0.5),
        (logits_of(150), logits_of(190), 0.7, 1.0),
        (logits_of(190), logits_of(150), 0.0, 0.2),
        (logits_of(3, 5), logits_of(4, 5), 0.25, 0.45),
        (logits_of(150), np.full((200, 2), np.nan), 0.0, 0.0),
        (logits_of(150), np.full((200, 2), np.inf), 0.0, 0.0),
    ],
    ids=["equally good", "trained is better", "frozen is better", "few images", "nan", "infinite"],
)
def test_the_weight_follows_the_validation_images_and_the_belief_without(frozen, trained, low, high):
    labels = np.zeros(len(frozen), np.int64)
    assert low <= pool.best_weight(frozen, trained, labels) <= high


def test_a_class_without_images_does_no_harm_to_the_weight():
    frozen = np.array([[2.0, 0.0, -1000.0]] * 9 + [[0.0, 2.0, -1000.0]])
    weight = pool.best_weight(frozen, frozen, np.array([0] * 9 + [2]))
    assert weight == pytest.approx(rule.POOL_CENTRE)


@pytest.mark.parametrize(("best", "kept"), [(0.0, 0), (0.09, 0), (0.1, 0.1), (0.5, 0.5), (0.91, 1), (1, 1)])
def test_a_network_that_hardly_weighs_is_left_out(best, kept):
    assert rule.pool_weight(best) == kept


def settings_for(backbone: Backbone, taps: tuple[str, ...], train_from: str | None) -> Settings:
    known = made_up.evidence(made_up.summary(100), backbone.taps, image_size=SIZE)
    chosen = choose("full_training", Options(), known)
    return replace(chosen, taps=taps, train_from=train_from)


def shaken(backbone: Backbone, settings: Settings) -> Backbone:
    """A copy of a network whose layers that may be trained are other than they were."""
    trained = clone(backbone, "float32")
    freeze(trained, settings.train_from, "frozen")
    draw = np.random.default_rng(1)
    for variable in trained.model.trainable_variables:
        variable.assign(variable * draw.uniform(0.8, 1.2, variable.shape))
    return trained


def head_for(backbone: Backbone, settings: Settings, seed: int, cells: bool = False) -> LinearHead:
    """Any head on the taps of a network, of three classes."""
    import keras

    of, each_way = (settings.cells_of, CELLS[settings.pooling]) if cells else ((), 0)
    outputs = backbone.features(settings.taps, each_way, of, SIZE)(np.zeros((1, SIZE, SIZE, 3), np.float32))
    width = sum(tensor.shape[-1] for tensor in keras.tree.flatten(outputs))
    draw = np.random.default_rng(seed)
    return LinearHead(
        draw.normal(0, 0.1, (width, 3)).astype(np.float32), draw.normal(0, 1, 3).astype(np.float32)
    )


def alone(backbone: Backbone, settings: Settings, head: LinearHead, cells: bool = False):
    layers = head_layers("linear", 3)
    model = assemble(backbone, settings, layers, SIZE, settings.cells_of if cells else ())
    set_dense(layers[0], head.kernel, head.bias)
    return model


def with_a_normalization() -> Backbone:
    """A network of a user's: a layer that has measured, a bare operation, and an activation used twice."""
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    relu = layers.ReLU(name="relu")
    normal = layers.Normalization(name="normal")
    x = relu(layers.Conv2D(4, 3, name="low")(normal(image)))
    x = keras.ops.tanh(relu(layers.Conv2D(5, 3, name="high")(x)))
    x = layers.Conv2D(6, 1, name="end")(x)
    model = keras.Model(image, x, name="mine")
    normal.set_weights([np.array([90.0, 100, 110]), np.array([900.0, 1000, 1100]), np.array(0)])
    normal.finalize_state()
    return Backbone("mine", lambda: model, ("low", "high", "end"), SIZE, False, "photographs", "x")


@pytest.mark.parametrize(
    ("make", "taps", "train_from", "shared"),
    [
        (lambda: backbones.load(backbones.BUNDLED), 9, "", {"rescaling"}),
        (lambda: backbones.load(backbones.BUNDLED), 1, "block_12_expand", {"stem_conv", "block_11_out"}),
        (lambda: backbones.load(backbones.BUNDLED), 9, "block_12_expand", {"stem_conv", "block_11_out"}),
        (lambda: backbones.load(backbones.BUNDLED), 1, None, {"stem_conv", "top_activation"}),
        (with_a_normalization, 3, "high", {"low", "normal"}),
        (with_a_normalization, 3, "", {"normal"}),
    ],
    ids=["all", "upper", "upper, all depths", "head", "of a user, upper", "of a user, all"],
)
@pytest.mark.parametrize("pooling", ["average", "cells:2"])
def test_the_pool_is_one_plain_model_that_says_what_both_say(
    make, taps, train_from, shared, pooling, tmp_path
):
    import keras

    frozen, cells = make(), pooling != "average"
    settings = replace(settings_for(frozen, frozen.taps[-taps:], train_from), pooling=pooling)
    trained = shaken(frozen, settings)
    before = [array.copy() for array in frozen.model.get_weights()]
    heads = head_for(frozen, settings, 0, cells), head_for(frozen, settings, 1)
    pixels = np.random.default_rng(2).uniform(0, 255, (4, SIZE, SIZE, 3)).astype(np.float32)
    said = []
    for network, head, sees_cells in zip((frozen, trained), heads, (cells, False), strict=True):
        model = alone(network, settings, head, sees_cells)
        below = keras.Model(model.inputs[0], model.layers[-1].input)
        said.append(head.logits(np.asarray(below(pixels))))
    if train_from is not None:
        assert np.abs(said[0] - said[1]).max() > 0.1
    expected = softmax(0.3 * said[0] + 0.7 * said[1])
    freeze(frozen, None, "frozen")
    of_trained = (heads[1].kernel, heads[1].bias)
    made = pool.pool((frozen, heads[0]), (trained, [of_trained]), 0.7, settings)
    np.testing.assert_allclose(np.asarray(made(pixels)), expected, atol=1e-4)
    for array, kept in zip(frozen.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)

    made.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(pixels)), expected, atol=1e-4)
    inner = loaded.layers[1].layers
    names = [layer.name for layer in inner]
    assert len(set(names)) == len(names)
    assert not {f"{name}_trained" for name in shared} & set(names)
    assert shared <= set(names)
    own = [layer for layer in inner if "_trained" not in layer.name]
    assert not [layer.name for layer in own if layer.trainable_variables]
    copied = sum(layer.count_params() for layer in inner if "_trained" in layer.name)
    below = frozen.features(settings.taps).layers
    everything = sum(layer.count_params() for layer in below if layer.name not in shared)
    assert copied == everything if train_from == "" else copied <= everything


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of four classes, of which 40 validate."""
    return ci.textures(tmp_path_factory.mktemp("textures"), images_of_each=100)


def train(textures: Path, output: Path, **changes) -> Run:
    """The upper layers for one epoch, unless the changes say otherwise."""
    options = {"recipe": "fine_tuning", "train_from": "block_14_expand", "image_size": SIZE, "epochs": 1}
    return api.run(str(textures), output=output, sample=100, **(options | changes))


@pytest.fixture(scope="module")
def pooled(textures: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run that ends as a pool of both networks."""
    return train(textures, tmp_path_factory.mktemp("pool") / "run")


def test_a_run_says_what_was_kept(pooled):
    told = json.loads((pooled.folder / "metrics.json").read_text(encoding="utf-8"))["kept"]
    assert told["rule"] == "better"
    assert 0.1 <= told["weight"] <= 0.9
    for network in ("frozen", "trained"):
        assert 0.5 < told[network]["test"] <= 1
    assert told["second"]["megabytes"] == pytest.approx(4 * 2.0, rel=0.5)
    assert Kept.from_json(told) == pooled.metrics.kept
    sentence = words.about_training(pooled.metrics)
    assert f"{told['frozen']['test']:.1%}" in sentence
    assert f"weighs {told['weight']:.2f}" in sentence
    for file in ("README.md", "report.html"):
        assert "The second network costs" in (pooled.folder / file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_frozen_model_is_there_before_training(textures, tmp_path):
    """Ctrl-C at three moments: at the first step, after an epoch, and while what to keep is chosen."""
    run, seen = tmp_path / "run", []

    class Pressed(Silent):
        def __init__(self, stage: str, epoch: int = 0) -> None:
            self.stage, self.epoch = stage, epoch

        def steps(self, what):
            if what == self.stage and not self.epoch:
                raise KeyboardInterrupt
            return super().steps(what)

        def note(self, text):
            if self.epoch and text.startswith(f"epoch {self.epoch}/"):
                raise KeyboardInterrupt

    def go_on(display: Silent) -> None:
        train(textures, run, epochs=2, resume=True, display=display, on_model=seen.append)

    for display, kept_by in (
        (Pressed("Training"), "frozen"),
        (Pressed("", 2), "better"),
        (Pressed("Choosing what to keep"), "better"),
    ):
        with pytest.raises(KeyboardInterrupt):
            go_on(display)
        metrics = run_files.read_metrics(run)
        assert (metrics.complete, metrics.recipe, metrics.kept.rule) == (False, "fine_tuning", kept_by)
        assert metrics == seen[-1].metrics
        said = list(api.predict(run, seen[-1].test.paths))
        tested = np.array([one.probabilities for one in said])
        np.testing.assert_allclose(tested, seen[-1].test.probabilities, atol=1e-4)
        assert "frozen network" in (run / "report.html").read_text(encoding="utf-8")
    assert [model.history[-1].epoch for model in seen] == [0, 1]
    go_on(Silent())
    assert len(seen) == 2  # what was there stayed until the end
    assert run_files.read_metrics(run).complete


def test_a_model_is_waited_for_while_it_is_put_in_its_place(pooled, tmp_path):
    run = shutil.copytree(pooled.folder, tmp_path / "run")
    metrics = (run / "metrics.json").read_text(encoding="utf-8")
    digest = json.loads(metrics)["model_sha256"]
    (run / "metrics.json").write_text(metrics.replace(digest, "0" * 64), encoding="utf-8")
    with pytest.raises(InputError, match="belongs to another model"):
        prediction.load(run)
    with folder_lock.locked(run):
        finish = threading.Timer(1, (run / "metrics.json").write_text, [metrics])
        finish.start()
        began = time.monotonic()
        assert prediction.load(run).digest == digest
        assert time.monotonic() - began > 0.5
    finish.join()


def test_validation_is_kept_from_before_the_head_saw_it(pooled):
    with np.load(pooled.folder / "validation.npz") as kept:
        frozen, trained, labels = kept["frozen"], kept["trained"], kept["labels"]
    assert frozen.dtype == trained.dtype == np.float32
    assert frozen.shape == trained.shape == (40, 4)
    metrics = pooled.metrics
    for network, said in ((metrics.kept.frozen, frozen), (metrics.kept.trained, trained)):
        np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)
        assert network.validation == (said.argmax(axis=1) == labels).mean()
    weight = metrics.kept.weight
    together = softmax((1 - weight) * np.log(frozen) + weight * np.log(trained))
    assert metrics.validation.accuracy == (together.argmax(axis=1) == labels).mean()


def test_the_pool_predicts_is_evaluated_and_exports(pooled, textures, tmp_path):
    images = pooled.test.paths[:8]
    said = list(api.predict(pooled.folder, images))
    np.testing.assert_allclose([one.probabilities for one in said], pooled.test.probabilities[:8], atol=1e-4)
    assert not any(one.unlike for one in said)
    evaluated = api.evaluate(pooled.folder, str(textures))
    assert evaluated.predictions.scores().accuracy == pooled.metrics.test.accuracy
    for format in ("tflite", "saved_model"):
        assert api.export(pooled.folder, format, output=tmp_path / format).difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["single", "trained"])
def test_another_rule_keeps_one_network(keep, textures, pooled, tmp_path):
    finished = train(textures, tmp_path / "run", keep=keep)
    kept, metrics = finished.metrics.kept, finished.metrics
    assert kept.rule == metrics.settings.keep == keep
    assert kept.weight in ((1.0,) if keep == "trained" else (0.0, 1.0))
    assert (metrics.trained_share is None) == (keep == "trained")
    assert metrics.parameters["total"] < pooled.metrics.parameters["total"]
    own = kept.trained if kept.weight else kept.frozen
    assert own.test == metrics.test.accuracy
    assert own.validation == metrics.validation.accuracy
    assert kept.frozen == pooled.metrics.kept.frozen
    assert "Kept" in words.about_training(metrics)


FROZEN, TRAINED = Alone(0.8, 0.75), Alone(0.9, 0.85)


@pytest.mark.parametrize(
    ("kept", "share", "starts", "says"),
    [
        (None, None, "", ""),
        (
            Kept("better", 0.62, FROZEN, TRAINED, Second(13.25, 3.4)),
            None,
            "Kept: the pool of",
            "13.2 MB and 3.4",
        ),
        (Kept("better", 0.62, FROZEN, TRAINED), None, "Kept: the pool of", "weighs 0.62"),
        (Kept("better", 0.0, FROZEN, TRAINED), None, "Kept: the frozen network", "no clear gain on the 40"),
        (Kept("better", 1.0, FROZEN, TRAINED), None, "Kept, by the 40", "Without training: the frozen"),
        (Kept("single", 0.0, FROZEN, TRAINED), 0.4, "Kept: the frozen network", "no clear gain on the 40"),
        (Kept("single", 1.0, FROZEN, TRAINED), 0.4, "Kept, by the 40", "(share 0.4)"),
        (Kept("trained", 1.0, FROZEN, TRAINED), None, "Kept, as asked: the trained", "Without training"),
    ],
)
def test_what_was_kept_is_a_sentence(kept, share, starts, says):
    told = {"images": {"validation": 40}, "before_training": None, "steps": ()}
    metrics = SimpleNamespace(kept=kept, trained_share=share, **told)
    sentence = words.about_training(metrics)
    assert sentence.startswith(starts)
    assert says in sentence
    if kept:
        assert "test accuracy 80.0%, validation 75.0%" in sentence
        assert "test accuracy 90.0%, validation 85.0%" in sentence
        assert Kept.from_json(kept.to_json()) == kept


@pytest.mark.parametrize(
    ("options", "validation", "says"),
    [
        (Options(), 40, "the pool of the frozen and the trained network, weighed by 40 validation images"),
        (
            Options(),
            10,
            "the pool of the frozen and the trained network, about 0.3 of it the trained one, for 10",
        ),
        (Options(keep="single"), 40, "the average with the start, where 40 validation images show a gain"),
        (
            Options(keep="single"),
            10,
            "the frozen network: 10 validation images cannot judge what training gives",
        ),
        (Options(keep="trained"), 10, "the last epoch, whatever the validation images say"),
        (Options(head="mlp:8"), 40, "the pool of the frozen and the trained network, weighed by"),
        (Options(init="random"), 40, "the best epoch"),
        (Options(init="random", keep="trained"), 40, "the last epoch"),
    ],
)
def test_what_is_certain_is_said_before_training(options, validation, says):
    data = made_up.summary(10 * validation)
    advice = made_up.recommendation(data, options, "full_training")
    assert dict(words.plan_rows(advice))["kept"].startswith(says)


def test_only_what_is_trained_on_images_is_pooled():
    known = made_up.evidence(made_up.summary(400))
    assert choose("fine_tuning", Options(), known).pools
    assert not choose("shallow_features", Options(), known).pools
    single = choose("fine_tuning", Options(keep="single"), known)
    assert not single.pools
    assert words.will_be_kept(single, 40).startswith("the average with the start")

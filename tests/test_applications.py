"""Each family of `keras.applications`, as users get it: a file of weights or a model, a command, a head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from advisor import backbones
from advisor.backbones.applications import APPLICATIONS
from advisor.cli import main

keras = pytest.importorskip("keras")

# The smallest network of each family, and about the smallest size that it takes.
FAMILIES = {
    "mobilenetv3small": 32,
    "vgg16": 32,
    "resnet50": 32,
    "resnet50v2": 32,
    "mobilenet": 32,
    "mobilenetv2": 32,
    "efficientnetb0": 32,
    "efficientnetv2b0": 32,
    "densenet121": 32,
    "inceptionv3": 75,
    "inceptionresnetv2": 75,
    "xception": 71,
    "nasnetmobile": 32,
    "convnexttiny": 32,
}
QUICK = ("mobilenetv3small",)  # in every run of the tests


@pytest.fixture
def theirs(name: str):
    """The network as Keras makes it, with random weights that let something through."""
    keras.utils.set_random_seed(0)
    size = FAMILIES[name]
    make = getattr(keras.applications, APPLICATIONS[name].symbol)
    return make(weights=None, include_top=False, input_shape=(size, size, 3))


families = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)


@families
def test_a_head_is_trained_on_weights_from_a_file(name, theirs, finished_run, tmp_path, capsys):
    theirs.save_weights(file := tmp_path / "theirs.weights.h5")
    arguments = ["run", str(finished_run.parent / "images"), "--recipe", "feature_extraction", "--json"]
    network = ["--backbone", name, "--weights", str(file), "--image-size", str(FAMILIES[name])]
    with pytest.raises(SystemExit) as left:
        main([*arguments, *network, "--output", str(tmp_path / "run")])
    assert left.value.code == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["settings"]["backbone"] == name
    assert metrics["test"]["accuracy"] > 0.5  # of three colours
    model = keras.saving.load_model(Path(metrics["folder"]) / "model.keras", safe_mode=True)
    assert model.output_shape == (None, 3)


@families
def test_a_model_from_a_file_has_the_same_features(name, theirs, tmp_path):
    size = FAMILIES[name]
    theirs.save(file := tmp_path / "theirs.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
    backbone = backbones.load(str(file))
    assert len(backbone.taps) >= 4
    np.testing.assert_allclose(
        np.asarray(backbone.model(pixels)), np.asarray(theirs(pixels)), rtol=1e-3, atol=1e-4
    )

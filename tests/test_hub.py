"""Vision transformers of KerasHub, with random weights: from a folder to a model, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from advisor import api, backbones
from advisor.backbones import hub, keras_file
from advisor.errors import InputError

keras_hub = pytest.importorskip("keras_hub")
keras = pytest.importorskip("keras")

WIDTH, SIZE = 16, 32
USUAL = {
    "num_layers": 2,
    "hidden_dim": WIDTH,
    "num_heads": 2,
    "image_shape": (SIZE, SIZE, 3),
    "patch_size": 8,
}
MAKERS = {
    "ViTBackbone": {**USUAL, "mlp_dim": 32},
    "DINOV2Backbone": {
        **USUAL,
        "intermediate_dim": 32,
        "num_register_tokens": 2,
        "position_embedding_shape": (SIZE, SIZE, 3),
    },
    "SigLIPVisionEncoder": {**USUAL, "intermediate_dim": 32},
}


@pytest.fixture(scope="module")
def presets(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("presets")
    keras.utils.set_random_seed(0)
    for name, arguments in MAKERS.items():
        getattr(keras_hub.models, name)(**arguments).save_to_preset(str(folder / name))
    return {name: folder / name for name in MAKERS}


@pytest.fixture
def preset(presets, tmp_path) -> Path:
    """A folder that a test may change."""
    return Path(shutil.copytree(presets["ViTBackbone"], tmp_path / "preset"))


def test_the_class_token_and_the_mean_of_the_patches_are_the_features(presets):
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    backbone = backbones.load(f"hub:{presets['DINOV2Backbone']}")
    theirs = keras_hub.models.Backbone.from_preset(str(presets["DINOV2Backbone"]))
    scaled = hub.imagenet_pixels.standardising_layer("scaled")(pixels)
    tokens = np.asarray(theirs({"images": scaled}))
    expected = np.concatenate([tokens[:, 0], tokens[:, 3:].mean(axis=1)], axis=1)  # two registers between
    np.testing.assert_allclose(np.asarray(backbone.model(pixels)), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.taps, backbone.image_size) == ((hub.TOKENS,), SIZE)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in MAKERS])
def test_a_head_is_trained_and_the_model_is_used(name, presets, finished_run, tmp_path):
    images, folder = finished_run.parent / "images", tmp_path / "run"
    run = api.run(str(images), recipe="feature_extraction", backbone=f"hub:{presets[name]}", output=folder)
    predicted = list(api.predict(folder, run.test.paths))
    np.testing.assert_allclose([one.probabilities for one in predicted], run.test.probabilities, atol=1e-3)
    model = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    assert model.output_shape == (None, 3)
    assert api.export(folder, "tflite").is_same
    assert "import json, keras, keras_hub" in (folder / "README.md").read_text(encoding="utf-8")


def changed(preset: Path, **values) -> str:
    """The preset with other settings, or another class."""
    file = preset / "config.json"
    told = json.loads(file.read_text())
    told["registered_name"] = values.pop("registered_name", told["registered_name"])
    told["config"] |= values
    file.write_text(json.dumps(told))
    return f"hub:{preset}"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"registered_name": "keras_hub>BertBackbone"}, "only ViTBackbone"),
        ({"num_layers": 10_000}, "10000"),
        ({"hidden_dim": 16_000, "num_layers": 90}, "describes"),
        ({"patch_size": [1, 1], "image_shape": [2_048, 2_048, 3]}, "patches"),
        ({"image_shape": [32, 48, 3]}, "square"),
        ({"dropout_rate": {"class_name": "Lambda"}}, "no number for dropout_rate"),
        ({"num_heads": 3.5}, "num_heads"),
        ({"image_shape": [36, 36, 3]}, "cannot be built"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_presets_that_are_refused(values, words, preset):
    with pytest.raises(InputError, match=words):
        backbones.load(changed(preset, **values))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hub:no_such_preset", {}, "nor a preset"),
        ("hub:no_such_preset+efficientnet_lite0", {}, "nor a preset"),
        ("efficientnet_lite0+hub:vit", {}, "stands alone"),
        ("hub:vit", {"weights": "w.h5"}, "leave out --weights"),
    ],
)
def test_names_that_are_refused(name, options, words):
    with pytest.raises(InputError, match=words):
        backbones.load(name, **options)


def test_a_preset_without_its_weights_or_with_others_is_refused(preset):
    (preset / "model.weights.h5").write_bytes(b"no weights" * 4_000)
    with pytest.raises(InputError, match="weights"):
        backbones.load(f"hub:{preset}")
    (preset / "model.weights.h5").unlink()
    with pytest.raises(InputError, match="holds no"):
        backbones.load(f"hub:{preset}")


@pytest.mark.parametrize(
    ("module", "name", "registered"),
    [
        ("keras_hub.src.models.bert.bert_backbone", "BertBackbone", "keras_hub>BertBackbone"),
        ("keras_hub.src.models.vit.vit_layers", "ViTEncoder", "ViTEncoder"),
        ("keras_hub.src.utils.preset_utils", "ViTBackbone", "keras_hub>ViTBackbone"),
    ],
)
def test_a_model_file_may_name_three_classes_of_keras_hub_and_no_other(module, name, registered, tmp_path):
    part = {"module": module, "class_name": name, "registered_name": registered, "config": {}}
    with pytest.raises(InputError, match="of KerasHub only"):
        keras_file._check(part, "model", tmp_path / "model.keras")

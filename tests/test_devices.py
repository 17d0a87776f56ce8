"""Several devices and half precision, on what every machine has: two logical CPU devices and bfloat16."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TWO_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from advisor import devices
devices.strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
HALF = """
import sys
from advisor import devices
devices.precision = lambda: "mixed_bfloat16"
"""
RUN = """
from advisor.cli import main
main(["run", "--json", *sys.argv[1:]])
"""


def train(setup: str, tmp_path: Path, *arguments: str) -> dict:
    options = ("--recipe", "fine_tuning", "--epochs", "2", "--image-size", "32", "--sample", "200")
    process = subprocess.run(
        [sys.executable, "-c", setup + RUN, "sklearn:digits", *options, *arguments],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("setup", "precision"), [(TWO_DEVICES, "float32"), (HALF, "mixed_bfloat16")])
def test_training_on_two_devices_or_in_half_precision_ends_in_a_plain_model(setup, precision, tmp_path):
    import keras

    metrics = train(setup, tmp_path, "--output", str(tmp_path / "run"))
    assert metrics["precision"] == precision
    assert metrics["test"]["accuracy"] > 0.6
    history = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 3  # a head, and the head alone and two epochs
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", safe_mode=True)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {str(variable.dtype) for variable in model.weights} == {"float32"}
    assert model.input_shape == (None, 32, 32, 3)


def test_without_a_gpu_training_is_in_single_precision(monkeypatch: pytest.MonkeyPatch):
    from advisor.system import devices

    monkeypatch.setattr(devices, "gpus", lambda: ())
    assert devices.precision() == "float32"

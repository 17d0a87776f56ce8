"""What runs a network: LiteRT where there is no GPU, without TensorFlow, and TensorFlow where it must."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from advisor import backbones
from advisor.cli import main
from advisor.evidence import embedding, forward
from advisor.system import devices

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # whoever imports one of them fails
from advisor.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _no_gpu():
    if devices.gpus():
        pytest.skip("TensorFlow runs networks where there is a GPU")


def alone(*arguments: str) -> str:
    """What a command prints in a process of its own that has no TensorFlow."""
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints in this process."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    assert left.value.code == 0
    return capsys.readouterr().out


def test_recommend_needs_no_tensorflow_even_at_first(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path))
    advice = json.loads(alone("recommend", "sklearn:digits", "--sample", "60", "--json"))
    assert advice["evidence"]["linear_probes"][-1]["accuracy"] > 0.5


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_finished_run_is_used_without_tensorflow(command, finished_run, capsys):
    arguments = command, str(finished_run), str(finished_run.parent / "images"), "--json"
    assert json.loads(alone(*arguments)) == json.loads(here(capsys, *arguments))


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        *((backbones.BUNDLED, size, grid) for size in (32, 50, 97, 224) for grid in ("average", "cells:2")),
        ("efficientnet_lite1", 64, "average"),
        ("efficientnet_lite2", 97, "cells:2"),
        ("efficientnet_lite0+efficientnet_lite1", 240, "cells:4"),  # the first one sees 224 pixels
    ],
)
def test_without_litert_tensorflow_gives_the_same_features(name, size, grid, monkeypatch):
    """Networks that come by pip are written for LiteRT by hand, TensorFlow runs them as Keras builds them."""
    backbone = backbones.load(name)
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    fast = embedding.runner(backbone, size, grid)(pixels)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    plain = embedding.runner(backbone, size, grid)(pixels)
    assert len(plain) == len(fast)
    for one, other in zip(plain, fast, strict=True):
        assert one.shape == other.shape
        most = 1e-4 if "+" in name else 2e-5  # of two networks, one sees the image resized
        assert np.abs(one - other).max() < most * np.abs(one).max()


def test_numbers_in_a_written_network_are_aligned():
    from ai_edge_litert import schema_py_generated as schema

    content = backbones.load(backbones.BUNDLED).written_features(("top_activation",), 2, 32, 1)
    model = schema.Model.GetRootAs(content, 0)
    filled = [model.Buffers(n) for n in range(model.BuffersLength()) if model.Buffers(n).DataLength()]
    starts = [each._tab.Vector(each._tab.Offset(4)) for each in filled]
    assert len(starts) > 90
    assert all(start % 16 == 0 for start in starts)


def test_a_gpu_is_used_whatever_litert_could_do(monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: ("a GPU",))
    monkeypatch.setattr(forward.flat_buffer, "of", lambda *_: pytest.fail("it was converted"))
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    assert embedding.runner(backbones.load(backbones.BUNDLED), 64)(pixels)[0].shape == (1, 16)


@pytest.mark.parametrize(
    ("system", "plug_ins", "drivers", "asked"),
    [
        ("linux", [], [], False),
        ("linux", [], ["driver"], True),
        ("win32", [], ["driver"], False),
        ("darwin", [], [], False),
        ("darwin", ["tensorflow-metal"], [], True),
    ],
)
def test_tensorflow_is_asked_for_gpus_where_there_may_be_one(
    system, plug_ins, drivers, asked, monkeypatch, tmp_path
):
    (tmp_path / "driver").touch()
    monkeypatch.setattr(devices.sys, "platform", system)
    monkeypatch.setattr(devices.metadata, "distributions", lambda name: (each for each in plug_ins))
    monkeypatch.setattr(devices, "_GPU_DRIVERS", [str(tmp_path / name) for name in drivers])
    assert devices.may_have_gpus() is asked

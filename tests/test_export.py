"""`advisor export`: other formats, same answers."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from advisor.cli import main
from recipes.runs import export, quantized


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize("format", [pytest.param("tflite", marks=pytest.mark.slow), "saved_model"])
def test_exported_models_give_the_same_answers(finished_run, tmp_path, format, capsys):
    target = tmp_path / export.NAMES[format]
    assert leave("export", finished_run, "--format", format, "--output", target, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["same"]
    assert answer["difference"] < 1e-4
    assert target.exists()
    assert leave("export", finished_run, "--format", format, "--output", target) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [target.name]  # nothing half done is left


def test_other_answers_are_refused(finished_run, tmp_path, monkeypatch, capsys):
    wrong = (lambda model, path: path.write_bytes(b"?"), lambda path, pixels: np.full((8, 3), 1 / 3))
    monkeypatch.setitem(export._FORMATS, "tflite", wrong)
    assert leave("export", finished_run, "--format", "tflite", "--output", tmp_path / "model.tflite") == 1
    assert "other answers" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_that_the_converter_refuses_is_one_line(finished_run, tmp_path, monkeypatch, capsys):
    def refuse(model, path):
        raise RuntimeError("unknown\noperation")

    monkeypatch.setitem(export._FORMATS, "tflite", (refuse, None))
    assert leave("export", finished_run, "--format", "tflite", "--output", tmp_path / "model.tflite") == 2
    assert "unknown operation" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_onnx(finished_run, tmp_path, capsys):
    target = tmp_path / "model.onnx"
    code = leave("export", finished_run, "--format", "onnx", "--output", target)
    out, err = capsys.readouterr()
    if all(importlib.util.find_spec(module) for module in ("onnx", "tf2onnx", "onnxruntime")):
        assert code == 0
        assert "model.onnx" in out
    else:
        assert code == 2
        assert "pip install 'transfer-advisor[onnx]'" in err
        assert not target.exists()


def test_int8_tells_what_it_loses_on_the_test_images_of_the_run(finished_run, tmp_path, capsys):
    target, data = tmp_path / "model.tflite", finished_run.parent / "images"
    of = "export", finished_run, "--format", "tflite-int8", "--output", target
    assert leave(*of, "--data", data, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    recorded = json.loads((finished_run / "metrics.json").read_text())
    lost = answer["quantized"]
    assert lost["images"] == recorded["images"]["test"]
    assert lost["accuracy_before"] == recorded["test"]["accuracy"]
    assert lost["same_class"] >= 0.9
    assert lost["megabytes"] < 0.5 * (finished_run / "model.keras").stat().st_size / 1e6
    assert 0 < answer["difference"] < 0.5
    assert leave(*of, "--data", data, "--overwrite") == 0
    assert "where model.keras has" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=target.read_bytes())
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    assert (source["dtype"], list(source["shape"])) == (np.uint8, [1, 32, 32, 3])
    kinds = [tensor["dtype"] for tensor in interpreter.get_tensor_details()]
    assert kinds.count(np.int8) > kinds.count(np.float32)


def test_int8_needs_the_data_of_the_run(finished_run, tmp_path, refused):
    of = "export", str(finished_run), "--format", "tflite-int8", "--output", str(tmp_path / "model.tflite")
    assert "--data" in refused(*of)
    assert "does not exist" in refused(*of, "--data", str(tmp_path / "nothing"))
    assert "does not hold the images" in refused(*of, "--data", "sklearn:digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_of_another_opinion_is_removed(finished_run, tmp_path, monkeypatch, capsys):
    wrong = lambda self, pixels: np.tile(np.float32([0.1, 0.8, 0.1]), (len(pixels), 1))  # noqa: E731
    monkeypatch.setattr(quantized._Interpreter, "probabilities", wrong)
    of = "export", finished_run, "--format", "tflite-int8", "--output", tmp_path / "model.tflite"
    assert leave(*of, "--data", finished_run.parent / "images") == 1
    assert "other answers" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_example_images_are_photographs_of_the_size():
    pixels = export.example_images(48)
    assert pixels.shape == (8, 48, 48, 3)
    assert 0 <= pixels.min() < pixels.max() <= 255
    assert pixels.std(axis=(1, 2, 3)).min() > 10

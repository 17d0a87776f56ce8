"""Options that cannot be followed: exit code 2, one line with the option and the way out, nothing lost."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor.data import sources
from advisor.errors import InputError
from recipes.runs.run_folder import RunFolder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two classes of eight images."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for label, mean in (("dark", 60), ("light", 190)):
        (folder / label).mkdir()
        for i in range(8):
            pixels = generator.normal(mean, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


REFUSED = {
    "unknown backbone": (["--auto", "--backbone", "resnet5o"], "'resnet5o'; did you mean resnet50"),
    "no model file": (["--auto", "--backbone", "mine.keras"], "no model file"),
    "no weights file": (["--auto", "--weights", "none.h5"], "none.h5"),
    "unknown recipe": (["--recipe", "magic"], "'feature_extraction', 'fine_tuning'"),
    "no recipe": ([], "give either --auto or --recipe"),
    "two recipes": (["--auto", "--recipe", "fine_tuning"], "give either --auto or --recipe"),
    "unknown head": (["--auto", "--head", "transformer"], "use linear or mlp:N"),
    "head of no units": (["--auto", "--head", "mlp:0"], "use linear or mlp:N"),
    "head of letters": (["--auto", "--head", "mlp:many"], "use linear or mlp:N"),
    "unknown mode": (["--auto", "--mode", "magic"], "'cached'"),
    "mode of another recipe": (["--recipe", "fine_tuning", "--mode", "cut"], "everything, partial"),
    "option of another recipe": (["--recipe", "fine_tuning", "--augment"], "goes with --recipe feature_ex"),
    "unknown layer": (["--recipe", "fine_tuning", "--train-from", "block_99"], "block_99"),
    "layer number too high": (["--recipe", "fine_tuning", "--train-from", "9999"], "9999"),
    "unknown cut": (["--recipe", "shallow_features", "--cut-layer", "block_99"], "block_99"),
    "image size below the minimum": (["--auto", "--image-size", "16"], "at least 32 pixels; got 16"),
    "image size of zero": (["--auto", "--image-size", "0"], "--image-size is 0; give 8 or more"),
    "image size that fills the memory": (["--auto", "--image-size", "100000"], "2048 or less"),
    "no epochs": (["--recipe", "fine_tuning", "--epochs", "0"], "--epochs is 0; give 1 or more"),
    "negative epochs": (["--recipe", "fine_tuning", "--epochs", "-3"], "--epochs is -3; give 1 or more"),
    "half an epoch": (["--recipe", "fine_tuning", "--epochs", "0.5"], "--epochs"),
    "no sample": (["--auto", "--sample", "0"], "--sample is 0; give 10 or more"),
    "batch of nothing": (["--auto", "--batch-size", "0"], "--batch-size is 0; give 1 or more"),
    "negative seed": (["--auto", "--seed", "-1"], "--seed"),
    "seed too high": (["--auto", "--seed", "4294967296"], "--seed"),
    "unknown option": (["--auto", "--bugdet", "3"], "--bugdet"),
    "no source domain": (["--auto", "--source", "nowhere"], "nowhere does not exist"),
    "no base labels": (["--auto", "--base-labels", "none.json"], "none.json"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind, data, tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, says = REFUSED[kind]
    assert says in refused("run", str(data), *options, "--output", "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------------
# Where to write


def test_output_that_holds_something_is_kept(data, tmp_path, refused):
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ([], ["--overwrite"], ["--resume"]):
        message = refused("run", str(data), "--auto", "--output", str(tmp_path), *more)
        assert "choose another --output" in message
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_removes_only_what_a_run_writes(tmp_path):
    for name in ("metrics.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "logs").mkdir()
    RunFolder(tmp_path).prepare(resume=False, overwrite=True)
    assert (tmp_path / "metrics.json").exists()  # kept until a new run begins
    RunFolder(tmp_path).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_old_run_outlives_a_failed_one(tmp_path, refused):
    """--overwrite with data that nothing can be learned from."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("{}")
    (tmp_path / "data" / "only").mkdir(parents=True)
    message = refused(
        "run", str(tmp_path / "data"), "--auto", "--output", str(tmp_path / "run"), "--overwrite"
    )
    assert "no readable images" in message
    assert (tmp_path / "run" / "metrics.json").read_text() == "{}"


def test_finished_run_is_not_resumed(data, tmp_path, refused):
    (tmp_path / "metrics.json").write_text("{}")
    message = refused("run", str(data), "--auto", "--output", str(tmp_path), "--resume")
    assert "is finished; choose another --output, or add --overwrite" in message


def test_run_of_other_data_is_not_resumed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    started = {"data": "0" * 16, "seed": 0, "settings": {}}
    (tmp_path / "checkpoints" / "started.json").write_text(json.dumps(started))

    class Other:
        def fingerprint(self):
            return "1" * 16

    with pytest.raises(InputError, match="other images or another --seed"):
        RunFolder(tmp_path).start(Other(), 0, None, {}, resume=True)  # type: ignore[arg-type]


def test_a_run_is_not_resumed_with_other_options(tmp_path):

    data = sources.load("sklearn:digits")
    (tmp_path / "checkpoints").mkdir()
    asked = {"recipe": "fine_tuning", "epochs": 8, "train_from": None}
    started = {"data": data.fingerprint(), "seed": 0, "settings": {}, "asked": asked}
    (tmp_path / "checkpoints" / "started.json").write_text(json.dumps(started))
    now = asked | {"epochs": 4, "train_from": "block_12_expand"}
    with pytest.raises(InputError, match="another --epochs, --train-from; give the same"):
        RunFolder(tmp_path).start(data, 0, None, now, resume=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", ["asked", "settings"])
def test_a_run_of_another_version_is_not_resumed(tmp_path, lost):

    data = sources.load("sklearn:digits")
    (tmp_path / "checkpoints").mkdir()
    started = {"data": data.fingerprint(), "seed": 0, "settings": {"unknown": 1}, "asked": {}}
    del started[lost]
    (tmp_path / "checkpoints" / "started.json").write_text(json.dumps(started))
    with pytest.raises(InputError, match="another version of advisor; give --overwrite"):
        RunFolder(tmp_path).start(data, 0, None, {}, resume=True)  # type: ignore[arg-type]


def test_output_is_a_file(data, tmp_path, refused):
    (file := tmp_path / "file").touch()
    message = refused("run", str(data), "--auto", "--output", str(file))
    assert "is a file; give a folder with --output" in message
    message = refused("run", str(data), "--auto", "--output", str(file / "inside"))
    assert "choose another --output" in message


def test_output_that_cannot_be_written(refused):
    """As a user who may not do everything, as root may."""
    locked = Path(tempfile.mkdtemp(prefix="advisor-test-"))
    locked.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        for output in (locked, locked / "new"):
            message = refused("run", "sklearn:digits", "--auto", "--output", str(output))
            assert "cannot write to" in message
            assert str(output) in message
    finally:
        if root:
            os.setresuid(0, 0, 0)
        shutil.rmtree(locked)


def test_recommend_does_not_replace_a_report_of_a_run(data, tmp_path, refused):
    """Said before anything is measured."""
    for name in ("metrics.json", "compare.json", "checkpoints/started.json"):
        folder = tmp_path / "runs" / name.partition(".")[0]
        for file in ("report.html", name):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("{}")
        message = refused("recommend", "sklearn:digits", "--output", str(folder))
        assert "holds a run, whose report is kept; choose another --output" in message
        assert (folder / "report.html").read_text() == "{}"
    (tmp_path / "notes.txt").touch()
    message = refused("recommend", str(data), "--output", str(tmp_path / "notes.txt"))
    assert "is a file; give a folder with --output" in message


def test_recommend_leaves_no_empty_folder_behind(data, tmp_path, refused):
    refused("recommend", str(data), "--sample", "0", "--output", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()

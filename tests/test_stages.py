"""A second stage: a run that goes on from the network, the head and the splits of another one."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from advisor import api
from advisor.errors import InputError
from advisor.report import charts
from advisor.results import Epoch
from recipes.runs import splits_file, stages

SIZE = 32  # pixels
STEPS = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 1e-4}


def images_of(finished_run: Path) -> str:
    return str(finished_run.parent / "images")


@pytest.fixture(scope="module")
def first(finished_run, tmp_path_factory) -> Path:
    """A small network with a hidden layer, trained from random weights; its seed is not the usual one."""
    folder = tmp_path_factory.mktemp("stages") / "first"
    api.run(
        images_of(finished_run),
        output=folder,
        recipe="full_training",
        backbone="simple_cnn",
        image_size=SIZE,
        head="mlp:8",
        epochs=2,
        seed=3,
        keep="trained",
        settings={"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01, "augmentation": []},
    )
    return folder


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_second_stage_goes_on_from_the_network_and_the_head(finished_run, first, tmp_path):
    import keras

    how = {
        "recipe": "full_training",
        "epochs": 1,
        "keep": "trained",
        "settings": {**STEPS, "learning_rate": 0},
    }
    run = api.run(images_of(finished_run), output=tmp_path / "second", start_from=first, **how)
    one, other = (keras.saving.load_model(folder / "model.keras") for folder in (first, tmp_path / "second"))
    pixels = np.random.default_rng(0).uniform(0, 255, (4, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(one.predict(pixels, verbose=0), other.predict(pixels, verbose=0), rtol=1e-4)
    assert splits_file.read(first) == splits_file.read(tmp_path / "second")
    rows = history(tmp_path / "second")
    assert [(row["epoch"], row["stage"]) for row in rows] == [("1", "1"), ("2", "1"), ("3", "2")]
    assert rows[:2] == history(first)
    assert charts.courses(run)[0].borders == ((2.5, "stage 2 starts"),)
    settings = json.loads((tmp_path / "second" / "metrics.json").read_text())["settings"]
    assert (settings["start_from"], settings["head"], settings["head_start"]) == (str(first), "mlp:8", "run")


@pytest.mark.slow
def test_a_stage_from_a_solved_head_solves_it_again_and_is_resumed(finished_run, tmp_path, monkeypatch):
    from recipes.training.checkpoints import Checkpoints

    data, folder, add = images_of(finished_run), tmp_path / "second", Checkpoints.add
    how = {"recipe": "feature_extraction", "augment": True, "epochs": 2, "keep": "single", "settings": STEPS}

    def interrupted(checkpoints: Checkpoints, row: Epoch) -> None:
        add(checkpoints, row)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        api.run(data, output=folder, start_from=finished_run, **how)
    monkeypatch.setattr(Checkpoints, "add", add)
    api.run(data, output=folder, start_from=finished_run, resume=True, **how)
    rows = history(folder)
    assert [(row["epoch"], row["stage"]) for row in rows] == [("0", "1"), ("1", "2"), ("2", "2")]
    assert "stage 2 starts" in (folder / "report.html").read_text()


def test_what_cannot_be_gone_on_from_is_refused_at_once(finished_run, first, tmp_path, refused):
    data, output = images_of(finished_run), str(tmp_path / "new")

    def said(*options: str, run: Path = first, images: str = data) -> str:
        return refused("run", images, "--start-from", str(run), *options, "--output", output)

    tune = ("--recipe", "full_training")
    assert "give --recipe NAME" in said("--auto")
    assert "does not exist" in said(*tune, run=tmp_path / "none")
    assert "leave out --backbone" in said(*tune, "--backbone", "resnet18")
    assert "leave out --image-size" in said(*tune, "--image-size", "64")
    assert "leave out --head" in said(*tune, "--head", "mlp:16")
    assert "leave out roots" in said(*tune, "--set", "roots=true")
    assert "leave out --init random" in said(*tune, "--init", "random")
    assert "has others" in said(*tune, images="sklearn:digits")
    pool = tmp_path / "pool"
    shutil.copytree(first, pool)
    metrics = json.loads((pool / "metrics.json").read_text())
    alone = {"test": 0.5, "validation": 0.5}
    second = {"megabytes": 1.0, "milliseconds": 1.0}
    metrics["kept"] = {"rule": "better", "weight": 0.5, "frozen": alone, "trained": alone, "second": second}
    (pool / "metrics.json").write_text(json.dumps(metrics))
    assert "--keep trained or --keep single" in said(*tune, run=pool)
    assert not Path(output).exists()


HEAD = "epoch,phase,loss\n"


@pytest.mark.parametrize("content", ["", "epoch\n1\n", f"{HEAD}1,head,0.5\n", f"{HEAD}a,b,c"])
def test_a_damaged_history_is_told(first, tmp_path, content):
    shutil.copytree(first, tmp_path / "damaged")
    (tmp_path / "damaged" / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history.csv"):
        stages.read(str(tmp_path / "damaged"))


def test_images_that_the_run_does_not_know_are_refused(finished_run, first, tmp_path):
    from PIL import Image

    shutil.copytree(images_of(finished_run), tmp_path / "images")
    Image.new("RGB", (40, 40), (1, 2, 3)).save(tmp_path / "images" / "red" / "new.png")
    with pytest.raises(InputError, match=r"1 images of .* are not among"):
        api.run(str(tmp_path / "images"), output=tmp_path / "new", start_from=first, recipe="full_training")

"""`advisor predict`, and which images are unlike the training images."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor.cli import main
from advisor.evidence import outliers
from recipes.runs import neighbours_file, prediction


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture
def photos(finished_run, tmp_path) -> Path:
    """Two familiar images, one of them in a folder, one unlike all, one that is none."""
    images = finished_run.parent / "images"
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    shutil.copy(images / "red" / "0.png", folder / "a.png")
    shutil.copy(images / "blue" / "0.png", folder / "more" / "b.png")
    checks = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((6, 6)))[..., None] * np.array([255, 255, 0])
    Image.fromarray(checks.astype(np.uint8)).save(folder / "strange.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


def test_table(finished_run, photos, capsys):
    assert leave("predict", finished_run, photos) == 0
    out, err = capsys.readouterr()
    rows = out.splitlines()[1:]
    assert [row.split()[0].rpartition("/")[2] for row in rows] == ["a.png", "strange.png", "b.png"]
    assert [row.split()[1] for row in (rows[0], rows[2])] == ["red", "blue"]
    assert ["unlike" in row for row in rows] == [False, True, False]
    assert "skipped" in err
    assert "broken.jpg" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no line break in the name of a file")
def test_a_line_break_in_the_name_of_a_skipped_file_is_written_out(finished_run, photos, capsys):
    (photos / "broken.jpg").rename(photos / "bro\nken.jpg")
    assert leave("predict", finished_run, photos) == 0
    assert r"bro\nken.jpg" in capsys.readouterr().err.replace("\n", "")


def test_json_is_one_object_with_the_same_answers_as_plain_keras(finished_run, photos, capsys):
    import keras

    from advisor.data import images

    assert leave("predict", finished_run, photos, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    model = keras.models.load_model(finished_run / "model.keras", safe_mode=True)
    for row in answer["predictions"]:
        expected = model.predict(images.load_square(row["path"], 32)[None].astype(np.float32), verbose=0)[0]
        got = {item["label"]: item["probability"] for item in row["top"]}
        assert [got[name] for name in answer["classes"]] == pytest.approx(list(expected), abs=1e-4)
        assert row["unlike"] == (row["distance"] > answer["threshold"])
    (skipped,) = answer["skipped"]
    assert skipped["path"] == str(photos / "broken.jpg")


def test_csv_on_standard_output_from_paths_on_standard_input(finished_run, photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{photos / 'a.png'}\n\n{photos / 'more' / 'b.png'}\n"))
    assert leave("predict", finished_run, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == [str(photos / "a.png"), str(photos / "more" / "b.png")]
    assert [row["label_1"] for row in rows] == ["red", "blue"]
    assert all(float(row["probability_1"]) > float(row["probability_2"]) for row in rows)
    assert [row["unlike"] for row in rows] == ["0", "0"]


def test_csv_into_a_file(finished_run, photos, tmp_path, capsys):
    assert leave("predict", finished_run, photos / "a.png", "--csv", tmp_path / "out.csv") == 0
    assert capsys.readouterr().out == ""
    (row,) = csv.DictReader((tmp_path / "out.csv").open())
    assert row["label_1"] == "red"


def test_csv_never_overwrites_an_image(finished_run, photos, capsys):
    before = (photos / "a.png").read_bytes()
    assert leave("predict", finished_run, "--csv", photos / "a.png") == 2
    assert (photos / "a.png").read_bytes() == before


def test_nothing_readable_is_an_error(finished_run, photos, capsys):
    assert leave("predict", finished_run, photos / "broken.jpg", photos / "missing.jpg") == 2
    err = capsys.readouterr().err
    assert "broken.jpg" in err
    assert "missing.jpg" in err


def test_unusual_file_names(finished_run, photos, tmp_path, capsys):
    name = tmp_path / "line\nbreak [bold] ü.png"
    shutil.copy(photos / "a.png", name)
    assert leave("predict", finished_run, name) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert leave("predict", finished_run, name, "--json") == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["path"] == str(name)


@pytest.mark.parametrize("missing", ["metrics.json", "model.keras", "labels.json", "neighbours.npz"])
def test_a_damaged_run_is_one_line(finished_run, photos, tmp_path, missing, capsys):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / missing).unlink()
    assert leave("predict", copy, photos) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_damaged_model_is_one_line(finished_run, photos, tmp_path, capsys):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / "model.keras").write_bytes(b"PK" + bytes(100))
    assert leave("predict", copy, photos) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_predictions_come_in_the_order_of_the_files(finished_run):
    paths = sorted(str(path) for path in (finished_run.parent / "images").glob("*/*.png"))
    found = list(prediction.predict(prediction.load(finished_run), paths, lambda path, reason: None))
    assert [item.path for item in found] == paths
    right = [item.best(1)[0][0] == Path(item.path).parent.name for item in found]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize("held_out", [10, 40, 300])
def test_about_one_familiar_image_in_a_hundred_is_flagged(held_out):
    alarms = []
    for seed in range(10):
        draw = np.random.default_rng(seed)
        center = draw.normal(size=64)
        familiar = (center + 0.3 * draw.normal(size=(1300 + held_out, 64))).astype(np.float32)
        neighbours = outliers.fit(familiar[:300], familiar[300 : 300 + held_out])
        alarms.append((neighbours.distance(familiar[300 + held_out :]) > neighbours.threshold).mean())
        strange = draw.normal(size=(100, 64)).astype(np.float32)
        assert (neighbours.distance(strange) > neighbours.threshold).all()
    assert 0.001 < np.mean(alarms) < 0.03


def test_neighbours_survive_the_disk(tmp_path):
    features = np.random.default_rng(0).random((30, 8)).astype(np.float32)
    neighbours = outliers.fit(features[:20], features[20:])
    neighbours_file.write(neighbours, tmp_path)
    again = neighbours_file.read(tmp_path)
    assert again.threshold == neighbours.threshold
    np.testing.assert_array_equal(again.distance(features), neighbours.distance(features))

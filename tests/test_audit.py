"""`advisor audit` finds and shows wrong labels, images of no class and copies; corrections are applied."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor.audit import labels
from advisor.cli import main

COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
GREY = (120, 120, 120)
SMALL = ("--image-size", "64")


def stripes(color: str, number: int) -> Image.Image:
    """Noisy stripes of one colour, or of grey; another picture for each number."""
    own = COLORS.get(color, GREY)
    generator = np.random.default_rng([number, *own])
    pixels = np.tile(np.array(own), (64, 64, 1)) + generator.integers(-40, 40, (64, 64, 1))
    pixels[:: 3 + number % 4] //= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def folder_of(where: Path, count: int = 20, first: int = 0) -> Path:
    """Three classes of striped images."""
    for color in COLORS:
        (where / color).mkdir(parents=True)
        for number in range(count):
            stripes(color, first + number).save(where / color / f"{number}.png")
    return where


@pytest.fixture
def audited(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """What `advisor audit --json` says."""

    def answer(*arguments: str | Path) -> dict:
        with pytest.raises(SystemExit) as end:
            main(["audit", "--json", *SMALL, *map(str, arguments)])
        out, err = capsys.readouterr()
        assert end.value.code == 0, err
        return json.loads(out)

    return answer


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def probabilities(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a good head says of images, and their true classes."""
    generator = np.random.default_rng(seed)
    truth = np.arange(count) % classes
    logits = generator.normal(0, 1, (count, classes))
    logits[np.arange(count), truth] += 5
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), truth


def test_changed_labels_are_found_and_counted():
    told, truth = probabilities(1000, 4, 0)
    said = truth.copy()
    said[:50] = (said[:50] + 1) % 4
    judged = labels.judge(told, said, seed=0)
    assert len(set(judged.suspects.tolist()) & set(range(50))) >= 45
    assert (judged.suggested[judged.suspects[:40]] == truth[judged.suspects[:40]]).all()
    assert judged.interval[0] <= judged.estimated <= judged.interval[1]
    assert judged.estimated == pytest.approx(50, abs=12)
    assert labels.judge(told, truth, seed=0).estimated < 12


def test_a_class_without_images_is_never_suggested():
    told, truth = probabilities(100, 3, 1)
    judged = labels.judge(np.hstack([told, np.zeros((100, 1))]), truth, seed=0)
    assert judged.mixed.shape == (4, 4)
    assert 3 not in judged.suggested[judged.suspects]


def test_wrong_labels_and_copies_are_named(audited, tmp_path: Path):
    data = folder_of(tmp_path / "data")
    stripes("red", 100).save(data / "blue" / "wrong.png")
    (data / "green" / "copy.png").write_bytes((data / "green" / "3.png").read_bytes())
    found = audited(data)
    first = found["labels"][0]
    assert (first["path"], first["label"], first["suggested"]) == ("blue/wrong.png", "blue", "red")
    assert {one["label"] for one in first["neighbours"]} == {"red"}
    low, high = found["mislabelled"]["interval"]
    assert low <= found["mislabelled"]["estimated"] <= high
    paths = [[one["path"] for one in group["images"]] for group in found["copies"] if group["exact"]]
    assert paths == [["green/3.png", "green/copy.png"]]


def test_page_and_list_of_suspects(audited, capsys, tmp_path: Path):
    data = folder_of(tmp_path / "data")
    stripes("red", 100).save(data / "blue" / "<b>&.png")
    output = tmp_path / "audit"
    with pytest.raises(SystemExit) as end:
        main(["audit", str(data), *SMALL, "--output", str(output)])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "blue/<b>&.png" in said
    assert max(map(len, said.splitlines()[:-1])) <= 80
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "blue/&lt;b&gt;&amp;.png" in page
    assert "<b>&" not in page
    assert page.count("data:image/jpeg;base64,") >= 4
    assert "://" not in page.replace("http://www.w3.org", "")
    first = rows_of(output / "suspects.csv")[0]
    assert (first["path"], first["suggested"], first["correction"]) == ("blue/<b>&.png", "red", "")
    assert json.loads((output / "audit.json").read_text())["labels"][0]["path"] == first["path"]


def test_an_image_of_no_class_stands_apart():
    generator = np.random.default_rng(0)
    centres = np.eye(3, 20) * 10
    truth = np.arange(90) % 3
    features = (centres[truth] + generator.normal(0, 0.5, (90, 20))).astype(np.float32)
    told, _ = probabilities(90, 3, 2)
    features[7], told[7] = np.eye(20)[15] * 10, 1 / 3
    judged = labels.judge(told, truth, seed=0)
    assert labels.strangers(judged, features).tolist() == [7]
    assert 7 not in judged.suspects


def corrected(file: Path, *rows: tuple[str, str]) -> Path:
    """A list of corrections."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("path", "label", "suggested", "probability", "correction")])
        csv.writer(opened).writerows((path, "", "", "", said) for path, said in rows)
    return file


def test_corrections_are_applied_and_kept(audited, tmp_path: Path):
    data = folder_of(tmp_path / "data")
    stripes("red", 100).save(data / "blue" / "wrong.png")
    stripes("green", 100).save(data / "red" / "other.png")
    before = sorted(path.read_bytes() for path in data.rglob("*.png"))
    said = ("blue/wrong.png", "Relabel red"), ("red/other.png", "drop"), ("red/1.png", "keep")
    file = corrected(tmp_path / "mine.csv", *said, ("green/1.png", ""), ("gone.png", "drop"))
    found = audited(data, "--corrections", file, "--output", tmp_path / "audit")
    assert found["dataset"]["images"] == 61
    assert not {one["path"] for one in found["labels"]} & {"blue/wrong.png", "red/other.png"}
    assert "1 images that are not there: gone.png" in " ".join(found["warnings"])
    kept = {row["path"]: row["correction"] for row in rows_of(tmp_path / "audit" / "suspects.csv")}
    assert kept["blue/wrong.png"] == "relabel red"
    assert kept["red/other.png"] == "drop"
    assert sorted(path.read_bytes() for path in data.rglob("*.png")) == before


def test_a_run_is_examined_with_the_labels_as_they_were(capsys, tmp_path: Path):
    data = tmp_path / "data"
    folder_of(data / "train")
    folder_of(data / "test", 4, first=50)
    stripes("red", 90).save(data / "test" / "blue" / "wrong.png")
    stripes("red", 91).save(data / "train" / "blue" / "wrong.png")
    said = ("test/blue/wrong.png", "relabel red"), ("train/blue/wrong.png", "relabel red")
    dropped = ("test/green/0.png", "drop"), ("train/green/0.png", "drop")
    file = corrected(tmp_path / "mine.csv", *said, *dropped)
    run = tmp_path / "run"

    def answer(*arguments: str) -> dict:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--corrections", str(file), "--json"])
        out, err = capsys.readouterr()
        assert end.value.code == 0, err
        return json.loads(out)

    metrics = answer("run", str(data), "--recipe", "feature_extraction", *SMALL, "--output", str(run))
    assert metrics["test"]["accuracy"] == pytest.approx(12 / 13)
    assert metrics["corrected"] == {"images": 12, "changed": 2, "accuracy": 1.0}
    assert metrics["images"]["train"] + metrics["images"]["validation"] == 60
    kept = {row["path"]: row["correction"] for row in rows_of(run / "corrections.csv")}
    assert kept == dict((*said, *dropped))
    evaluated = answer("evaluate", str(run), str(data))
    assert evaluated["accuracy"] == metrics["test"]["accuracy"]
    assert evaluated["corrected"] == metrics["corrected"]
    advice = json.loads((run / "recommendation.json").read_text())
    assert f"--corrections {file}" in advice["reproduction"]["command"]
    assert "2 test images count with the labels that they had" in " ".join(advice["warnings"])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "one column 'path'"),
        (b"path,label\na.png,red\n", "one column 'correction'"),
        (b"path,correction\nblue/1.png,delete\n", "line 2: 'delete' is no correction"),
        (b"path,correction\nblue/1.png,relabel pink\n", "no class 'pink'"),
        (b"path,correction\nblue/1.png,drop\nblue/1.png,relabel red\n", "in another way"),
        (b"path,correction\n../../etc/passwd,drop\n", "corrects no image"),
        (b"path,correction\nblue/\xff.png,drop\n", "UTF-8"),
        (b'path,correction\n"blue/1.png,drop\n', "no readable CSV"),
    ],
)
def test_corrections_that_are_refused(refused, tmp_path: Path, content: bytes, named: str):
    data = folder_of(tmp_path / "data", 3)
    (tmp_path / "mine.csv").write_bytes(content)
    assert named in refused("audit", str(data), *SMALL, "--corrections", str(tmp_path / "mine.csv"))


def test_a_class_without_images_after_corrections_is_refused(refused, tmp_path: Path):
    data = folder_of(tmp_path / "data", 3)
    file = corrected(tmp_path / "mine.csv", *((f"blue/{number}.png", "drop") for number in range(3)))
    assert "class 'blue'" in refused("recommend", str(data), "--corrections", str(file))
    assert "does not exist" in refused("recommend", str(data), "--corrections", str(tmp_path / "none.csv"))


def test_recommend_names_the_first_suspects(capsys, tmp_path: Path):
    data = tmp_path / "data"
    folder_of(data / "train")
    folder_of(data / "test", 4, first=50)
    stripes("red", 100).save(data / "train" / "blue" / "wrong.png")
    with pytest.raises(SystemExit):
        main(["recommend", str(data), "--json", "--output", str(tmp_path / "advice")])
    advice = json.loads(capsys.readouterr().out)
    correcting = next(step for step in advice["steps"] if step["action"] == "correct labels")
    assert correcting["interval"][0] <= correcting["gain"] <= correcting["interval"][1]
    assert (correcting["seconds"], correcting["worth"]) == (None, None)
    found = advice["findings"]
    assert found == json.loads((tmp_path / "advice" / "recommendation.json").read_text())["findings"]
    assert [one["kind"] for one in found] == ["labels"]
    assert found[0]["paths"][0] == "train/blue/wrong.png"
    assert "train/blue/wrong.png (looks like red)" in found[0]["text"]


def test_each_class_is_told_with_its_odd_images_and_what_more_images_bring(audited, capsys, tmp_path: Path):
    data = folder_of(tmp_path / "data")
    Image.new("RGB", (64, 64), COLORS["green"]).save(data / "green" / "blank.png")
    stripes("red", 200).resize((640, 640)).save(data / "red" / "large.png")
    found = audited(data, "--target", "0.9")
    by_name = {one["label"]: one for one in found["classes"]}
    assert set(by_name) == set(COLORS)
    assert {name: one["images"] for name, one in by_name.items()} == {"blue": 20, "green": 21, "red": 21}
    assert by_name["green"]["blank"] == ["green/blank.png"]
    assert by_name["red"]["odd_sizes"] == ["red/large.png"]
    for one in found["classes"]:
        assert 0 <= one["accuracy"] <= one["at_double"] <= 1
        assert 0 < one["brightness"] < 255
        assert one["sharpness"] > 0
    curve = found["learning_curve"]
    assert [point["images"] for point in curve] == sorted(point["images"] for point in curve)
    assert curve[-1]["images"] == 62
    assert found["target"]["accuracy"] == 0.9
    assert found["target"]["images"] <= 62  # such images are easily told
    assert "advisor audit" in found["reproduction"]["command"]
    assert "--target 0.9" in found["reproduction"]["command"]


def test_a_class_that_its_surroundings_tell_is_asked_about(audited, tmp_path: Path):
    """The colour is at the edges of one data set, and in the middle alone of the other."""
    for name, at_edges in (("edges", True), ("middle", False)):
        for color in COLORS:
            (tmp_path / name / color).mkdir(parents=True)
            for number in range(20):
                pixels = np.asarray(stripes(color, number))
                grey = np.asarray(stripes("grey", number))
                inside = np.zeros((64, 64, 1), bool)
                inside[10:54, 10:54] = True
                shown = np.where(inside != at_edges, pixels, grey)
                Image.fromarray(shown).save(tmp_path / name / color / f"{number}.png")
    edges, middle = (audited(tmp_path / name)["surroundings"] for name in ("edges", "middle"))
    assert edges["images"] == middle["images"] == 60
    assert edges["whole"] == middle["whole"] == 1.0
    assert edges["accuracy"] > 0.9
    assert middle["accuracy"] < 0.6
    assert middle["chance"] == pytest.approx(1 / 3)

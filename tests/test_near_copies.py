"""Images that are nearly the same are found, and named where they would flatter the accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from advisor.cli import main
from advisor.data import cut_copies, near_copies


def picture(seed: int, size: int = 120) -> Image.Image:
    """Soft blobs of colour, another picture for each seed."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (9, 9, 3), np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def thumbnails(*images: Image.Image) -> np.ndarray:
    return np.stack([near_copies.thumbnail(np.asarray(image.resize((224, 224)))) for image in images])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((70, 70)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.convert("L").convert("RGB"),
    ],
    ids=["smaller", "brighter", "blurred", "grey"],
)
def test_a_changed_copy_is_found_among_other_pictures(change):
    others = [picture(seed) for seed in range(50)]
    found = near_copies.find(thumbnails(*others, change(others[17])))
    assert found.tolist() == [[17, 50]]


def test_other_pictures_and_flat_ones_are_no_copies():
    flat = [Image.new("RGB", (64, 64), (grey, grey, grey)) for grey in (10, 10, 200)]
    assert len(near_copies.find(thumbnails(*flat, *(picture(seed) for seed in range(100))))) == 0
    assert near_copies.find(np.empty((0, 24, 24), np.uint8)).shape == (0, 2)


def test_pairs_are_found_across_chunks(monkeypatch: pytest.MonkeyPatch):
    small = thumbnails(*(picture(seed) for seed in (0, 1, 2, 3, 4, 0, 3)))
    monkeypatch.setattr(near_copies, "CHUNK", 2)
    assert sorted(near_copies.find(small).tolist()) == [[0, 5], [3, 6]]


def test_near_copies_across_splits_and_classes_are_named(capsys, tmp_path: Path):
    for split, count, start in (("train", 12, 0), ("test", 6, 100)):
        for number, name in enumerate(("left", "right")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                picture(start + 50 * number + i).save(tmp_path / split / name / f"{i}.png")
    picture(3).resize((90, 90)).save(tmp_path / "test" / "left" / "leaked.png")
    picture(55).resize((90, 90)).save(tmp_path / "train" / "left" / "confused.png")
    with pytest.raises(SystemExit) as end:
        main(["recommend", "--json", str(tmp_path)])
    assert end.value.code == 0
    told = "\n".join(json.loads(capsys.readouterr().out)["warnings"])
    assert "2 pairs of nearly the same image" in told
    assert "1 with one in training and one not" in told
    assert "leaked.png" in told
    assert "1 of them are in two classes" in told
    assert "confused.png" in told


def test_a_changed_file_is_measured_anew(capsys, tmp_path: Path):
    for number, name in enumerate(("left", "right")):
        (tmp_path / name).mkdir()
        for i in range(15):
            picture(50 * number + i).save(tmp_path / name / f"{i}.png")

    def score() -> float:
        with pytest.raises(SystemExit):
            main(["recommend", "--json", str(tmp_path)])
        return json.loads(capsys.readouterr().out)["similarity"]["score"]

    before = score()
    assert score() == before
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)).save(
        tmp_path / "left" / "3.png"
    )
    assert score() != before


def test_a_run_tells_its_accuracy_without_copied_test_images(capsys, tmp_path: Path):
    for split, count, start in (("train", 12, 0), ("test", 5, 100)):
        for number, name in enumerate(("left", "right")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                picture(start + 50 * number + i).save(tmp_path / "data" / split / name / f"{i}.png")
    picture(3).resize((90, 90)).save(tmp_path / "data" / "test" / "right" / "leaked.png")  # and mislabelled
    run = tmp_path / "run"
    command = ["run", str(tmp_path / "data"), "--recipe", "feature_extraction", "--output", str(run)]
    with pytest.raises(SystemExit) as end:
        main([*command, "--image-size", "64"])
    assert end.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "1 of the test images are nearly the same as images in training; without them the accuracy is" in told
    )
    metrics = json.loads((run / "metrics.json").read_text())
    right = round(metrics["test"]["accuracy"] * 11)
    assert metrics["near_copies"]["test_images"] == 1
    assert round(metrics["near_copies"]["accuracy_without"] * 10) in (right, right - 1)
    assert "nearly the same" in (run / "README.md").read_text()
    assert "nearly the same" in (run / "report.html").read_text()


def looks_like(*numbers: int) -> np.ndarray:
    """Features of length 1 that are nearly the same where the numbers are."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(max(numbers) + 1, 900))
    features = np.stack([centres[number] + 0.1 * generator.normal(size=900) for number in numbers])
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def test_a_copy_whose_border_was_cut_away_is_found_by_features_and_its_thumbnail():
    others = [picture(seed) for seed in range(30)]
    cut = others[17].crop((6, 6, 114, 114))
    shown = thumbnails(*others, cut)
    assert len(near_copies.find(shown)) == 0
    assert cut_copies.find(looks_like(*range(30), 17), shown).tolist() == [[17, 30]]


def test_pictures_of_the_same_kind_are_no_cut_copies():
    shown = thumbnails(*(picture(seed) for seed in range(30)))
    alike = looks_like(*range(29), 17)  # two pictures of one thing
    assert len(cut_copies.find(alike, shown)) == 0
    same_texture = looks_like(*(17,) * 30)  # each is as near as any other
    assert len(cut_copies.find(same_texture, np.repeat(shown[:1], 30, axis=0))) == 0
    assert cut_copies.find(alike[:3], shown[:3]).shape == (0, 2)

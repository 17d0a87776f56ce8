"""Shots of one thing are told, with both numbers and the way to keep them together."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import advisor
from advisor import api
from advisor.cli import main
from advisor.data import groups, images, shots, sources
from advisor.data.images import Origin
from advisor.data.names import SPLITS
from advisor.data.reading import Reading

THINGS, EACH = 40, 5


def photographs(folder: Path, camera: str = "Canon EOS", seconds: float = 1.0, apart: float = 60.0) -> Path:
    """Several shots of each of some things of two classes, under names and in an order that tell nothing.

    Things are parts of photographs of roses, or noise; nothing but the thing tells its class.
    """
    generator, start = np.random.default_rng(0), datetime(2026, 5, 1, 9)
    real = os.environ.get("ADVISOR_DATA")
    numbers = iter(generator.permutation(10_000)[: THINGS * EACH])
    for thing in range(THINGS):
        label = ("even", "odd")[thing % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        if real:
            with Image.open(sorted(Path(real, "flowers", "roses").iterdir())[thing]) as image:
                whole = image.convert("RGB").resize((120, 120))
        else:
            whole = Image.fromarray(generator.integers(0, 256, (120, 120, 3), dtype=np.uint8))
        for shot in range(EACH):
            left, top = generator.integers(0, 30, 2)
            exif = Image.Exif()
            exif[ExifTags.Base.Model] = camera
            taken = start + timedelta(seconds=thing * apart + shot * seconds)
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken:%Y:%m:%d %H:%M:%S}"
            part = whole.crop((left, top, left + 90, top + 90))
            part.save(folder / label / f"{next(numbers)}.jpg", exif=exif)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_bursts_are_told_and_kept_together(tmp_path, capsys, monkeypatch):
    """From the advice, by the two commands that it and the audit name, to splits of whole bursts."""
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "my things")
    advice = told(capsys, "recommend", "my things", "--image-size", "64")
    found = advice["groups"]
    assert (found["kept"], found["pattern"]) == (False, "")
    assert 30 <= found["groups"] <= THINGS
    assert found["leave_one_out"] > 0.9 > 0.75 > found["leave_group_out"]
    (said,) = [text for text in advice["warnings"] if "shots of one thing" in text]
    for number in (found["leave_one_out"], found["leave_group_out"]):
        assert f"{number:.1%}" in said
    assert "advisor audit 'my things' --output DIR" in said
    with pytest.raises(SystemExit):
        main(["audit", "my things", "--output", "audited"])
    out = capsys.readouterr()
    (command,) = [line for line in (out.out + out.err).splitlines() if "groups.csv --auto" in line]
    words = shlex.split(command.partition("advisor ")[2])
    assert words[0] == "run"
    grouped = told(capsys, "recommend", words[1], *words[3:], "--image-size", "64")
    assert grouped["groups"]["kept"]
    assert grouped["groups"]["leave_group_out"] < 0.75
    data = sources.load(words[1], reading=Reading(images="my things", group_column="group"))
    assert len(data) == THINGS * EACH
    for group in np.unique(data.groups):
        assert len(set(data.splits[data.groups == group].tolist())) == 1
    assert np.bincount(data.groups).max() == EACH


def test_groups_of_an_archive_and_of_splits(tmp_path):
    """What is known of splits stays; --images takes the archive itself."""
    photographs(tmp_path / "in" / "train")
    (tmp_path / "in" / "test").mkdir()
    for label in ("even", "odd"):
        (tmp_path / "in" / "test" / label).mkdir()
        for path in sorted((tmp_path / "in" / "train" / label).iterdir())[:10]:
            path.rename(tmp_path / "in" / "test" / label / path.name)
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "in")
    api.audit(archive, image_size=32, output=tmp_path / "audit")
    reading = Reading(images=archive, group_column="group")
    data = sources.load(str(tmp_path / "audit" / "groups.csv"), reading=reading)
    assert [len(data.indices(split)) for split in SPLITS][2] == 20
    assert data.given_splits == {"train", "test"}
    assert data.class_names == ("even", "odd")
    assert any("lie in several of your splits" in text for text in data.warnings)


@pytest.mark.parametrize(
    ("camera", "seconds", "apart"), [("", 1, 60), ("Canon", 60, 600), ("Canon", 0, 0)], ids=str
)
def test_no_bursts(camera, seconds, apart, tmp_path):
    """No camera; a minute between two shots; one time for all of them, as a program writes it."""
    data = sources.load(str(photographs(tmp_path / "things", camera, seconds, apart)))
    found = shots.groups(shots.origins(data.paths), [])
    assert not groups.may_be_groups(found, data.labels)
    assert len(set(found.tolist())) == (1 if camera and not apart else len(data))


def test_near_copies_are_told(tmp_path):
    """Pictures that were saved several times, in other qualities, without EXIF."""
    generator = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / ("even", "odd")[number % 2]
        folder.mkdir(exist_ok=True)
        noise = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        whole = Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)
        for quality in (70, 80, 90):
            whole.save(folder / f"{generator.integers(10**9)}.jpg", quality=quality)
    advice = advisor.recommend(str(tmp_path), image_size=64)
    assert advice.evidence.grouping.groups > 35  # without those whose images are in the test split
    assert sum("shots of one thing" in text for text in advice.warnings) == 1


def test_what_follows_within_seconds_is_one_burst():
    def taken(camera: str, seconds: float | None) -> Origin:
        return Origin("JPEG", camera, (1, 1), seconds)

    times = [
        ("a", 10),
        ("b", 11),
        ("a", 14),
        ("a", 19),
        ("a", 25),
        ("", 25),
        ("", 25),
        ("a", None),
        ("a", None),
    ]
    found = shots.groups([*(taken(*one) for one in times), None], [(5, 1)])
    assert found.tolist() == [0, 1, 0, 0, 2, 1, 3, 4, 5, 6]


@pytest.mark.parametrize("time", ["0000:00:00 00:00:00", "yesterday", "2026:13:01 00:00:00", ""])
def test_times_that_are_none(time, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", exif=exif)
    assert images.origin(tmp_path / "a.jpg").taken is None


@pytest.mark.parametrize("name", ["flowers", "hymenoptera", pytest.param("neu", marks=pytest.mark.slow)])
def test_nothing_is_said_where_images_are_single(name, real_data):
    advice = advisor.recommend(str(real_data / name), sample=400, image_size=128)
    assert not any("shots of one thing" in text or "--group" in text for text in advice.warnings)

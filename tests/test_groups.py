"""Images that belong together lie on one side, in splits and in probes; what names suggest is told."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from advisor.cli import main
from advisor.data import groups, sources
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.data.reading import Reading
from advisor.errors import InputError
from advisor.evidence import linear_head

PATIENT = Reading(group_pattern=r"([^/_]+)_[^/]*$")


@pytest.fixture
def cells(tmp_path) -> Callable[..., Path]:
    """A folder of two classes with images of these patients, as many of each."""

    def make(patients: int = 12, each: int = 4, classes: tuple[str, ...] = ("ill", "well")) -> Path:
        number = 0
        for label in classes:
            (tmp_path / "cells" / label).mkdir(parents=True)
            for patient in range(patients):
                for cell in range(each):
                    number += 1
                    pixels = Image.new("RGB", (8, 8), (number % 256, number // 256, patient))
                    pixels.save(tmp_path / "cells" / label / f"P{patient}_{cell}.png")
        return tmp_path / "cells"

    return make


def patients(data: Dataset, split: str) -> set[str]:
    return {Path(data.paths[i]).name.partition("_")[0] for i in data.indices(split)}


# ---------------------------------------------------------------------------------------------------
# Splits


@pytest.mark.parametrize("seed", range(4))
def test_whole_groups_are_split_and_classes_keep_their_share(seed, cells):
    data = sources.load(str(cells()), seed, reading=PATIENT)
    sides = [patients(data, split) for split in SPLITS]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12
    for split in SPLITS:
        ill, well = np.bincount(data.labels[data.indices(split)], minlength=2)
        assert ill == well > 0
    assert len(sources.load(data.source, seed).indices("test")) == 10  # single images, without groups


def test_the_groups_of_a_column_are_the_same_as_those_of_a_pattern(cells):
    folder = cells()
    files = sorted(folder.rglob("*.png"))
    lines = [f"{file},{file.parent.name},{file.name.partition('_')[0]}" for file in files]
    (folder / "cells.csv").write_text("\n".join(["path,label,patient", *lines]))
    table = sources.load(str(folder / "cells.csv"), reading=Reading(group_column="patient"))
    pattern = sources.load(str(folder), reading=PATIENT)
    assert (table.splits == pattern.splits).all()
    assert table.warnings == ()


def test_splits_of_the_user_that_share_groups_are_told(cells, tmp_path):
    folder = cells()
    for split in ("train", "test"):
        (folder / split).mkdir()
    for label in ("ill", "well"):
        (folder / label).rename(folder / "train" / label)
        for file in sorted((folder / "train" / label).glob("P0_[01].png")):
            (folder / "test" / label).mkdir(exist_ok=True)
            file.rename(folder / "test" / label / file.name)
    data = sources.load(str(folder), reading=PATIENT)
    assert any(warning.startswith("1 groups lie in several of your splits") for warning in data.warnings)
    assert patients(data, "validation").isdisjoint(patients(data, "train") | patients(data, "test"))


def test_an_image_without_a_group_stands_alone(cells):
    folder = cells()
    Image.new("RGB", (8, 8), "white").save(folder / "ill" / "loose.png")
    data = sources.load(str(folder), reading=PATIENT)
    assert len(np.unique(data.groups)) == 13
    assert any(warning.startswith("1 images belong to no group") for warning in data.warnings)


@pytest.mark.parametrize(
    ("made", "options", "says"),
    [
        ({"patients": 2}, ["--group-pattern", "([^/_]+)_"], "has 2 groups, too few to split"),
        ({}, ["--group-pattern", "^(ill|well)/"], "has 2 groups, too few to split"),
        ({}, ["--group-pattern", "nobody"], "puts no two images together, as ill/P0_0.png"),
        ({}, ["--group-pattern", "(.*)"], "puts no two images together"),
        ({}, ["--group-pattern", "("], "is no regular expression"),
        ({}, ["--group-pattern", "P", "--group-column", "P"], "give one"),
    ],
)
def test_groups_that_cannot_be_are_refused(made, options, says, cells, refused):
    assert says in refused("recommend", str(cells(**made)), *options)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=6, max_size=60),
    seed=st.integers(0, 99),
)
def test_any_groups_are_split_whole_or_refused(rows, seed, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "any"
    if not root.exists():
        root.mkdir()
        for i in range(60):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(root / f"{i}.png")
    lines = [f"{i}.png,class {label},{group}" for i, (group, label) in enumerate(rows)]
    (root / "any.csv").write_text("\n".join(["path,label,of", *lines]))
    try:
        data = sources.load(str(root / "any.csv"), seed, reading=Reading(group_column="of"))
    except InputError:
        return
    pairs = {(group, split) for group, split in zip(data.groups.tolist(), data.splits.tolist(), strict=True)}
    assert len(pairs) == len(np.unique(data.groups))
    assert len(np.unique(data.labels[data.indices("train")])) == len(data.class_names)
    assert all(len(data.indices(split)) for split in SPLITS)


# ---------------------------------------------------------------------------------------------------
# Probes


@pytest.mark.parametrize("width", [20, 200])
def test_leaving_out_a_group_is_fitting_without_it(width, monkeypatch):
    """The closed form gives what as many fits give, in both of its ways; here with one penalty."""
    monkeypatch.setattr(linear_head, "RIDGES", np.array([0.1]))
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(90, width)), generator.integers(0, 3, 90)
    features[:, 0] += labels
    of = generator.integers(0, 15, 90)
    found = linear_head.fit(features, labels, 3, groups=of).held_out
    products = linear_head.Products.of(features)
    assert np.allclose(found, products.held_out(labels, 3, of), atol=1e-3)
    for group in range(15):
        rest, out = np.flatnonzero(of != group), np.flatnonzero(of == group)
        told = products.probabilities(rest, out, labels[rest], 3, of[rest])
        assert (told.argmax(axis=1) == found[out].argmax(axis=1)).all()


def test_each_image_on_its_own_is_no_group():
    generator = np.random.default_rng(1)
    features, labels = generator.normal(size=(50, 30)), generator.integers(0, 2, 50)
    one = linear_head.fit(features, labels, 2).held_out
    assert (linear_head.fit(features, labels, 2, groups=np.arange(50)).held_out == one).all()


def objects(folder: Path, real: Path | None, count: int = 40, shots: int = 5) -> Path:
    """Several shots of each of some objects, which lie in two classes: parts of photographs, or noise."""
    generator = np.random.default_rng(0)
    for number in range(count):
        label = ("even", "odd")[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        if real:
            files = sorted((real / "flowers" / "roses").iterdir())
            with Image.open(files[number]) as image:
                whole = image.convert("RGB").resize((120, 120))
        else:
            whole = Image.fromarray(generator.integers(0, 256, (120, 120, 3), dtype=np.uint8))
        for shot in range(shots):
            left, top = generator.integers(0, 16, 2)
            whole.crop((left, top, left + 104, top + 104)).save(folder / label / f"object{number}_{shot}.png")
    return folder


def test_groups_that_names_suggest_are_told_with_both_numbers_and_the_option(tmp_path, capsys):
    """Roses are even or odd by their number: nothing but the shots of the same rose tells."""
    real = os.environ.get("ADVISOR_DATA")
    folder = objects(tmp_path / "objects", Path(real) if real else None)

    def told(*options: str) -> dict:
        with pytest.raises(SystemExit):
            main(["recommend", str(folder), "--json", *options])
        return json.loads(capsys.readouterr().out)

    advice = told()
    found = advice["groups"]
    assert (found["kept"], found["groups"], found["of_several_classes"]) == (False, 40, 0)
    assert found["leave_one_out"] > 0.9
    assert found["leave_group_out"] < 0.7
    said = next(warning for warning in advice["warnings"] if "--group-pattern" in warning)
    for number in (found["leave_one_out"], found["leave_group_out"]):
        assert f"{number:.1%}" in said
    grouped = told("--group-pattern", found["pattern"])
    assert grouped["groups"]["kept"]
    assert not any("--group-pattern" in warning for warning in grouped["warnings"])
    assert [row["verdict"] for row in grouped["rationale"] if row["factor"] == "Groups"] == ["kept together"]
    expected = [
        each["frozen"]["shallow_features"]["expected_accuracy"]
        for each in (advice["evidence"], grouped["evidence"])
    ]
    assert expected[1] < expected[0] - 0.2
    assert f"--group-pattern '{found['pattern']}'" in grouped["reproduction"]["command"]


def named(folder: Path) -> tuple[list[str], np.ndarray]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    names = [f"{one.name}/{file.name}" for one in classes for file in sorted(one.iterdir())]
    return names, np.repeat(np.arange(len(classes)), [len(list(one.iterdir())) for one in classes])


def test_patients_are_found_in_the_names_of_cells(real_data):
    names, labels = named(real_data / "malaria")
    found = groups.suggested(names, labels)
    assert len(np.unique(found.groups)) > 190
    assert groups.of_several_classes(found.groups, labels) > 130
    assert Reading(group_pattern=found.pattern).check() is None


@pytest.mark.parametrize("name", ["flowers", "hymenoptera", "neu"])
def test_other_names_are_no_groups(name, real_data):
    assert groups.suggested(*named(real_data / name)) is None


@pytest.mark.parametrize(
    ("name", "suggests"),
    [
        ("{label}_{i}.jpg", False),
        ("IMG_{i}.jpg", False),
        ("{i}.jpg", False),
        ("{i}_x.jpg", False),
        ("visit_{patient}_{i}.jpg", True),
        ("{patient}-{i}.jpg", True),
        ("{patient}.{i}.jpg", True),
        ("{patient} ({i}).jpg", True),
        ("{number}_{i}.jpg", True),
    ],
)
def test_what_names_suggest(name, suggests):
    rows = [(label, i) for label in ("a", "b") for i in range(100)]
    names = [
        f"{label}/" + name.format(label=label, i=i, patient=f"p{i // 5}", number=i // 5) for label, i in rows
    ]
    labels = np.array([label == "b" for label, _ in rows], np.int64)
    found = groups.suggested(names, labels)
    assert (found is not None) == suggests
    if found:
        data = [re.search(found.pattern, one)[1] for one in names]
        assert len(set(data)) == len(np.unique(found.groups)) == (40 if "number" in name else 20)

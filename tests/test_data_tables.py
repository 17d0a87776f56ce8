"""CSV files as people write them: read as they are meant, or one line that says what is not clear."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from advisor.data import names, sources, table
from advisor.data.dataset import Dataset
from advisor.data.reading import Reading
from advisor.errors import InputError

NAMES = [f"{label}/{i}.png" for label in "ab" for i in range(10)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Ten different images for each of the classes a and b."""
    root = tmp_path_factory.mktemp("table")
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name)
    return root


@pytest.fixture
def load(folder):
    """Load a table of all images with more columns, each named with a value for each image."""

    def table(more: dict[str, list] | None = None, *, rows: tuple[str, ...] = (), seed: int = 0):
        lines = [",".join(["path", "label", *(more or {})])]
        for i, name in enumerate(NAMES):
            lines.append(",".join([name, name[0], *(str(column[i]) for column in (more or {}).values())]))
        (folder / "labels.csv").write_text("\n".join([*lines, *rows]), encoding="utf-8")
        return sources.load(str(folder / "labels.csv"), seed)

    return table


SPLITS = ["train"] * 5 + ["val"] * 2 + ["test"] * 3
SPLITS += SPLITS  # of a, then of b
IS_VALID = [split == "val" for split in SPLITS]
IS_TEST = [int(split == "test") for split in SPLITS]


def split_sizes(data: Dataset) -> list[int]:
    return [len(data.indices(split)) for split in names.SPLITS]


def test_a_long_table_asks_for_no_file(folder, tmp_path, monkeypatch):
    """From the hundredth name in a folder on its list says what is there."""
    asked = []
    there = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: asked.append(path) or there(path))
    (tmp_path / "many").mkdir()
    for number in range(300):
        os.link(folder / NAMES[number % len(NAMES)], tmp_path / "many" / f"{number}.png")
    lines = [f"many/{number}.png,{'ab'[number % 2]}" for number in range(300)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines, "many/absent.png,a"]))
    data = sources.load(str(tmp_path / "labels.csv"))
    assert len(data) == 300
    assert len(asked) < 150
    assert "many/absent.png" in str(data.skipped)


# ---------------------------------------------------------------------------------------------------
# Splits


@pytest.mark.parametrize(
    "columns",
    [
        {"split": SPLITS},
        {"Split": SPLITS},
        {"SPLIT ": [split.upper() for split in SPLITS]},
        {"subset": SPLITS},
        {"what it is for": SPLITS},
        {"": SPLITS},
        {"is_valid": IS_VALID, "is_test": IS_TEST},
        {"isTest": IS_TEST, "Is Validation": IS_VALID, "is_train": [split == "train" for split in SPLITS]},
        {"split": SPLITS, "subset": list(reversed(SPLITS))},
    ],
    ids=" and ".join,
)
def test_splits_of_the_user_are_kept_whatever_their_column_is_called(columns, load):
    data = load(columns)
    assert split_sizes(data) == [10, 4, 6]
    assert {data.shown(data.paths[i]) for i in data.indices("test")} == {
        name for name, split in zip(NAMES, SPLITS, strict=True) if split == "test"
    }
    if not any(name.strip().lower() == "split" for name in columns):
        assert any("the splits are read from column" in warning for warning in data.warnings)
    if len(columns) == 2 and "split" in columns:
        assert data.warnings == ("not used: column 'subset' of labels.csv",)


def test_one_yes_or_no_leaves_the_other_split_to_be_drawn(load):
    data = load({"is_valid": IS_VALID})
    assert data.given_splits == {"train", "validation"}
    assert split_sizes(data) == [14, 4, 2]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"subset": ["extra"] * 20},
            "column 'subset' looks like the split, but holds 'extra'; say train, val",
        ),
        ({"role": [*SPLITS[:19], "both"]}, "column 'role' looks like the split, but holds 'both'"),
        ({"subset": SPLITS, "phase": SPLITS}, "columns 'subset', 'phase' look like the split"),
        ({"subset": SPLITS, "is_test": IS_TEST}, "columns 'subset', 'is_test' look like the split"),
        ({"is_train": IS_TEST}, "column 'is_train' says which images train, but not whether"),
        ({"is_test": ["maybe"] * 20}, "column 'is_test' holds 'maybe' where true or false belongs"),
        ({"is_valid": IS_TEST, "is_test": IS_TEST}, "line 9 is in two splits, validation and test"),
        ({"split": ["dev"] * 20}, "line 2: unknown split 'dev'; use train"),
        ({"Label": ["c"] * 20}, "has two columns 'label'; remove or rename"),
        ({"split": SPLITS, "Split": SPLITS}, "has two columns 'split'; remove or rename"),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else "",
)
def test_what_says_splits_in_an_unclear_way_is_refused(columns, says, load):
    with pytest.raises(InputError) as refused:
        load(columns)
    assert says in str(refused.value)
    assert "labels.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_columns_are_named_as_not_used(load):
    data = load({"fold": [i % 5 for i in range(20)], "width": [8] * 20, "sound": ["yes"] * 20})
    assert data.warnings == ("not used: columns 'fold', 'width', 'sound' of labels.csv",)
    assert data.given_splits == frozenset()
    assert load({"": list(range(20))}).warnings == ("not used: column 'number 3' of labels.csv",)
    assert load({"": [""] * 20}).warnings == ()


# ---------------------------------------------------------------------------------------------------
# Rows


def test_rows_with_more_or_fewer_fields_are_named_and_not_trained_on(load):
    rows = ("a/0.png,pet, cat", "a/0.png,pet, dog", "a/1.png")
    data = load(rows=rows)
    assert (len(data), data.class_names) == (20, ("a", "b"))
    assert [item.path for item in data.skipped] == [f"labels.csv line {line}" for line in (22, 23, 24)]
    assert data.skipped[0].reason == "3 fields, but the first line has 2; put text with commas in quotes"
    fewer = load({"split": SPLITS}, rows=("a/0.png,b",)).skipped
    assert [item.reason for item in fewer] == ["2 fields, but the first line has 3"]


def test_commas_in_quotes_and_empty_fields_at_the_end_are_no_fault(load):
    data = load(rows=('a/0.png,"pet, cat"', 'a/1.png,"pet, cat",,'))
    assert data.class_names == ("a", "b", "pet, cat")
    assert data.skipped == ()


def test_lines_are_those_of_an_editor(load):
    skipped = load(rows=("", '"a/0.png","two\nlines"', '"a/1.png","two\nlines"', "x")).skipped
    assert [item.path for item in skipped] == ["labels.csv line 27"]


@pytest.mark.parametrize("row", ['"a/0.png,a', 'a/0.png,"a', '"a/0.png" x,a'])
def test_an_open_quote_does_not_swallow_what_follows(row, load):
    with pytest.raises(InputError, match="not a readable CSV file \\(line 22: "):
        load(rows=(row, "a/1.png,a", "a/2.png,a"))


def test_paths_of_which_none_is_there_are_told_as_paths(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
    with pytest.raises(InputError, match=r"a.jpg: No such file .*; its paths must be relative to its own"):
        sources.load(str(tmp_path / "labels.csv"))


def test_backslashes_of_windows_are_read_as_slashes(folder):
    lines = ["path,label", *(name.replace("/", "\\") + "," + name[0] for name in NAMES)]
    (folder / "windows.csv").write_text("\r\n".join(lines))
    data = sources.load(str(folder / "windows.csv"))
    assert [data.shown(path) for path in data.paths] == NAMES


def test_a_class_may_be_called_train_in_a_table(load, folder):
    (folder / "train.csv").write_text(
        "\n".join(["path,label", *(f"{name},{'train' if name[0] == 'a' else 'bus'}" for name in NAMES)])
    )
    assert sources.load(str(folder / "train.csv")).class_names == ("bus", "train")


def test_labels_are_shown_safely(load):
    data = load(rows=tuple(f"a/{i}.png,\u202ecat\0" for i in range(3)))
    assert data.class_names == ("\\u202ecat\\x00", "a", "b")


def test_two_labels_that_would_be_shown_alike_are_refused(load):
    with pytest.raises(InputError, match=r"two classes of .*labels.csv are shown as"):
        load(rows=("a/0.png,c\u200b", "a/1.png,c\\u200b"))


def test_time_grows_as_the_rows_do(tmp_path):
    def seconds(rows: int) -> float:
        lines = [f"{i}.png,class {i % 1000},{i}" for i in range(rows)]
        (tmp_path / "labels.csv").write_text("\n".join(["path,label,id", *lines]))
        began = time.process_time()
        assert len(table.read(tmp_path / "labels.csv").entries) == rows
        return time.process_time() - began

    few, many = (min(seconds(rows) for _ in range(3)) for rows in (5_000, 50_000))
    assert many < 30 * few


CELLS = st.one_of(
    st.sampled_from(["path", "label", "split", "subset", "is_test", "is_valid", "train", "val", "test", "1"]),
    st.sampled_from(["a/0.png", "a", "", '"', '"a', ",", "\0", "\r", "\n", "\ufeff", "\\", "x" * 140_000]),
    st.text(max_size=6),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    columns=st.lists(CELLS, max_size=3),
    rows=st.lists(st.lists(CELLS, max_size=5), max_size=8),
    noise=st.binary(max_size=4),
)
@example(columns=["is_test"], rows=[["a", "b", str(i)] for i in range(40)], noise=b"")
@example(columns=[], rows=[["a\\\0", "b"]], noise=b"")
def test_any_table_is_read_or_refused(columns, rows, noise, folder):
    header = ["path", "label", *columns]
    text = "\n".join(",".join(row) for row in [header, *rows])
    (folder / "any.csv").write_bytes(text.encode(errors="surrogatepass") + noise)
    try:
        listing = table.read(folder / "any.csv")
    except InputError:
        return
    assert listing.entries
    assert all(entry.path and entry.label for entry in listing.entries)
    assert all(entry.split in (None, *names.SPLITS) for entry in listing.entries)


# ---------------------------------------------------------------------------------------------------
# Columns under any name


@pytest.fixture
def table_of(folder, tmp_path):
    """Load a table with these columns, each with a value for each image, as the user says."""

    def write(columns: dict[str, list], ending: str = "csv", **reading: str) -> Dataset:
        rows = [list(map(str, row)) for row in zip(*columns.values(), strict=True)]
        if ending == "jsonl":
            lines = [
                json.dumps(dict(zip(columns, row, strict=True)))
                for row in zip(*columns.values(), strict=True)
            ]
        else:
            lines = [";".join(row) for row in ([*columns], *rows)]
        (tmp_path / f"of.{ending}").write_text("\n".join(lines), encoding="utf-8")
        return sources.load(
            str(tmp_path / f"of.{ending}"), reading=Reading(**{"images": str(folder), **reading})
        )

    return write


IDS = [name.removesuffix(".png") for name in NAMES]
KIND = [name[0] for name in NAMES]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_are_text_and_stay_what_they_are(ending, table_of):
    labels = ["007", "7", "nan", "None", "True", "1.0", "1", "NULL", "-0", "1e3"]
    data = table_of({"image": NAMES, "label": [label for label in labels for _ in range(2)]}, ending)
    assert set(data.class_names) == set(labels)


def test_numbers_in_json_are_labels_as_they_are_written(folder, tmp_path):
    written = ["1.0", "1", "10000000000000000000001", "true", "1e3"]
    lines = [f'{{"file": "{name}", "label": {written[i % 5]}}}' for i, name in enumerate(NAMES)]
    (tmp_path / "of.jsonl").write_text("\n".join(lines))
    data = sources.load(str(tmp_path / "of.jsonl"), reading=Reading(images=str(folder)))
    assert set(data.class_names) == set(written)


@pytest.mark.parametrize(
    "name", [NAMES, IDS, [f"old/place/{name}" for name in NAMES]], ids=["whole", "id", "moved"]
)
def test_images_are_found_by_what_a_column_calls_them(name, table_of, folder):
    if name[0].startswith("old"):
        with pytest.raises(InputError, match="none whose values name images in"):
            table_of({"x": name, "kind": KIND})
        return
    data = table_of({"": range(20), "x": name, "kind": KIND, "note": range(20)})
    assert [data.shown(path) for path in data.paths] == NAMES
    assert data.warnings[:2] == (
        "the images are read from column 'x'",
        "the labels are read from column 'kind'",
    )


@pytest.mark.parametrize(
    ("columns", "reading", "says"),
    [
        ({"x": NAMES, "y": IDS, "kind": KIND}, {}, "columns 'x', 'y' name images; say which with --path-col"),
        (
            {"x": NAMES, "dx": KIND, "sex": KIND},
            {},
            "columns 'dx', 'sex' may hold the labels; say which with",
        ),
        ({"x": NAMES, "n": range(20)}, {}, "no column 'label', and none with few different values"),
        ({"x": NAMES, "kind": KIND}, {"label_column": "dx"}, "--label-column dx is no column of"),
        ({"x": NAMES, "kind": KIND}, {"images": "nowhere"}, "--images nowhere is no folder"),
        (
            {"x": [name[2:] for name in NAMES], "kind": KIND},
            {},
            "'0.png' may be a/0.png or b/0.png; name the",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_where_a_column_would_be_a_guess_it_is_asked_for(columns, reading, says, table_of):
    with pytest.raises(InputError) as refused:
        table_of(columns, **reading)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_user_decides_which_columns_are_meant(table_of):
    columns = {"x": NAMES, "y": IDS, "dx": KIND, "sex": ["f", "m"] * 10, "role": SPLITS}
    data = table_of(columns, path_column="y", label_column="SEX", split_column="role")
    assert data.class_names == ("f", "m")
    assert split_sizes(data) == [10, 4, 6]


def test_one_hot_rows_with_two_classes_or_none_are_named(table_of):
    columns = {
        "image": IDS,
        "a": [float(kind == "a") for kind in KIND],
        "b": [float(kind == "b") for kind in KIND],
    }
    columns["a"][0], columns["b"][1] = 0.0, 1.0
    data = table_of(columns)
    assert (len(data), data.class_names) == (18, ("a", "b"))
    assert [(item.path, item.reason) for item in data.skipped] == [
        ("of.csv line 2", "it is in none of the classes, and must be in one"),
        ("of.csv line 3", "it is in 2 of the classes, and must be in one"),
    ]


def test_a_table_beside_class_folders_is_used_where_the_user_means_it(folder):
    lines = ["path,kind", *(f"{name},{i % 2}" for i, name in enumerate(NAMES))]
    (folder / "labels.csv").write_text("\n".join(lines))
    for other in folder.glob("*.csv"):
        if other.name != "labels.csv":
            other.unlink()
    assert sources.load(str(folder)).class_names == ("a", "b")
    assert sources.load(str(folder), reading=Reading(label_column="kind")).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "(line 1: no object)"),
        ('{"a": ', "(line 1: Expecting value)"),
        ("[" * 100_000, "is not readable (line 1: "),
        ('{"a": "' + "x" * 2_000_000 + '"}', "(line 1: too long)"),
        ("", "has no column 'path'"),
    ],
    ids=["list", "cut", "deep", "long", "empty"],
)
def test_json_lines_that_are_none_are_refused(line, says, tmp_path):
    (tmp_path / "of.jsonl").write_text(line)
    with pytest.raises(InputError) as refused:
        sources.load(str(tmp_path / "of.jsonl"))
    assert says in str(refused.value)


# ---------------------------------------------------------------------------------------------------
# Copies and conflicts


@pytest.mark.parametrize("seed", range(8))
def test_an_image_in_two_classes_empties_no_split(seed, load):
    data = load(rows=("a/0.png,b",), seed=seed)
    assert split_sizes(data) == [17, 2, 2]
    assert any("in two classes: a/0.png = a/0.png" in warning for warning in data.warnings)


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """Six different images, each under three names."""
    root = tmp_path_factory.mktemp("copies")
    for number in range(6):
        for copy in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"{number}-{copy}.png")
    return root


ROWS = st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(["", "train"]))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.sets(ROWS, min_size=4, max_size=14), seed=st.integers(0, 99))
def test_small_data_with_copies_and_conflicts(rows, seed, copied):
    """Each image lies in one split, each class is trained on, and it is refused only where that cannot be."""
    lines = [f"{number}-{copy}.png,{label},{split}" for number, copy, label, split in sorted(rows)]
    (copied / "labels.csv").write_text("\n".join(["path,label,split", *lines]))
    classes_of = {n: {label for number, _, label, _ in rows if number == n} for n in range(6)}
    in_one = [classes.copy().pop() for classes in classes_of.values() if len(classes) == 1]
    in_two = any(len(classes) == 2 for classes in classes_of.values())
    free = len(in_one) - (0 if in_two else len(set(in_one)))
    try:
        data = sources.load(str(copied / "labels.csv"), seed)
    except InputError:
        few = min(sum(label == name for _, _, label, _ in rows) for name in "ab") < 2
        assert few or free < 2
        return
    assert set(data.labels[data.indices("train")]) == {0, 1}
    assert all(len(data.indices(split)) for split in names.SPLITS)
    numbers = np.array([Path(path).name[0] for path in data.paths])
    assert all(len(set(data.splits[numbers == number])) == 1 for number in numbers)

"""Folders that are no classes are not taken for classes, and what lies there unused is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from PIL import Image

from advisor.data import checks, sources, splits
from advisor.data.names import natural_order
from advisor.errors import InputError


@pytest.fixture
def make(tmp_path):
    """Make a folder with these folders in it, of four different images each, and these empty files."""
    number = itertools.count()

    def fill(*folders: str, files: tuple[str, ...] = (), size: tuple[int, int] = (8, 8)) -> Path:
        root = tmp_path / "data"
        root.mkdir()
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(4):
                n = next(number)
                Image.new("RGB", size, (n % 256, n // 256, 0)).save(root / folder / f"{i}.png")
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("no image")
        return root

    return fill


def within(*outer: str, inner: tuple[str, ...] = ("cat", "dog")) -> list[str]:
    return [f"{folder}/{name}" for folder in outer for name in inner]


NO_CLASSES = [
    (within("val", "test"), "holds test/ and val/ but no train/"),
    (within("test"), "give {root}/test to split it anew, or name"),
    (["val", "test"], "holds test/ and val/ but no train/"),
    (within("fold1", "fold2"), "look like folds of one data set"),
    (["fold_1", "fold_2", "fold_3"], "fold_1/, fold_2/ and 1 more in {root} look like folds"),
    (within("images", "masks"), "look like images and their annotations"),
    (["images", "masks"], "look like images and their annotations"),
    (["JPEGImages", "Annotations"], "look like images and their annotations"),
    (within("2019", "2020"), "they hold folders of the same names, as cat/ and dog/"),
    ([*within("left", "right", inner=("Cat", "dog", "a")), "front/cat", "front/dog"], "of the same names"),
    (within("cat", "dog", inner=("train", "test")), "look like splits within classes"),
    (["cat", "dog", "test"], "holds test/ beside cat/, which looks like a split beside classes"),
    (["train", "bus", "car"], "holds both train/ and bus/"),
    (["train", "test"], "train has no class folders"),
    (within("train", "dev"), "holds both train/ and dev/; if dev/ is a split, call it val or test"),
    (within("dev", "test"), "dev/ and test/ in {root} look like parts of one data set"),
    (within("cat", "dog", inner=("images", "masks")), "hold images/ and masks/ each, which look like images"),
    (within("train", "val", "validation"), "holds both val/ and validation/, which look like one split"),
]


@pytest.mark.parametrize(("folders", "says"), NO_CLASSES, ids=[" ".join(case[0]) for case in NO_CLASSES])
def test_what_looks_like_no_classes_is_refused_unless_the_user_insists(folders, says, make):
    root = make(*folders)
    with pytest.raises(InputError) as refused:
        sources.load(str(root))
    message = str(refused.value)
    assert says.format(root=root) in message
    assert f"give classes:{root}" in message
    assert "\n" not in message
    top = {folder.partition("/")[0] for folder in folders}
    if len(top) > 1:
        insisted = sources.load(f"classes:{root}")
        assert (set(insisted.class_names), len(insisted)) == (top, 4 * len(folders))
        assert insisted.given_splits == frozenset()


@pytest.mark.parametrize("command", ["recommend", "run"])
def test_the_command_says_it_in_one_line(command, make, tmp_path, refused):
    root = make(*within("val", "test"))
    more = ["--auto", "--output", str(tmp_path / "run")] if command == "run" else []
    assert f"name the folder of training images train/, or give classes:{root}" in refused(
        command, str(root), *more
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "folders",
    [
        ["valid", "invalid"],
        ["cat/tabby", "cat/siamese", "dog/poodle", "dog/boxer"],
        ["cat/images", "dog/images"],
        [*within("cat", "dog", inner=("left", "right")), "cat", "dog"],
        ["test_tube", "train_station", "validator"],
        ["mask", "no_mask"],
        ["images", "music"],
        ["fold1", "unfold"],
    ],
    ids=" ".join,
)
def test_classes_that_are_nothing_else_are_classes(folders, make):
    data = sources.load(str(make(*folders)))
    assert set(data.class_names) == {folder.partition("/")[0] for folder in folders}
    assert data.given_splits == frozenset()


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("training", "testing", "test"),
        ("seg_train", "seg_test", "test"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("train_images", "val_images", "validation"),
        ("train2017", "val2017", "validation"),
        ("Training Set", "Validation Set", "validation"),
    ],
)
def test_splits_under_the_names_that_people_give_them(train, other, split, make):
    data = sources.load(str(make(*within(train, other))))
    assert data.class_names == ("cat", "dog")
    assert data.given_splits == {"train", split}
    assert len(data.indices(split)) == 8
    assert data.warnings == ()


@pytest.mark.parametrize("deeper", ["flower_photos", "a/b/c"])
def test_data_in_a_folder_around_them_are_found(deeper, make):
    root = make(*within(deeper), files=(f"{deeper}/LICENSE.txt",))
    data = sources.load(str(root))
    assert data.class_names == ("cat", "dog")
    assert f"the classes are those in {deeper}/" in data.warnings
    assert data.fingerprint() == sources.load(str(root / deeper)).fingerprint()


def test_a_folder_around_the_classes_of_a_split_is_named(make):
    root = make(*within("train/data", "test/data"))
    with pytest.raises(InputError, match=f"move them from {root}/train/data into {root}/train, in each"):
        sources.load(str(root))


def test_an_empty_class_is_told_with_a_file_of_its_own(make):
    root = make("cat", "dog", files=("cat/notes.txt", "tools/a.py"))
    with pytest.raises(InputError, match=r"'tools' has 0 readable images \(the first skipped: tools/a.py: "):
        sources.load(str(root))


def test_images_and_labels_of_a_detector_are_no_classes(make):
    root = make("train/images", "valid/images", files=("train/labels/0.txt", "valid/labels/0.txt"))
    with pytest.raises(InputError, match=r"images/ and labels/ in .* look like images and their annotations"):
        sources.load(str(root))


@pytest.mark.parametrize("folders", [["train", "test"], ["images"], ["."]], ids=" ".join)
def test_images_without_class_folders_and_a_table_name_the_table(folders, make):
    root = make(*folders, files=("labels.csv",))
    with pytest.raises(InputError, match=f"give {root}/labels.csv"):
        sources.load(str(root))


# ---------------------------------------------------------------------------------------------------
# What is not used


@pytest.mark.parametrize(
    ("folders", "files", "says"),
    [
        ([*within("train"), "val"], (), "val/ holds 4 images without class folders and is not used"),
        ([*within("train"), "test/test"], (), "test/ holds 4 images without class folders and is not used"),
        (within("train"), ("test/notes.txt",), "test/ holds no class folders and is not used"),
        (["cat", "dog", "."], (), "4 images beside the class folders not used, as 0.png"),
        ([*within("train"), "train"], (), "4 images beside the class folders not used, as train/0.png"),
        (within("train"), ("marks/0.xml", "a.txt"), "not used: marks/, a.txt"),
        (["cat", "dog"], ("labels.csv",), "not used: labels.csv; to take labels from a table, give "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, (list, tuple)) else "",
)
def test_what_is_not_used_is_told(folders, files, says, make):
    root = make(*folders, files=files)
    told = [warning for warning in sources.load(str(root)).warnings if says in warning]
    assert len(told) == 1
    assert told[0] in sources.load_test(str(root)).warnings


def test_nothing_is_told_where_all_is_used(make):
    root = make("cat", "dog", files=(".hidden.png", "Thumbs.db", "__MACOSX/0.png"))
    assert sources.load(str(root)).warnings == ()


def test_warnings_about_the_source_outlast_another_draw(make):
    data = sources.load(str(make("cat", "dog", ".")))
    assert splits.split(data, 1).warnings == data.warnings != ()


@pytest.mark.parametrize("source", ["~no such user/data", "classes:~no such user/data", "classes:/nowhere"])
def test_a_folder_that_is_not_there_is_one_line(source):
    with pytest.raises(InputError, match="does not exist"):
        sources.load(source)


def test_evaluation_needs_no_training_images(make):
    root = make(*within("val", "test"))
    data = sources.load_test(str(root))
    assert data.class_names == ("cat", "dog")
    assert {data.shown(path).partition("/")[0] for path in data.paths} == {"test"}


def test_evaluation_without_a_test_split_does_not_claim_one(make):
    data = sources.load_test(str(make(*within("train", "val"))))
    assert (len(data), data.given_splits) == (16, frozenset())


# ---------------------------------------------------------------------------------------------------
# Long images


@pytest.mark.parametrize(
    ("size", "told"),
    [((60, 10), True), ((10, 60), True), ((32, 20), True), ((50, 33), False), ((30, 20), False)],
)
def test_images_whose_ends_are_cut_off_are_told(size, told, make):
    data = sources.load(str(make("cat", "dog", size=size)))
    assert (data.longer_sides == max(size)).all()
    for found in (data, sources.load_test(data.source)):
        warnings = checks.long_images(found)
        assert any("8 of 8 images are long, as cat/0.png" in warning for warning in warnings) == told


def test_a_few_long_images_are_not_told(make):
    root = make("cat", "dog")
    for i in range(3):
        Image.new("RGB", (90, 10), (0, i, 90)).save(root / "cat" / f"long {i}.png")
    assert checks.long_images(sources.load(str(root))) == []


# ---------------------------------------------------------------------------------------------------
# Names of classes


def test_numbers_are_in_natural_order(make):
    names = ("0", "1", "2", "007", "7", "10", "11", "9" * 100, "x2", "x10", "²")
    data = sources.load(str(make(*sorted(names))))
    assert data.class_names == names
    assert sources.load_test(data.source).class_names == names


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000, "٣", "²", "①"])
def test_any_digits_can_be_sorted(digits):
    names = ["10", digits, "2", f"a{digits}", f"0{digits}", ""]
    in_order = sorted(names, key=natural_order)
    names.reverse()
    assert sorted(names, key=natural_order) == in_order
    assert in_order.index("2") < in_order.index("10")


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("caf\u00e9", "cafe\u0301", "classes 'cafe\\u0301' and 'caf\\xe9' look alike"),
        ("cat", "cat\u200b", "classes 'cat' and 'cat\\u200b' look alike"),
        ("cat", "\u202ecat", "classes '\\u202ecat' and 'cat' look alike"),
    ],
)
def test_names_that_print_alike_are_told_so_that_one_sees_the_difference(one, other, shown, make):
    data = sources.load(str(make(one, other)))
    assert len(data.class_names) == 2
    assert [warning for warning in data.warnings if shown in warning]
    assert not set("\u200b\u202e") & set("".join((*data.class_names, *map(data.shown, data.paths))))


def test_a_class_under_two_names_in_two_splits_is_told(make):
    root = make("train/Cat", "train/dog", "test/bird", "test/cat", "test/dog")
    with pytest.raises(InputError, match=r"'cat' has no images in the training split; .* looks like 'Cat'"):
        sources.load(str(root))


def test_two_folders_that_would_be_shown_alike_do_not_become_one_class(make):
    root = make("line\nbreak", "line\\nbreak", "cat")
    with pytest.raises(InputError, match=r"two classes of .* are shown as"):
        sources.load(str(root))

"""Data sets as phones, scrapers and hospitals leave them: a clear answer, or a warning and a right result."""

import csv
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor.cli import main
from advisor.data import images, sources
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS


def noise(seed: int, size: int = 32, mean: float = 128.0) -> Image.Image:
    pixels = np.random.default_rng(seed).normal(mean, 40, (size, size, 3)).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def fill(folder: Path, count: int, seed: int = 0) -> Path:
    """Write so many different PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise(1000 * seed + i, mean=60 + 60 * (seed % 3)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    """Two classes, a and b, of eight images."""
    fill(tmp_path / "data" / "a", 8, seed=1)
    fill(tmp_path / "data" / "b", 8, seed=2)
    return tmp_path / "data"


def reasons(loaded: Dataset) -> dict[str, str]:
    return {item.path: item.reason for item in loaded.skipped}


# ---------------------------------------------------------------------------------------------------
# Nothing to learn from


def nothing_at_all(root: Path) -> None:
    pass


def files_without_folders(root: Path) -> None:
    fill(root, 3)


def one_class(root: Path) -> None:
    fill(root / "only", 5)


def one_image_in_a_class(root: Path) -> None:
    fill(root / "many", 5, seed=1)
    fill(root / "few", 1, seed=2)


def no_readable_image_in_a_class(root: Path) -> None:
    fill(root / "good", 5)
    (root / "bad").mkdir()
    (root / "bad" / "page.png").write_text("<html>404</html>")


def empty_test_split(root: Path) -> None:
    for label in "ab":
        fill(root / "train" / label, 4, seed=ord(label))
    shutil.copytree(root / "train", root / "test")  # nothing but copies


def class_without_training_images(root: Path) -> None:
    for label in "ab":
        fill(root / "train" / label, 4, seed=ord(label))
    fill(root / "test" / "c", 3)


def splits_beside_classes(root: Path) -> None:
    fill(root / "train" / "a", 3)
    fill(root / "cats", 3)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (nothing_at_all, "no class folders; make one folder"),
        (files_without_folders, "no class folders; make one folder"),
        (one_class, "one class only ('only'); add"),
        (one_image_in_a_class, "'few' has 1 readable image; add images"),
        (no_readable_image_in_a_class, "'bad' has 0 readable images (the first skipped: bad/page.png"),
        (empty_test_split, "the test split"),
        (class_without_training_images, "'c' has no images in the training split; add some"),
        (splits_beside_classes, "holds both train/ and cats/"),
    ],
)
@pytest.mark.parametrize("command", ["recommend", "run"])
def test_too_little_is_refused(command, build, says, tmp_path, refused):
    root, run = tmp_path / "data", tmp_path / "run"
    root.mkdir()
    build(root)
    more = ["--auto", "--output", str(run)] if command == "run" else []
    assert says in refused(command, str(root), *more)
    assert not run.exists()


def test_what_is_no_data(tmp_path, refused):
    (file := tmp_path / "notes.txt").write_text("path,label")
    assert "does not exist" in refused("recommend", str(tmp_path / "nowhere"))
    assert "give a folder of class folders, or a file of these: .zip" in refused("recommend", str(file))
    assert "sklearn:digits" in refused("recommend", "sklearn:iris")


@pytest.mark.parametrize(("classes", "each"), [(2, 2), (2, 3), (500, 2), (7, 2)])
def test_few_images_of_each_class(classes, each, tmp_path):
    for number in range(classes):
        folder = tmp_path / f"{number:03}"
        folder.mkdir()
        for i in range(each):
            Image.new("RGB", (9, 9), (number % 250, number // 250, i)).save(folder / f"{i}.png")
    loaded = sources.load(str(tmp_path))
    assert (len(loaded), len(loaded.class_names)) == (classes * each, classes)
    assert all(len(loaded.indices(split)) for split in SPLITS)
    assert set(loaded.labels[loaded.indices("train")]) == set(range(classes))


# ---------------------------------------------------------------------------------------------------
# Files that are no images


def truncated(image: Image.Image, ending: str, folder: Path) -> bytes:
    image.save(folder / f"whole{ending}")
    content = (folder / f"whole{ending}").read_bytes()
    (folder / f"whole{ending}").unlink()
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("zero.jpg", b"", "empty"),
        ("text.jpg", b"this is no picture", "not an image"),
        ("page.png", b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "convert it to JPEG"),
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "not an image"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_files_that_are_no_images_are_named(name, content, says, data):
    (data / "a" / name).write_bytes(content)
    loaded = sources.load(str(data))
    assert len(loaded) == 16
    assert says in reasons(loaded)[f"a/{name}"]


@pytest.mark.parametrize("ending", [".jpg", ".png", ".gif", ".webp", ".avif", ".bmp"])
def test_truncated_files_are_named_when_they_are_decoded(ending, tmp_path):
    file = tmp_path / f"half{ending}"
    file.write_bytes(truncated(noise(0, 100), ending, tmp_path))
    with pytest.raises(images.UnreadableImage, match=r"damaged|not an image|could not create decoder"):
        images.load_square(file, 32)


def png(width: int, height: int, rows: int) -> bytes:
    """A one-bit PNG whose header promises height rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    body = zlib.compress(bytes((width // 8 + 1) * rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_bomb_is_refused_by_its_pixels(data):
    (data / "a" / "bomb.png").write_bytes(png(30_000, 30_000, 30_000))
    loaded = sources.load(str(data))
    assert reasons(loaded) == {"a/bomb.png": "30000 x 30000 pixels; the limit is 200,000,000 pixels"}
    with pytest.raises(images.UnreadableImage, match="30000 x 30000"):
        images.read(data / "a" / "bomb.png")


def test_special_files_do_not_hang(data):
    os.mkfifo(data / "a" / "pipe.png")
    (data / "a" / "folder.png").mkdir()
    (data / "a" / "zero.png").symlink_to("/dev/zero")
    assert reasons(sources.load(str(data))).keys() == {"a/pipe.png", "a/zero.png"}


# ---------------------------------------------------------------------------------------------------
# Names, clutter, links, permissions

ODD_NAMES = (
    "two words",
    'it\'s "quoted"',
    "line\nbreak",
    "Schnüffelhöhle 猫 👩‍🔬",
    "#1",
    "-rf",
    "percent%20",
    "tab\there",
    "[red]markup",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name, tmp_path):
    fill(tmp_path / "plain", 4, seed=1)
    fill(tmp_path / name, 4, seed=2)
    noise(99).save(tmp_path / "plain" / f"{name}.png")
    (tmp_path / "plain" / f"{name}.txt").write_text("no image")
    loaded = sources.load(str(tmp_path))
    shown = name.replace("\n", "\\n").replace("\t", "\\t")
    assert set(loaded.class_names) == {"plain", shown}
    assert len(loaded) == 9
    assert reasons(loaded).keys() == {f"plain/{shown}.txt"}


def test_names_that_are_no_unicode(data):
    """A Latin-1 name, as old archives have them."""
    os.rename(data / "b", os.fsencode(data) + b"/caf\xe9")
    (data / "a" / "x.txt").write_text("no image")
    os.rename(data / "a" / "x.txt", os.fsencode(data) + b"/a/\xff.txt")
    loaded = sources.load(str(data))
    assert loaded.class_names == ("a", "caf\\udce9")
    assert reasons(loaded).keys() == {"a/\\udcff.txt"}
    json.dumps([*loaded.class_names, *map(loaded.shown, loaded.paths)]).encode()
    assert len(loaded.fingerprint()) == 16
    assert images.load_square(loaded.paths[-1], 8).shape == (8, 8, 3)


def test_a_data_folder_whose_name_is_no_unicode(data, tmp_path, capsys):
    os.rename(data, os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(SystemExit) as end:
        main(["recommend", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"), "--sample", "16"])
    assert (end.value.code, "Traceback" in capsys.readouterr().err) == (0, False)


def test_headers_alone_are_refused_when_they_are_decoded(data, tmp_path, capsys):
    """An aborted download: every file begins as it should."""
    for file in data.glob("*/*.png"):
        file.write_bytes(truncated(noise(int(file.stem) + len(file.parent.name)), ".png", tmp_path))
    with pytest.raises(SystemExit) as end:
        main(["recommend", str(data)])
    error = capsys.readouterr().err
    assert end.value.code == 2, error
    assert "Traceback" not in error


def test_clutter_is_no_data(data):
    for name in (".hidden.png", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (data / "a" / name).write_bytes(b"clutter")
    fill(data / "__MACOSX" / "a", 2)
    fill(data / ".ipynb_checkpoints", 2)
    fill(data / "a" / "__MACOSX", 2)
    (data / "README.txt").write_text("about the data")
    loaded = sources.load(str(data))
    assert (len(loaded), loaded.class_names, loaded.skipped) == (16, ("a", "b"), ())


def test_empty_class_folder_is_named(data):
    (data / "c").mkdir()
    loaded = sources.load(str(data))
    assert reasons(loaded) == {"c": "no files in it"}
    assert loaded.class_names == ("a", "b")


def test_links(data, tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", 3, seed=5)
    (data / "c").symlink_to(elsewhere)
    (data / "a" / "linked.png").symlink_to(fill(tmp_path / "one", 1, seed=6) / "0.png")
    (data / "a" / "broken.png").symlink_to(tmp_path / "gone.png")
    (data / "a" / "itself.png").symlink_to(data / "a" / "itself.png")
    loaded = sources.load(str(data))
    assert list(loaded.counts()) == [9, 8, 3]
    assert reasons(loaded).keys() == {"a/broken.png", "a/itself.png"}


@pytest.mark.parametrize("place", ["a/loop", "a/deep/loop", "loop"])
@pytest.mark.parametrize("target", [".", "..", "class"])
def test_link_loops_bring_in_no_other_class(place, target, data):
    """A link to a folder that holds other classes would label their images as this class."""
    link = data / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to({".": data, "..": data.parent, "class": link.parent}[target])
    loaded = sources.load(str(data))
    assert list(loaded.counts()) == [8, 8]
    assert loaded.class_names == ("a", "b")


@pytest.fixture
def nobody():
    """A folder, and a process that may not do everything, as root may."""
    folder = Path(tempfile.mkdtemp(prefix="advisor-test-"))
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    folder.chmod(0o755)
    if root:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    try:
        yield folder
    finally:
        if root:
            os.setresuid(0, 0, 0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("place", ["", "b"])
def test_folder_without_permission(place, nobody, refused):
    for label in "ab":
        fill(nobody / "data" / label, 4, seed=ord(label))
    (locked := nobody / "data" / place).chmod(0)
    message = refused("recommend", str(nobody / "data"))
    assert str(locked) in message
    assert "check its permissions" in message


def test_folder_inside_one_without_permission(nobody, refused):
    fill(nobody / "locked" / "data" / "a", 2)
    (nobody / "locked").chmod(0)
    assert "check its permissions" in refused("recommend", str(nobody / "locked" / "data"))


def test_folder_and_file_without_permission_inside_a_class(nobody):
    for label in "ab":
        fill(nobody / label, 4, seed=ord(label))
    fill(nobody / "a" / "locked", 2, seed=7).chmod(0)
    (nobody / "b" / "0.png").chmod(0)
    loaded = sources.load(str(nobody))
    assert len(loaded) == 7
    assert reasons(loaded) == {"a/locked": "Permission denied", "b/0.png": "Permission denied"}


# ---------------------------------------------------------------------------------------------------
# Labels and splits


def test_classes_that_differ_by_case_are_named(data):
    fill(data / "A", 4, seed=3)
    fill(data / "b ", 4, seed=4)
    loaded = sources.load(str(data))
    assert len(loaded.class_names) == 4
    assert any("'A' and 'a' look alike" in warning for warning in loaded.warnings)
    assert any("'b' and 'b ' look alike" in warning for warning in loaded.warnings)


def test_same_image_in_two_classes_is_named(data):
    shutil.copy(data / "a" / "0.png", data / "b" / "again.png")
    loaded = sources.load(str(data))
    assert any("a/0.png = b/again.png" in warning and "two classes" in warning for warning in loaded.warnings)


def test_copies_lie_in_one_split(data):
    """Where the splits are drawn, a copy goes where the original is."""
    for i in range(8):
        shutil.copy(data / "a" / f"{i}.png", data / "a" / f"{i} copy.png")
    for seed in range(5):
        loaded = sources.load(str(data), seed)
        split = dict(zip(map(loaded.shown, loaded.paths), loaded.splits, strict=True))
        assert all(split[f"a/{i}.png"] == split[f"a/{i} copy.png"] for i in range(8))
        assert all(len(loaded.indices(name)) for name in SPLITS)


def test_training_images_are_kept_out_of_a_given_test_split(tmp_path):
    for split, seed in (("train", 1), ("test", 5)):
        for label in "ab":
            fill(tmp_path / split / label, 6, seed=seed + ord(label))
    shutil.copy(tmp_path / "train" / "a" / "0.png", tmp_path / "test" / "a" / "leak.png")
    loaded = sources.load(str(tmp_path))
    assert "test/a/leak.png" not in map(loaded.shown, loaded.paths)
    assert "train/a/0.png" in map(loaded.shown, loaded.paths)
    assert any("test/a/leak.png" in warning and "left out" in warning for warning in loaded.warnings)


def test_class_that_is_not_tested_is_named(tmp_path):
    for label in "abc":
        fill(tmp_path / "train" / label, 4, seed=ord(label))
    for label in "ab":
        fill(tmp_path / "test" / label, 4, seed=10 + ord(label))
    loaded = sources.load(str(tmp_path))
    assert "the test split has no images of c" in loaded.warnings


# ---------------------------------------------------------------------------------------------------
# CSV files


def write_csv(folder: Path, rows: list[list[str]], encoding="utf-8", line_end="\n") -> str:
    with (folder / "labels.csv").open("w", newline="", encoding=encoding) as file:
        csv.writer(file, lineterminator=line_end).writerows([["path", "label"], *rows])
    return str(folder / "labels.csv")


@pytest.fixture
def rows(data) -> list[list[str]]:
    """Of a CSV file in the folder `data`."""
    return [[f"{label}/{i}.png", label] for label in "ab" for i in range(8)]


@pytest.mark.parametrize(("encoding", "line_end"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", "\r")])
def test_csv_of_other_systems(encoding, line_end, data, rows):
    loaded = sources.load(write_csv(data, rows, encoding, line_end))
    assert (len(loaded), loaded.class_names) == (16, ("a", "b"))


def test_csv_paths(data, rows, tmp_path):
    """Absolute ones and those that leave the folder are what the user wrote, and are read."""
    away = fill(tmp_path / "away", 2, seed=9)
    loaded = sources.load(write_csv(data, [*rows, [str(away / "0.png"), "a"], ["../away/1.png", "b"]]))
    assert list(loaded.counts()) == [9, 9]
    assert str(away / "0.png") in map(loaded.shown, loaded.paths)


def test_csv_rows_that_are_left_out_are_named(data, rows):
    odd = [
        ["missing.png", "a"],
        ["a/0.png", "a"],
        ["", "a"],
        ["a/1.png"],
        ["a", "b"],
        ["zero\0byte.png", "a"],
    ]
    loaded = sources.load(write_csv(data, [*rows, *odd]))
    assert len(loaded) == 16
    found = reasons(loaded)
    assert found["missing.png"] == "No such file or directory"
    assert found["labels.csv line 19"] == "the same row again"
    assert found["labels.csv line 20"] == found["labels.csv line 21"] == "path or label is empty"
    assert found["a"] == "Is a directory"
    assert "null" in found["zero\\x00byte.png"]


def test_csv_with_two_labels_for_a_file(data, rows):
    loaded = sources.load(write_csv(data, [*rows, ["a/0.png", "b"]]))
    assert any("two classes: a/0.png = a/0.png" in warning for warning in loaded.warnings)


def test_csv_with_a_file_in_two_splits(data):
    lines = ["path,label,split"]
    for label in "ab":
        lines += [f"{label}/{i}.png,{label},{'Train' if i < 6 else 'VAL'}" for i in range(8)]
    lines += ["a/0.png,a,test", "b/7.png,b,test", "a/7.png,a,valid"]
    fill(data / "more", 2, seed=8)
    lines += ["more/0.png,a,test", "more/1.png,b,test"]
    (data / "labels.csv").write_text("\n".join(lines))
    loaded = sources.load(str(data / "labels.csv"))
    tested = {loaded.shown(loaded.paths[i]) for i in loaded.indices("test")}
    assert tested == {"more/0.png", "more/1.png"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column 'path', and none whose values name images"),
        (b"a/0.png,a\n", "its first line must name the columns, as path,label"),
        (b"path;kind\na/0.png;a\n", "no column 'label', and none with few different values"),
        (b"path,label\n", "lists no images"),
        (b"path,label,split\na/0.png,a,dev\n", "line 2: unknown split 'dev'; use train"),
        ("path,label\nä.png,a\n".encode("utf-16"), "not UTF-8"),
        ("path,label\nä.png,a\n".encode("latin-1"), "not UTF-8"),
        (b"path,label\nnone.png,a\nno.png,b\n", "no readable images (the first skipped: none.png"),
        (b'path,label\n"' + b"x" * 200_000 + b'",a\n', "field larger than field limit"),
    ],
    ids=["empty", "no names", "no label", "no rows", "split", "utf-16", "latin-1", "missing", "huge"],
)
def test_csv_that_is_refused(content, says, data, refused):
    (data / "labels.csv").write_bytes(content)
    message = refused("recommend", str(data / "labels.csv"))
    assert says in message
    assert "labels.csv" in message

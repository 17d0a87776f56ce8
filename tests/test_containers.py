"""Data as people have them: in archives, tables and arrays. Each is the same data as a plain folder."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import advisor
from advisor.cli import main
from advisor.data import containers, sources
from advisor.data.containers import tar_file, unpacking, zip_file
from advisor.data.copies import content
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.system import cache

CLASSES = ("ants", "bees")
EACH = 16
SIDE = 96  # of pictures that have to be of one size


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A folder of class folders with photographs, or coloured noise where there are none."""
    root, real = tmp_path_factory.mktemp("plain"), os.environ.get("ADVISOR_DATA")
    generator = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (root / name).mkdir()
        if real:
            for path in sorted(Path(real, "hymenoptera", name).iterdir())[:EACH]:
                shutil.copy(path, root / name)
        else:
            for i in range(EACH):
                pixels = generator.normal(100 + 60 * number, 50, (SIDE, SIDE, 3)).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}{i:03}.png")
    return root


def listed(plain: Path) -> list[tuple[Path, str]]:
    """Each file of the plain folder, with its label."""
    return [(path, name) for name in CLASSES for path in sorted((plain / name).iterdir())]


def zipped(plain: Path, root: Path) -> Path:
    return Path(shutil.make_archive(str(root / "images"), "zip", plain))


def tarred(plain: Path, root: Path) -> Path:
    return Path(shutil.make_archive(str(root / "images"), "gztar", plain))


def zipped_with_wrappers(plain: Path, root: Path) -> Path:
    shutil.copytree(plain, root / "archive" / "dataset")
    (root / "archive" / "README.md").write_text("about")
    return Path(shutil.make_archive(str(root / "images"), "zip", root, "archive"))


def a_folder_with_an_archive(plain: Path, root: Path) -> Path:
    (root / "download").mkdir()
    shutil.make_archive(str(root / "download" / "images"), "zip", plain)
    (root / "download" / "readme.txt").write_text("about")
    return root / "download"


def parquet(plain: Path, root: Path) -> Path:
    """Two files as the Hugging Face Hub has them."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": path.read_bytes(), "path": path.name} for path, _ in listed(plain)]
    table = pa.table({"image": images, "label": [CLASSES.index(name) for _, name in listed(plain)]})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (root / "data").mkdir()
    for number, at in enumerate((0, EACH)):
        pq.write_table(table.slice(at, EACH), root / "data" / f"train-{number:05}-of-00002.parquet")
    return root / "data"


def a_folder_of_one_table_and_images(plain: Path, root: Path) -> Path:
    """As Kaggle has it: ids without endings, an index, and images of which the table says nothing."""
    (root / "images").mkdir()
    lines = [",id,breed"]
    for i, (path, name) in enumerate(listed(plain)):
        shutil.copy(path, root / "images" / f"x{i:03}{path.suffix}")
        lines.append(f"{i},x{i:03},{name}")
    Image.new("RGB", (9, 9)).save(root / "images" / "more.png")
    (root / "train.csv").write_text("\n".join(lines))
    return root


def one_hot(plain: Path, root: Path) -> Path:
    """As the skin-lesion challenges publish it, and in the encoding and with the line ends of Windows."""
    lines = ["image;ants;bees"]
    lines += [f"{path.stem};{float(name == 'ants')};{float(name == 'bees')}" for path, name in listed(plain)]
    (root / "truth.csv").write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    shutil.copytree(plain, root / "images")
    return root


def semicolons(plain: Path, root: Path) -> Path:
    lines = ["file;kind", *(f"{path};{name}" for path, name in listed(plain))]
    (root / "table.csv").write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    return root / "table.csv"


def tabs(plain: Path, root: Path) -> Path:
    with (root / "table.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["label", "path"], *((b, a) for a, b in listed(plain))])
    return root / "table.tsv"


def json_lines(plain: Path, root: Path) -> Path:
    lines = [json.dumps({"file_name": str(path), "class": name, "n": 1}) for path, name in listed(plain)]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root / "metadata.jsonl"


LAYOUTS = [
    *(zipped, tarred, zipped_with_wrappers, a_folder_with_an_archive, parquet),
    *(a_folder_of_one_table_and_images, one_hot, semicolons, tabs, json_lines),
]


def known(data: Dataset) -> list[tuple[str, str, int]]:
    """What is in the files, their labels and splits, in order."""
    names = [data.class_names[label] for label in data.labels]
    return [
        (content(path), *rest) for path, *rest in zip(data.paths, names, data.splits.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def usual(plain) -> dict:
    """The advice for the plain folder."""
    return advisor.recommend(str(plain)).to_json()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_is_the_same_data_and_gets_the_same_advice(layout, plain, usual, tmp_path):
    made = layout(plain, tmp_path)
    assert known(sources.load(str(made))) == known(sources.load(str(plain)))
    own = advisor.recommend(str(made)).to_json()
    assert own["dataset"]["class_names"] == list(CLASSES)
    for part in ("similarity", "recipe", "quadrants", "evidence"):
        assert own[part] == usual[part]


def test_arrays_as_medmnist_writes_them_are_the_same_data(plain, tmp_path):
    """Pictures in an array have one size, and so have those of the folder here."""
    arrays: dict[str, list] = {}
    for i, (path, name) in enumerate(listed(plain)):
        split = ("train", "train", "val", "test")[i % 4]
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE)))
        arrays.setdefault(f"{split}_images", []).append(pixels)
        arrays.setdefault(f"{split}_labels", []).append([CLASSES.index(name)])
        folder = tmp_path / "folder" / split / str(CLASSES.index(name))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    np.savez_compressed(tmp_path / "kinds.npz", **{name: np.array(of) for name, of in arrays.items()})
    own, usual = sources.load(str(tmp_path / "kinds.npz")), sources.load(str(tmp_path / "folder"))
    assert sorted(known(own)) == sorted(known(usual))
    assert own.given_splits == {"train", "validation", "test"}
    assert own.shown(own.paths[0]) == "train/000000.png"


def test_grey_arrays_and_one_hot_labels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    labels = np.eye(2, dtype=np.uint8)[np.arange(12) % 2]
    np.savez(tmp_path / "grey.npz", train_images=pixels, train_labels=labels)
    data = sources.load(str(tmp_path / "grey.npz"))
    assert (len(data), data.class_names) == (12, ("label 0", "label 1"))
    with Image.open(data.paths[5]) as image:
        assert (np.asarray(image) == pixels[5]).all()


@pytest.mark.slow
def test_a_run_on_an_archive_is_evaluated_on_it_and_on_the_folder(plain, tmp_path, capsys):
    made, run = zipped_with_wrappers(plain, tmp_path), tmp_path / "run"
    how = ["--recipe", "feature_extraction", "--image-size", "64", "--output", str(run), "--json"]
    for command in (
        ["run", str(made), *how],
        *(["evaluate", str(run), str(at), "--json"] for at in (made, plain)),
    ):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["test"]["accuracy"] == told[1]["accuracy"] == told[2]["accuracy"]
    assert told[1]["used"] == told[2]["used"] == "the run's own test split"


# ---------------------------------------------------------------------------------------------------
# Unpacked once, and kept while it is in use


def test_it_is_unpacked_once_and_again_when_it_changes(plain, tmp_path):
    made = zipped(plain, tmp_path)
    first = sources.load(str(made))
    inode = Path(first.paths[0]).stat().st_ino
    assert Path(sources.load(str(made)).paths[0]).stat().st_ino == inode
    Path(first.paths[0]).unlink()
    again = sources.load(str(made))
    assert again.fingerprint() == first.fingerprint()
    os.utime(made, (1, 1))
    assert sources.load(str(made)).root != first.root


def test_what_is_in_use_stays_in_the_cache(plain, tmp_path, monkeypatch):
    data = sources.load(str(zipped(plain, tmp_path)))
    monkeypatch.setattr(cache, "MOST_BYTES", 1)
    cache.trim()
    assert all(map(os.path.exists, data.paths))


def test_an_interrupted_unpacking_is_done_again(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for i in range(3000):
            file = io.BytesIO()
            Image.new("RGB", (8, 8), (i % 256, i // 256, 0)).save(file, "PNG")
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", file.getvalue())
    own = {**os.environ, "ADVISOR_CACHE": str(tmp_path / "cache")}
    code = "import sys; from advisor.data import sources; sources.load(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "images.zip")]
    for end in (signal.SIGINT, signal.SIGKILL):
        running = subprocess.Popen(command, env=own, stderr=subprocess.DEVNULL)
        while running.poll() is None and not list(tmp_path.glob("cache/data/.unpacked-*/a")):
            time.sleep(0.001)
        running.send_signal(end)
        running.wait()
        assert running.returncode != 0
        assert not list(tmp_path.glob("cache/data/unpacked-*"))
        assert bool(list(tmp_path.glob("cache/data/.unpacked-*"))) == (end == signal.SIGKILL)
    assert subprocess.run(command, env=own).returncode == 0
    assert len(list(tmp_path.glob("cache/data/unpacked-*/*/*.png"))) == 3000


def test_a_message_names_the_archive_and_not_the_place_in_the_cache(tmp_path, plain):
    shutil.copytree(plain, tmp_path / "in" / "val")
    made = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "in")
    with pytest.raises(
        InputError, match=f"{made} holds val/ but no train/.*give classes:{made} if"
    ) as refused:
        sources.load(made)
    assert "unpacked-" not in str(refused.value)
    assert sources.load(f"{made}/val").class_names == CLASSES
    with pytest.raises(InputError, match=f"{made}/nothing does not exist"):
        sources.load(f"{made}/nothing")


# ---------------------------------------------------------------------------------------------------
# Archives of strangers


def zip_of(path: Path, *names: str, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"x")
        for name, data in more.items():
            archive.writestr(name, data)
    return path


def zip_with_a_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("a/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/link/x", b"x")
    return path


def tar_of(path: Path, *members: tuple[str, bytes, str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


def tar_with_a_long_header(path: Path) -> Path:
    """A file whose extended header claims to have three gigabytes, which gzip makes small."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf())
        file.write(bytes(1 << 20))
    return path


def tar_that_is_sparse(path: Path) -> Path:
    """A terabyte of nothing in a kilobyte."""
    info = tarfile.TarInfo("a/x.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(bytes(block) + bytes(512 * 3))
    return path


def zip_with_a_long_list(path: Path) -> Path:
    zip_of(path, "a/x")
    whole = bytearray(path.read_bytes())
    end = whole.rfind(b"PK\5\6")
    whole[end + 12 : end + 16] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(bytes(zip_file.LONGEST_LIST and whole))
    return path


def quine(path: Path) -> Path:
    """Archives in each other, four deep."""
    inner = zip_of(path.with_name("0.zip"), "a/x")
    for depth in range(1, 4):
        inner = zip_of(path.with_name(f"{depth}.zip"), **{"in.zip": inner.read_bytes()})
    return inner.rename(path)


HOSTILE = [
    ("up.zip", lambda path: zip_of(path, "../x"), "'../x', which leads out of it"),
    ("up.zip", lambda path: zip_of(path, "a/../../x"), "which leads out of it"),
    ("up.zip", lambda path: zip_of(path, "..\\x"), "which leads out of it"),
    ("root.zip", lambda path: zip_of(path, "/tmp/x"), "which leads out of it"),
    ("drive.zip", lambda path: zip_of(path, "C:/x"), "which leads out of it"),
    ("link.zip", zip_with_a_link, "'a/link', which is a link or a device"),
    ("both.zip", lambda path: zip_of(path, "a", "a/x"), "which cannot be a file here"),
    ("long.zip", lambda path: zip_of(path, "x" * 300), "which cannot be a file here"),
    ("bomb.zip", lambda path: zip_of(path, **{"a/x.png": bytes(300_000_000)}), "becomes more than"),
    ("text.zip", lambda path: path.write_bytes(b"text") and path, "is damaged or no ZIP archive"),
    ("deep.zip", quine, "is an archive in an archive in another"),
    ("up.tar", lambda path: tar_of(path, ("../x", tarfile.REGTYPE, "")), "leads out of it"),
    ("root.tar", lambda path: tar_of(path, ("/tmp/x", tarfile.REGTYPE, "")), "leads out of it"),
    ("link.tar", lambda path: tar_of(path, ("a", tarfile.SYMTYPE, "/")), "'a', which is a link or a device"),
    ("hard.tar", lambda path: tar_of(path, ("a", tarfile.LNKTYPE, "/etc/x")), "a link or a device"),
    ("pipe.tar", lambda path: tar_of(path, ("a", tarfile.FIFOTYPE, "")), "a link or a device"),
    ("disk.tar", lambda path: tar_of(path, ("a", tarfile.BLKTYPE, "")), "a link or a device"),
    ("header.tgz", tar_with_a_long_header, "no TAR archive (a header in it is too long)"),
    ("sparse.tar", tar_that_is_sparse, "becomes more than"),
    ("text.tar", lambda path: path.write_bytes(b"text" * 400) and path, "is damaged or no TAR archive"),
    ("cut.tgz", lambda path: path.write_bytes(gzip.compress(bytes(9999))[:20]) and path, "no TAR archive"),
]


@pytest.mark.parametrize(("name", "make", "says"), HOSTILE, ids=[f"{case[0]} {case[2]}" for case in HOSTILE])
def test_hostile_archives_are_refused_in_one_line(name, make, says, tmp_path, refused):
    made = make(tmp_path / name)
    cache = Path(os.environ["ADVISOR_CACHE"])
    places = tmp_path, tmp_path.parent, cache, cache / "data"  # where it would land by "../x"
    before = {found for place in places for found in place.glob("x*")}
    assert says in (message := refused("recommend", str(made)))
    assert "unpacked-" not in message
    assert {found for place in places for found in place.glob("x*")} == before
    assert not list((cache / "data").glob(".unpacked-*"))


def test_a_list_of_files_that_would_fill_the_memory_is_not_read(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(zip_file, "LONGEST_LIST", 40)
    made = zip_of(tmp_path / "many.zip", "a/x")
    assert "has too long a list of files" in refused("recommend", str(made))


def test_too_many_files_and_too_few_bytes_on_the_disk(tmp_path, refused, monkeypatch):
    made = zip_of(tmp_path / "many.zip", *(f"a/{i}" for i in range(5)))
    monkeypatch.setattr(unpacking, "SPARE_BYTES", 1 << 60)
    assert "does not fit on the disk" in refused("recommend", str(made))
    monkeypatch.setattr(unpacking, "MOST_FILES", 4)
    monkeypatch.setattr(unpacking, "SPARE_BYTES", 0)
    assert "holds more than 4 files" in refused("recommend", str(made))


def test_a_password_is_told(tmp_path, refused):
    made = zip_of(tmp_path / "secret.zip", "a/x")
    whole = bytearray(made.read_bytes())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        whole[whole.find(start) + flags] |= 1
    made.write_bytes(bytes(whole))
    assert "has a password" in refused("recommend", str(made))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": [1]}, "has no array train_images with train_labels"),
        ({"train_images": np.zeros((4, 8, 8), np.uint8)}, "is damaged or no .npz file"),
        ({"train_images": np.zeros((4, 8, 8)), "train_labels": [0, 1, 0, 1]}, "must be uint8"),
        ({"train_images": np.zeros((4, 8, 8, 8), np.uint8), "train_labels": [0, 1, 0, 1]}, "must be uint8"),
        ({"train_images": np.zeros((4, 8, 8), np.uint8), "train_labels": [0, 1]}, "4 images and 2 labels"),
        (
            {"train_images": np.zeros((4, 8, 8), np.uint8), "train_labels": np.array([{}, 1, 2, 3], object)},
            "labels in train_labels that are no list of numbers or words",
        ),
    ],
)
def test_arrays_that_are_no_images_are_refused(arrays, says, tmp_path, refused):
    np.savez(tmp_path / "data.npz", **arrays)
    assert says in refused("recommend", str(tmp_path / "data.npz"))


def test_damaged_parquet_and_parquet_without_pictures(tmp_path, refused):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "text.parquet").write_text("PAR1" * 9)
    assert "has a damaged Parquet file" in refused("recommend", str(tmp_path / "text.parquet"))
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "no.parquet")
    assert "has no column of pictures" in refused("recommend", str(tmp_path / "no.parquet"))


def test_parquet_without_its_library_says_what_to_install(tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").touch()
    assert "pip install 'transfer-advisor[parquet]'" in refused("recommend", str(tmp_path / "a.parquet"))


def test_several_archives_or_tables_are_named(tmp_path, plain, refused):
    for name in ("a", "b"):
        zip_of(tmp_path / f"{name}.zip", "x")
    assert "holds 2 archives, a.zip, b.zip; give one of them" in refused("recommend", str(tmp_path))
    assert containers.is_container(tmp_path / "a.zip")
    assert tar_file.ENDINGS == (".tar", ".tar.gz", ".tgz")

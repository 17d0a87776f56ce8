"""What lies in the cache is ours and as we wrote it, or it is made anew."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advisor import backbones
from advisor.data import packaged, sources
from advisor.errors import InputError
from advisor.evidence import embedding
from advisor.system import storage


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# ---------------------------------------------------------------------------------------------------
# The folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_folder_is_made_for_the_user_alone(cache, umask):
    before = os.umask(umask)
    try:
        assert mode(storage.cache_folder()) == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_others_may_read_is_closed(cache):
    cache.mkdir()
    cache.chmod(0o755)
    assert mode(storage.cache_folder()) == 0o700


@pytest.mark.parametrize("open_to", [0o777, 0o775, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(cache, refused, open_to, tmp_path):
    cache.mkdir()
    cache.chmod(open_to)
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            color = (number * 20, 0, 0 if label == "a" else 200)
            Image.new("RGB", (16, 16), color).save(tmp_path / "data" / label / f"{number}.png")
    said = refused("recommend", str(tmp_path / "data"))
    assert f"{cache} cannot hold the cache: others may write to it" in said
    assert "set ADVISOR_CACHE to a folder of your own" in said
    assert not list(cache.iterdir())


def test_a_folder_of_another_user_is_refused(cache, monkeypatch):
    storage.cache_folder()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InputError, match="it belongs to another user"):
        storage.cache_folder()


@pytest.fixture
def homeless(tmp_path, monkeypatch) -> Path:
    """A user whose own cache cannot be written; where temporary files are instead."""
    (tmp_path / "home").touch()
    monkeypatch.delenv("ADVISOR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"transfer-advisor-{os.geteuid()}"


def test_without_a_home_there_is_a_folder_for_temporary_files(homeless):
    assert storage.cache_folder() == homeless
    assert mode(homeless) == 0o700
    assert storage.cache_folder() == homeless


@pytest.mark.parametrize("taken", ["open", "link", "file", "other"])
def test_a_folder_for_temporary_files_that_another_took_is_refused(homeless, taken, monkeypatch):
    if taken == "open":
        homeless.mkdir()
        homeless.chmod(0o777)
    elif taken == "link":
        (homeless.parent / "mine").mkdir(0o700)
        homeless.symlink_to("mine")
    elif taken == "file":
        homeless.touch()
    else:
        homeless.mkdir(0o700)
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
        homeless.rename(homeless.parent / f"transfer-advisor-{owner + 1}")
    with pytest.raises(InputError, match="cannot hold the cache"):
        storage.cache_folder()


def test_what_is_replaced_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """The file, then its name."""
    seen = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (seen.append(os.path.realpath(f"/proc/self/fd/{handle}")), sync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append("replace"), replace(*names)))
    with storage.replacing(tmp_path / "file.txt") as unfinished:
        unfinished.write_text("whole")
    assert seen == [str(unfinished), "replace", str(tmp_path)]
    assert (tmp_path / "file.txt").read_text() == "whole"


# ---------------------------------------------------------------------------------------------------
# Features and flat buffers


@pytest.fixture
def embed(cache, tmp_path):
    for label, color in (("a", 60), ("b", 190)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((32, 32, 3), color + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    backbone = backbones.load("simple_cnn")
    data = sources.load(str(tmp_path / "data"))

    def embed(count: int) -> np.ndarray:
        return embedding.embed(backbone, data, np.arange(count), 32).features.values

    return embed


def only(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def emptied(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_within_the_digest(content: bytes) -> bytes:
    return content[:20]


def without_the_digest(content: bytes) -> bytes:
    return content[32:]


def changed_in_400_places(content: bytes) -> bytes:
    changed = bytearray(content)
    for place in range(100, len(content), max(1, len(content) // 400)):
        changed[place] ^= 0x5A
    return bytes(changed)


def longer(content: bytes) -> bytes:
    return content + b"\0"


def text(content: bytes) -> bytes:
    return b"<html>"


@pytest.mark.parametrize(
    "damage", [emptied, cut, cut_within_the_digest, without_the_digest, changed_in_400_places, longer, text]
)
def test_a_damaged_flat_buffer_is_made_anew(damage, embed, cache):
    before = embed(4)
    file = only(cache / "litert")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    only(cache / "features").unlink()
    np.testing.assert_array_equal(embed(4), before)
    kept = file.read_bytes()
    assert hashlib.sha256(kept[32:]).digest() == kept[:32]


def table_of(change):
    """Damage that goes by way of the table, with its columns."""

    def damage(file: Path) -> None:
        table = change(np.load(file))
        file.unlink()
        with file.open("wb") as out:
            np.save(out, table)

    return damage


def retyped(**types):
    def change(table: np.ndarray) -> np.ndarray:
        names = [(name, types.get(name, table.dtype[name])) for name in table.dtype.names]
        made = np.zeros(len(table), names)
        made["key"] = table["key"]
        return made

    return table_of(change)


def set_to(value: float):
    def change(table: np.ndarray) -> np.ndarray:
        table = table.copy()
        table[table.dtype.names[2]][1] = value
        return table

    return table_of(change)


def zipped(file: Path) -> None:
    table = np.load(file)
    file.unlink()
    with file.open("wb") as out:
        np.savez(out, table)


def with_bits_flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5000] ^= 1
    file.write_bytes(content)


def with_a_header_of_brackets(file: Path) -> None:
    header = b"(" * 5000
    file.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)


def rows_shuffled(table: np.ndarray) -> np.ndarray:
    table = table.copy()
    table["key"] = table["key"][::-1]
    return table


TABLES = {
    "flipped bits": with_bits_flipped,
    "not a number": set_to(np.nan),
    "infinite": set_to(np.inf),
    "other finite numbers": set_to(0.25),
    "another width": lambda file: retyped(**{first_tap(file): (np.float32, (3,))})(file),
    "a width of one number": lambda file: retyped(**{first_tap(file): np.float32})(file),
    "maps": lambda file: retyped(**{first_tap(file): (np.float32, (2, 2))})(file),
    "another precision": lambda file: retyped(**{first_tap(file): (np.float64, (16,))})(file),
    "text": lambda file: retyped(**{first_tap(file): "U8"})(file),
    "longer keys": retyped(key="S64"),
    "smaller thumbnails": retyped(thumbnail=(np.uint8, (8, 8))),
    "two dimensions": table_of(lambda table: table.reshape(2, -1)),
    "no rows": table_of(lambda table: table[:0]),
    "no columns": table_of(lambda table: np.zeros(4)),
    "no dimensions": table_of(lambda table: table[0]),
    "keys of other rows": table_of(rows_shuffled),
    "zipped": zipped,
    "brackets": with_a_header_of_brackets,
}


def first_tap(file: Path) -> str:
    return np.load(file, mmap_mode="r").dtype.names[2]


@pytest.mark.parametrize("damage", TABLES)
def test_a_damaged_table_is_computed_again(damage, embed, cache):
    before = embed(6)
    TABLES[damage](only(cache / "features"))
    np.testing.assert_array_equal(embed(4), before[:4])  # some of what the table claims to know
    np.testing.assert_array_equal(embed(6), before)
    assert only(cache / "features").stat().st_size > 0


# ---------------------------------------------------------------------------------------------------
# Data sets


def half_deleted(folder: Path) -> None:
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        if number % 2:
            file.unlink()


def cut_off(folder: Path) -> None:
    next(folder.rglob("*.png")).write_bytes(b"")


def joined_by_others(folder: Path) -> None:
    Image.new("L", (8, 8)).save(folder / "3" / "mine.png")


def listed_by_nobody(folder: Path) -> None:
    (folder / packaged.LISTING).unlink()


def turned_into_a_file(folder: Path) -> None:
    storage.remove(folder)
    folder.touch()


@pytest.mark.parametrize(
    "damage", [half_deleted, cut_off, joined_by_others, listed_by_nobody, turned_into_a_file]
)
def test_a_damaged_data_set_is_written_again(damage, cache, monkeypatch):
    from types import SimpleNamespace

    few = SimpleNamespace(target=np.arange(40) % 10, images=np.arange(40 * 64).reshape(40, 8, 8) % 17)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: few)
    folder = packaged.write_digits()
    whole = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert len(whole) == 41
    damage(folder)
    assert packaged.write_digits() == folder
    assert whole == {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    written = folder.stat().st_mtime_ns
    packaged.write_digits()
    assert folder.stat().st_mtime_ns == written

"""What lies in the cache is ours and as we wrote it, or it is made anew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from PIL import Image

from advisor import backbones
from advisor.cli import main
from advisor.data import packaged, sources, written_once
from advisor.errors import InputError
from advisor.evidence import embedding, feature_cache
from advisor.system import cache as contents_of_cache
from advisor.system import devices, speed, storage
from advisor.system.stopwatch import Stopwatch


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


def test_the_folder_is_where_the_system_wants_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ADVISOR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert storage.cache_folder() == tmp_path / "transfer-advisor"


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


def rows_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as base:
        return base.execute("SELECT count(*) FROM features").fetchone()[0]


def by(*commands: str):
    """Damage that goes by way of the database."""

    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as base, base:
            for command in commands:
                base.execute(command)

    return damage


def bytewise(change):
    """Damage that knows nothing of the database."""

    def damage(file: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return damage


def set_to(value: float):
    """The first number of each row, with the right checksum."""

    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as base, base:
            for path, identity, widths, row in base.execute(
                "SELECT path, identity, widths, row FROM features"
            ).fetchall():
                row = row[:608] + np.float32(value).tobytes() + row[612:]
                check = feature_cache._checksum(path, identity, widths, row)
                base.execute("UPDATE features SET row = ?, checksum = ? WHERE path = ?", (row, check, path))

    return damage


def anew(*commands: str):
    """A database of somebody else's in the place of ours."""

    def damage(file: Path) -> None:
        file.unlink()
        by(*commands)(file)

    return damage


def zipped(file: Path) -> None:
    with file.open("wb") as out:
        np.savez(out, np.zeros(3))


def with_a_journal_of_nothing(file: Path) -> None:
    Path(f"{file}-journal").write_bytes(b"nothing" * 1000)


DATABASES = {
    "emptied": bytewise(emptied),
    "half": bytewise(cut),
    "a header alone": bytewise(lambda content: content[:100]),
    "text": bytewise(text),
    "longer": bytewise(longer),
    "flipped bits": bytewise(lambda content: content[:-3000] + b"Z" + content[-2999:]),
    "flipped everywhere": bytewise(changed_in_400_places),
    "a damaged schema": bytewise(lambda content: content.replace(b"CREATE TABLE", b"CREATE TABEL")),
    "zipped": zipped,
    "a journal of nothing": with_a_journal_of_nothing,
    "no rows": by("DELETE FROM features"),
    "no table": by("DROP TABLE features"),
    "another table": anew("CREATE TABLE other (a)"),
    "other columns": anew("CREATE TABLE features (a, b)"),
    "a view": anew("CREATE TABLE other (a)", "CREATE VIEW features AS SELECT a FROM other"),
    "columns that want numbers": anew(
        "CREATE TABLE features (path BLOB PRIMARY KEY, identity BLOB, widths INTEGER CHECK (widths < 'a'), "
        "checksum INTEGER, row BLOB)"
    ),
    "text for rows": by("UPDATE features SET row = 'text'"),
    "text that is no UTF-8": by("UPDATE features SET row = CAST(x'ff80' AS TEXT)"),
    "numbers for rows": by("UPDATE features SET row = 3"),
    "nothing for rows": by("UPDATE features SET row = NULL, checksum = NULL"),
    "shorter rows": by("UPDATE features SET row = x'00'"),
    "another width": by("UPDATE features SET widths = x'33'"),
    "no width": by("UPDATE features SET widths = NULL"),
    "keys of other rows": by(
        "UPDATE features SET path = path || 'x'",
        "UPDATE features SET path = replace(path, '1.pngx', '2.png')",
    ),
    "not a number": set_to(np.nan),
    "infinite": set_to(np.inf),
}


@pytest.mark.parametrize("damage", DATABASES)
def test_a_damaged_database_is_computed_again(damage, embed, cache):
    before = embed(6)
    DATABASES[damage](only(cache / "features"))
    np.testing.assert_array_equal(embed(4), before[:4])  # some of what the database claims to know
    np.testing.assert_array_equal(embed(6), before)
    assert rows_of(only(cache / "features")) >= 6
    with closing(sqlite3.connect(only(cache / "features"))) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_digest_of_each_file_comes_along(embed, cache, tmp_path):
    data = sources.load(str(tmp_path / "data"))
    Path(data.paths[2]).write_bytes(b"no image")
    for _ in range(2):  # computed, then from the cache
        embedded = embedding.embed(backbones.load("simple_cnn"), data, np.arange(5), 32)
        assert embedded.positions.tolist() == [0, 1, 3, 4]
        assert [row.tobytes().hex() for row in embedded.contents] == [
            hashlib.sha256(Path(data.paths[i]).read_bytes()).hexdigest() for i in embedded.positions
        ]
        assert embedded.take(np.array([2])).contents.tolist() == [embedded.contents[2].tolist()]
        assert [skipped.path for skipped in embedded.unreadable] == [data.paths[2]]


# What adds rows 0 to 9, or the numbers given, of 20 to a cache; `$ADVISOR_CACHE` says where.
ADDING = """
import os, signal, sys
import numpy as np
from advisor.evidence.feature_cache import FeatureCache, Rows

def cache():
    return FeatureCache("key", [f"{n}.png" for n in range(20)], ["identity"] * 20)

def add(start, stop):
    rows = Rows(np.arange(start, stop))
    count = stop - start
    values = np.arange(start, stop, dtype=np.float32)[:, None].repeat(2256, axis=1)
    small, contents = np.zeros((count, 24, 24), np.uint8), np.zeros((count, 32), np.uint8)
    rows.put(np.arange(count), (256, 2000), values, small, contents)
    cache().add(rows, range(count))
"""


def adding() -> dict:
    """`cache` and `add` of `ADDING`, for this process."""
    names: dict = {}
    exec(ADDING, names)
    return names


def start(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_add_at_once_lose_no_row(cache):
    both = [start(f"{ADDING}\nfor n in range({first}, 20, 2): add(n, n + 1)") for first in (0, 1)]
    assert [process.wait() for process in both] == [0, 0]
    rows = adding()["cache"]().read(np.arange(20))
    assert rows.known.all()
    assert rows.widths == (256, 2000)
    assert (rows.values == np.arange(20)[:, None]).all()


def test_a_process_that_is_killed_while_it_adds_leaves_what_was_there(cache):
    names = adding()
    names["add"](0, 10)
    killing = "FeatureCache._forget_others = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert start(f"{ADDING}\n{killing}\nadd(5, 20)").wait() == -signal.SIGKILL
    assert names["cache"]().read(np.arange(20)).known.tolist() == [True] * 10 + [False] * 10
    names["add"](10, 20)
    assert names["cache"]().read(np.arange(20)).known.all()


def test_the_oldest_rows_of_other_images_go(cache, monkeypatch):
    names = adding()
    row_bytes = 32 + 24**2 + 4 * 2256  # the file's digest, its thumbnail and its features
    monkeypatch.setattr(feature_cache, "OTHERS_BYTES", 3 * row_bytes)
    names["add"](0, 10)
    narrower = feature_cache.FeatureCache("key", ["10.png", "0.png"], ["identity"] * 2)
    rows = feature_cache.Rows(np.array([0]))
    whole = names["cache"]().read(np.array([1]))
    rows.put(np.array([0]), whole.widths, whole.values, whole.thumbnails, whole.contents)
    narrower.add(rows, [0])
    known = names["cache"]().read(np.arange(20)).known
    assert np.flatnonzero(known).tolist() == [0, 7, 8, 9, 10]


def test_a_database_that_another_holds_is_told_not_thrown_away(cache, monkeypatch):
    monkeypatch.setattr(feature_cache, "WAIT_SECONDS", 0.1)
    names = adding()
    names["add"](0, 2)
    with closing(sqlite3.connect(names["cache"]().file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="database is locked") as refused:
            names["add"](2, 4)
    assert refused.value.filename == str(names["cache"]().file)
    assert names["cache"]().read(np.arange(4)).known.tolist() == [True, True, False, False]


# ---------------------------------------------------------------------------------------------------
# How large it is


@pytest.fixture
def filled(cache) -> dict[str, Path]:
    """Three entries of 1,000 bytes, from the least to the most recently used, and files of the user's."""
    found = {
        "features": cache / "features" / "abc.sqlite",
        "network": cache / "litert" / "def.checked",
        "data": cache / "data" / "tfds-small-1.0.1",
    }
    storage.cache_folder()
    for number, path in enumerate(found.values()):
        file = path / "a" / "1.png" if path.name.startswith("tfds") else path
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1000))
        os.utime(path, (number, number))
    (cache / "data" / "mine").mkdir()
    for mine in ("notes.txt", "data/mine/1.png", "features/mine.csv"):
        (cache / mine).write_bytes(bytes(5000))
    return found


USING = "from pathlib import Path; from advisor.system import cache; cache.use(Path({!r}))"


def there(filled: dict[str, Path]) -> set[str]:
    return {name for name, path in filled.items() if path.exists()}


@pytest.mark.parametrize(
    ("most", "left"),
    [(3000, {"features", "network", "data"}), (2999, {"network", "data"}), (1500, {"data"}), (0, set())],
)
def test_the_least_recently_used_go_first(filled, monkeypatch, most, left):
    monkeypatch.setattr(contents_of_cache, "MOST_BYTES", most)
    contents_of_cache.trim()
    assert there(filled) == left


def test_what_is_used_becomes_the_latest(filled, monkeypatch):
    used = start(USING.format(str(filled["features"])))
    assert used.wait() == 0
    monkeypatch.setattr(contents_of_cache, "MOST_BYTES", 1000)
    contents_of_cache.trim()
    assert there(filled) == {"features"}


def test_half_of_what_would_be_free_is_the_bound(filled, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1200))
    contents_of_cache.trim()
    assert there(filled) == {"network", "data"}


@pytest.mark.parametrize("name", ["features", "network", "data"])
def test_what_a_running_command_uses_stays(filled, name, capsys):
    """And goes when that command has been killed."""
    running = start(USING.format(str(filled[name])) + "; print('ready', flush=True); input()")
    assert running.stdout.readline() == "ready\n"
    unfinished = filled[name].with_name(f".{filled[name].stem}-abcdefgh{filled[name].suffix}")
    if name != "features":  # SQLite has no such names
        unfinished.touch()
    assert clear(capsys) == "advisor: what is left is used by a command that is running\n"
    assert there(filled) == {name}
    assert unfinished.exists() == (name != "features")
    running.kill()
    running.wait()
    assert clear(capsys) == ""
    assert there(filled) == set()
    assert not unfinished.exists()


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_told(cache, monkeypatch, error):
    def acquire(self):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(
        InputError, match=r"cannot lock a file in .* \(.*lock.*\); set ADVISOR_CACHE to a folder"
    ):
        contents_of_cache.use(cache / "features" / "abc.sqlite")


def clear(capsys) -> str:
    """`advisor cache clear`; what it says on standard error."""
    with pytest.raises(SystemExit) as end:
        main(["cache", "clear"])
    assert end.value.code == 0
    return capsys.readouterr().err


def test_clearing_leaves_files_of_others(filled, cache, capsys):
    Path(f"{filled['features']}-journal").touch()
    assert clear(capsys) == ""
    left = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    assert left == {"notes.txt", "data/mine/1.png", "features/mine.csv", "in-use/all"}


def test_the_cache_is_told(filled, cache, capsys):
    with pytest.raises(SystemExit):
        main(["cache"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"The cache is {cache}"
    assert lines[1].startswith("It holds 0.0 MB and may hold ")
    assert all(len(line) <= 80 for line in lines[1:])
    assert [line.split()[-5] for line in lines[4:7]] == ["features", "LiteRT", "sets"]
    with pytest.raises(SystemExit):
        main(["cache", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["folder"], told["bytes"]) == (1, str(cache), 3000)
    assert [(row["kind"], row["number"], row["bytes"]) for row in told["kinds"]] == [
        ("features", 1, 1000),
        ("networks for LiteRT", 1, 1000),
        ("data sets", 1, 1000),
        ("unpacked data", 0, 0),
        ("measured speed", 0, 0),
    ]


def test_the_cache_of_a_command_is_told(embed, cache, capsys):
    embed(3)
    with pytest.raises(SystemExit):
        main(["cache", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [row["number"] for row in told["kinds"]] == [1, 1, 0, 0, 0]


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
    (folder / written_once.LISTING).unlink()


def turned_into_a_file(folder: Path) -> None:
    storage.remove(folder)
    folder.touch()


@pytest.mark.parametrize(
    "damage", [half_deleted, cut_off, joined_by_others, listed_by_nobody, turned_into_a_file]
)
def test_a_damaged_data_set_is_written_again(damage, cache, monkeypatch):
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
    written = folder.stat().st_ino
    packaged.write_digits()
    assert folder.stat().st_ino == written


# ---------------------------------------------------------------------------------------------------
# The speed of the machine


@pytest.mark.parametrize("content", ["", "fast", "[]", '{"x": 1}', '{"x": {"y": [0]}}'])
def test_a_damaged_speed_is_measured_again(cache, content):
    file = storage.cache_folder() / speed.FILE
    file.write_text(content)
    assert 0 < speed.seconds("embed", "some network", 224) < 60
    speed.learn("embed", "some network", 224, images=100, seconds=1.0)
    assert json.loads(file.read_text())[devices.describe()] == {"embed some network 224": [0.01]}


@pytest.mark.parametrize(
    ("busy", "idle", "seconds"),
    [(9, 11, 10), (18, 2, 10), (19, 1, 10 * 8 / 19), (8, 0, 10)],
    ids=["alone", "beside others, with time left", "beside others", "by all processors"],
)
def test_what_else_runs_does_not_count(monkeypatch, busy, idle, seconds):
    """Of ten seconds on the clock of two processors this process had eight."""
    clocks = {
        "time.monotonic": [0, 10],
        "time.process_time": [0, 8],
        "_processors": [(50, 70), (50 + busy, 70 + idle)],
    }
    for name, times in clocks.items():
        monkeypatch.setattr(f"advisor.system.stopwatch.{name}", iter(times).__next__)
    watch = Stopwatch()
    assert watch.seconds() == pytest.approx(seconds)


def test_a_busy_moment_does_not_stay(cache):
    """An image took a second while the machine was busy; afterwards it takes a hundredth."""
    for seconds in (1.0, 0.01, 0.01):
        speed.learn("step", "some network", 224, images=100, seconds=100 * seconds)
    assert speed.seconds("step", "some network", 224) == pytest.approx(0.01)
    assert speed.seconds("step", "some network", 112) == pytest.approx(0.01 / 4)
    assert speed.seconds("embed", "some network", 224) < 0.01  # it is not slower than a gradient step


def test_what_is_not_known_is_a_guess(cache, monkeypatch):
    """Few images tell nothing; on a GPU one kind of work says nothing about the other."""
    speed.learn("embed", "some network", 224, images=speed.FEWEST_IMAGES - 1, seconds=1.0)
    assert not speed.is_known("embed", "some network", is_reference=False)
    assert speed.is_known("step", "some network", is_reference=True)
    speed.learn("embed", "some network", 224, images=speed.FEWEST_IMAGES, seconds=1.0)
    assert speed.is_known("step", "some network", is_reference=False)
    monkeypatch.setattr(devices, "gpus", lambda: ("a GPU",))
    speed.learn("embed", "some network", 224, images=speed.FEWEST_IMAGES, seconds=1.0)
    assert speed.is_known("embed", "some network", is_reference=False)
    assert not speed.is_known("step", "some network", is_reference=True)

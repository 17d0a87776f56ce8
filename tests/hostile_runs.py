"""Run folders from hell: each kind of damage, or of malice, that a run folder can come with.

Each function below turns a good run folder into a bad one. Beside the folder lies `outside`, with what a link
may lead to; `MARK` appears there if something of the folder is executed.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MARK = "executed"

Damage = Callable[[Path], None]
BEFORE_LOADING: dict[str, Damage] = {}  # refused by every command, before TensorFlow is loaded
OF_SPLITS: dict[str, Damage] = {}  # refused by `evaluate`, which alone reads splits.csv
OF_MODELS: dict[str, Damage] = {}  # refused when the model is loaded


def make(good: Path, folder: Path, damage: Damage) -> Path:
    """A bad run folder in `folder`, which must not exist; unchanged files are shared with the good one."""
    (folder / "outside").mkdir(parents=True)
    run = folder / "run"
    run.mkdir()
    for file in good.iterdir():
        if file.is_file():
            os.link(file, run / file.name)
    damage(run)
    return run


def belong(run: Path) -> None:
    """Say in metrics.json that it belongs to the model as it is: a stranger who changes one changes both."""
    metrics = read(run / "metrics.json")
    metrics["model_sha256"] = hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    put(run / "metrics.json", json.dumps(metrics))


def kind(table: dict[str, Damage], name: str, *arguments: Any) -> Callable[[Callable], Callable]:
    """Enter a function into a table under a name; other arguments are put behind the folder."""

    def enter(function: Callable) -> Callable:
        assert name not in table
        table[name] = lambda run: function(run, *arguments)
        return function

    return enter


def put(path: Path, content: bytes | str) -> None:
    """Write a new file in the place of an old one, which may be shared."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Runs:
    """Executed by whoever unpickles it."""

    def __init__(self, outside: Path) -> None:
        self.outside = outside

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.outside / MARK}'",)


# ---------------------------------------------------------------------------------------------------
# Files that are no files, or too large


def is_missing(run: Path, name: str) -> None:
    (run / name).unlink()


def is_empty(run: Path, name: str) -> None:
    put(run / name, b"")


def is_a_folder(run: Path, name: str) -> None:
    (run / name).unlink()
    (run / name).mkdir()


def is_a_link(run: Path, name: str) -> None:
    shutil.move(run / name, run.parent / "outside" / name)
    (run / name).symlink_to(Path("..") / "outside" / name)


def is_a_pipe(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)


def is_endless(run: Path, name: str) -> None:
    put(run / name, b"")
    os.truncate(run / name, 10**12)  # of no bytes on the disk


def is_cut(run: Path, name: str) -> None:
    content = (run / name).read_bytes()
    put(run / name, content[: len(content) // 2])


kind(BEFORE_LOADING, "calibration.npz is endless", "calibration.npz")(is_endless)
kind(BEFORE_LOADING, "calibration.npz is a pipe", "calibration.npz")(is_a_pipe)
kind(BEFORE_LOADING, "calibration.npz is cut", "calibration.npz")(is_cut)


for file, table in (
    ("metrics.json", BEFORE_LOADING),
    ("labels.json", BEFORE_LOADING),
    ("model.keras", BEFORE_LOADING),
    ("neighbours.npz", BEFORE_LOADING),
    ("splits.csv", OF_SPLITS),
):
    for damage in (is_missing, is_empty, is_a_folder, is_a_link, is_a_pipe, is_endless, is_cut):
        where = OF_MODELS if (file, damage) == ("model.keras", is_cut) else table
        kind(where, f"{file} {damage.__name__.replace('_', ' ')}", file)(damage)


@kind(BEFORE_LOADING, "metrics.json is a link to nowhere", "nothing")
@kind(BEFORE_LOADING, "metrics.json is a link to itself", "metrics.json")
def _(run: Path, target: str) -> None:
    (run / "metrics.json").unlink()
    (run / "metrics.json").symlink_to(target)


@kind(BEFORE_LOADING, "labels.json is a socket")
def _(run: Path) -> None:
    (run / "labels.json").unlink()
    here = os.getcwd()
    os.chdir(run)  # the name of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind("labels.json")
    finally:
        os.chdir(here)


@kind(BEFORE_LOADING, "the folder is empty")
def _(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


@kind(BEFORE_LOADING, "the folder is a file")
def _(run: Path) -> None:
    shutil.rmtree(run)
    run.touch()


@kind(BEFORE_LOADING, "the folder is a link to nowhere", "nowhere")
@kind(BEFORE_LOADING, "the folder is a link to itself", "run")
def _(run: Path, target: str) -> None:
    shutil.rmtree(run)
    run.symlink_to(target)


@kind(BEFORE_LOADING, "the run is not finished")
def _(run: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "checkpoints").mkdir()


# ---------------------------------------------------------------------------------------------------
# JSON


@kind(BEFORE_LOADING, "metrics.json is nested deeply", "metrics.json", "[" * 200_000)
@kind(BEFORE_LOADING, "labels.json is nested deeply", "labels.json", '{"a":' * 200_000)
@kind(
    BEFORE_LOADING, "metrics.json holds nothing but brackets", "metrics.json", "[" + "[]," * 3_000_000 + "0]"
)
@kind(
    BEFORE_LOADING,
    "metrics.json is a long list in little space",
    "metrics.json",
    "[" + "[]," * 2_600_000 + "0]",
)
@kind(BEFORE_LOADING, "metrics.json is a list", "metrics.json", "[]")
@kind(BEFORE_LOADING, "metrics.json is null", "metrics.json", "null")
@kind(BEFORE_LOADING, "metrics.json is a number without end", "metrics.json", "9" * 1_000_000)
@kind(BEFORE_LOADING, "metrics.json is no text", "metrics.json", bytes(range(256)))
@kind(BEFORE_LOADING, "labels.json is in Latin-1", "labels.json", '["grün", "rot"]'.encode("latin-1"))
@kind(BEFORE_LOADING, "labels.json is in UTF-16", "labels.json", '["blue", "green", "red"]'.encode("utf-16"))
@kind(BEFORE_LOADING, "labels.json is Python", "labels.json", "['blue', 'green', 'red']")
@kind(BEFORE_LOADING, "labels.json holds two values", "labels.json", '["blue", "green", "red"]["blue"]')
@kind(BEFORE_LOADING, "labels.json names numbers", "labels.json", "[0, 1, 2]")
@kind(BEFORE_LOADING, "labels.json names nothing", "labels.json", '["blue", null, "red"]')
@kind(BEFORE_LOADING, "labels.json names truth", "labels.json", '["blue", true, "red"]')
@kind(BEFORE_LOADING, "labels.json names lists", "labels.json", '[["blue"], ["green"], ["red"]]')
@kind(BEFORE_LOADING, "labels.json names too few", "labels.json", '["blue", "green"]')
@kind(BEFORE_LOADING, "labels.json names too many", "labels.json", '["blue", "green", "red", "violet"]')
@kind(BEFORE_LOADING, "labels.json names one twice", "labels.json", '["blue", "green", "green"]')
@kind(BEFORE_LOADING, "labels.json names one without a name", "labels.json", '["blue", "green", ""]')
@kind(BEFORE_LOADING, "labels.json names half a character", "labels.json", '["blue", "green", "\\ud800"]')
@kind(BEFORE_LOADING, "labels.json names others", "labels.json", '["blue", "green", "violet"]')
@kind(BEFORE_LOADING, "labels.json is in another order", "labels.json", '["red", "green", "blue"]')
@kind(BEFORE_LOADING, "labels.json is a word", "labels.json", '"abc"')
@kind(BEFORE_LOADING, "labels.json is an object", "labels.json", '{"blue": 0, "green": 1, "red": 2}')
@kind(BEFORE_LOADING, "labels.json is an empty list", "labels.json", "[]")
def text(run: Path, name: str, content: str | bytes) -> None:
    put(run / name, content)


@kind(BEFORE_LOADING, "metrics.json has no recipe", ("recipe",), None)
@kind(BEFORE_LOADING, "metrics.json has a list for a recipe", ("recipe",), "[1]")
@kind(BEFORE_LOADING, "metrics.json has no settings", ("settings",), None)
@kind(BEFORE_LOADING, "metrics.json has a setting that there is not", ("settings", "ropout"), "0.5")
@kind(BEFORE_LOADING, "metrics.json has a list for settings", ("settings",), "[]")
@kind(BEFORE_LOADING, "settings have no recipe", ("settings", "recipe"), None)
@kind(BEFORE_LOADING, "settings have no image_size", ("settings", "image_size"), None)
@kind(BEFORE_LOADING, "image_size is negative", ("settings", "image_size"), "-1")
@kind(BEFORE_LOADING, "image_size is true", ("settings", "image_size"), "true")
@kind(BEFORE_LOADING, "image_size is infinite", ("settings", "image_size"), "1e400")
@kind(BEFORE_LOADING, "image_size is not a number", ("settings", "image_size"), "NaN")
@kind(BEFORE_LOADING, "image_size is huge", ("settings", "image_size"), "20000")
@kind(BEFORE_LOADING, "image_size has 400 digits", ("settings", "image_size"), "1" + "0" * 400)
@kind(BEFORE_LOADING, "image_size is text", ("settings", "image_size"), '"64"')
@kind(BEFORE_LOADING, "image_size is null", ("settings", "image_size"), "null")
@kind(BEFORE_LOADING, "image_size has a fraction", ("settings", "image_size"), "32.5")
@kind(BEFORE_LOADING, "metrics.json tested nothing", ("test",), None)
@kind(BEFORE_LOADING, "accuracy is Infinity", ("test", "accuracy"), "-Infinity")
@kind(BEFORE_LOADING, "accuracy is more than all", ("test", "accuracy"), "1.5")
@kind(BEFORE_LOADING, "accuracy has 400 digits", ("test", "accuracy"), "1" + "0" * 400)
@kind(BEFORE_LOADING, "accuracy is text", ("test", "accuracy"), '"good"')
@kind(BEFORE_LOADING, "per_class is a list", ("test", "per_class"), '["blue", "green", "red"]')
@kind(BEFORE_LOADING, "per_class has no classes", ("test", "per_class"), "{}")
@kind(BEFORE_LOADING, "a class has no numbers", ("test", "per_class", "blue"), "7")
@kind(BEFORE_LOADING, "a class is not counted", ("test", "per_class", "blue", "images"), None)
def metric(run: Path, where: tuple[str, ...], value: str | None) -> None:
    metrics = read(run / "metrics.json")
    place = metrics
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = "HERE"
    if value is None:
        del place[where[-1]]
    put(run / "metrics.json", json.dumps(metrics).replace('"HERE"', value or ""))


@kind(BEFORE_LOADING, "there is one class only")
def _(run: Path) -> None:
    metrics = read(run / "metrics.json")
    metrics["test"]["per_class"] = {"blue": metrics["test"]["per_class"]["blue"]}
    put(run / "metrics.json", json.dumps(metrics))
    put(run / "labels.json", '["blue"]')


# ---------------------------------------------------------------------------------------------------
# calibration.npz

TRUTH, SOURCE = np.float32([0.2, 0.5, 0.9]), np.array("validation")
for says, truth, source in (
    ("no number", np.float32([0.2, np.nan]), SOURCE),
    ("what is no probability", np.float32([0.2, 3.0]), SOURCE),
    ("no order", TRUTH[::-1], SOURCE),
    ("no images", TRUTH[:0], SOURCE),
    ("double precision", TRUTH.astype(float), SOURCE),
    ("no source", TRUTH, np.array("hearsay")),
):

    @kind(BEFORE_LOADING, f"calibration.npz holds {says}", truth, source)
    def _(run: Path, truth: np.ndarray, source: np.ndarray) -> None:
        (run / "calibration.npz").unlink()
        np.savez(run / "calibration.npz", truth=truth, source=source)


@kind(BEFORE_LOADING, "calibration.npz holds pickled probabilities")
def _(run: Path) -> None:
    (run / "calibration.npz").unlink()
    truth = np.array([Runs(run.parent / "outside")], dtype=object)
    np.savez(run / "calibration.npz", allow_pickle=True, truth=truth, source=SOURCE)


# ---------------------------------------------------------------------------------------------------
# neighbours.npz


@kind(BEFORE_LOADING, "neighbours.npz is text")
def _(run: Path) -> None:
    put(run / "neighbours.npz", "<html>not found</html>")


@kind(BEFORE_LOADING, "neighbours.npz is one array")
def _(run: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 4), np.float16))
    put(run / "neighbours.npz", file.getvalue())


@kind(BEFORE_LOADING, "neighbours.npz is a pickle")
def _(run: Path) -> None:
    import pickle

    put(run / "neighbours.npz", pickle.dumps(Runs(run.parent / "outside")))


@kind(BEFORE_LOADING, "neighbours.npz has changed bytes")
def _(run: Path) -> None:
    content = bytearray((run / "neighbours.npz").read_bytes())
    for place in range(400, len(content) - 400, 97):
        content[place] ^= 0x55
    put(run / "neighbours.npz", bytes(content))


def arrays(run: Path, **changed: Any) -> None:
    """Neighbours as they were, with changes; None leaves an array out."""
    with np.load(run / "neighbours.npz") as file:
        kept = {**file, **changed}
    (run / "neighbours.npz").unlink()
    np.savez(run / "neighbours.npz", **{name: array for name, array in kept.items() if array is not None})


FEATURES = np.full((4, 8), 0.5, np.float16)
for says, changed in {
    "no features": {"features": None},
    "no threshold": {"threshold": None},
    "another array": {"more": np.zeros(3)},
    "too many rows": {"features": np.zeros((2001, 2), np.float16)},
    "no rows": {"features": np.zeros((0, 1280), np.float16)},
    "one row alone": {"features": np.zeros(1280, np.float16)},
    "a cube": {"features": np.zeros((2, 2, 2), np.float16)},
    "numbers of another kind": {"features": FEATURES.astype(np.complex64)},
    "numbers of another precision": {"features": FEATURES.astype(np.float64)},
    "text": {"features": np.array([["a", "b"]])},
    "records": {"features": np.zeros((2, 2), [("a", "f2"), ("b", "i4")])},
    "dates": {"features": np.zeros((2, 2), "datetime64[s]")},
    "a feature that is not a number": {"features": np.array([[0.5, np.nan]], np.float16)},
    "an infinite feature": {"features": np.array([[0.5, -np.inf]], np.float16)},
    "a threshold that is not a number": {"threshold": np.float64("nan")},
    "an infinite threshold": {"threshold": np.float64("inf")},
    "thresholds": {"threshold": np.zeros(3)},
    "a threshold in words": {"threshold": np.array("0.5")},
    "a complex threshold": {"threshold": np.complex128(1j)},
}.items():
    kind(BEFORE_LOADING, f"neighbours.npz holds {says}", changed)(lambda run, given: arrays(run, **given))


@kind(BEFORE_LOADING, "neighbours.npz holds pickled features", "features")
@kind(BEFORE_LOADING, "neighbours.npz holds a pickled threshold", "threshold")
def _(run: Path, name: str) -> None:
    with np.load(run / "neighbours.npz") as file:
        kept = dict(file)
    kept[name] = np.array(Runs(run.parent / "outside"), dtype=object).reshape(
        (1, 1) if name == "features" else ()
    )
    (run / "neighbours.npz").unlink()
    np.savez(run / "neighbours.npz", allow_pickle=True, **kept)


def members(run: Path, contents: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> None:
    (run / "neighbours.npz").unlink()
    with zipfile.ZipFile(run / "neighbours.npz", "w", compression) as archive:
        for name, content in contents:
            archive.writestr(name, content)


def npy(header: str, content: bytes = b"", version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + content


THRESHOLD = ("threshold.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}\n", bytes(8)))


@kind(BEFORE_LOADING, "neighbours.npz claims more than it holds", "(2000, 10000000)")
@kind(BEFORE_LOADING, "neighbours.npz claims less than nothing", "(-1, 8)")
@kind(BEFORE_LOADING, "neighbours.npz claims more than there is", "(2000, 100000000000000000000)")
@kind(BEFORE_LOADING, "neighbours.npz claims no shape", "'wide'")
@kind(BEFORE_LOADING, "neighbours.npz claims a truth for a shape", "(True, 8.5)")
@kind(
    BEFORE_LOADING, "neighbours.npz claims a program for a shape", "__import__('os').system('touch executed')"
)
@kind(BEFORE_LOADING, "neighbours.npz claims endless brackets", "(" * 5000)
def _(run: Path, shape: str) -> None:
    header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}}}\n"
    members(run, [("features.npy", npy(header, bytes(64))), THRESHOLD])


@kind(BEFORE_LOADING, "neighbours.npz is of another version of NumPy", b"\7\0")
def _(run: Path, version: bytes) -> None:
    header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 8)}\n"
    members(run, [("features.npy", npy(header, bytes(16), version)), THRESHOLD])


@functools.cache
def bomb(shape: str) -> bytes:
    """600 MB of nothing behind a header, in little space."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(*THRESHOLD)
        with archive.open("features.npy", "w") as member:
            member.write(npy(f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}}}\n"))
            for _ in range(600):
                member.write(bytes(1_000_000))
    return file.getvalue()


@kind(BEFORE_LOADING, "neighbours.npz is a bomb that tells its size", "(2000, 150000)")
@kind(BEFORE_LOADING, "neighbours.npz is a bomb behind a small array", "(1, 8)")
def _(run: Path, shape: str) -> None:
    put(run / "neighbours.npz", bomb(shape))


@kind(BEFORE_LOADING, "neighbours.npz holds two arrays of one name")
def _(run: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        members(run, [THRESHOLD, THRESHOLD])


@kind(BEFORE_LOADING, "neighbours.npz leads out of its folder")
def _(run: Path) -> None:
    members(run, [("../../outside/features.npy", THRESHOLD[1]), THRESHOLD])


@kind(BEFORE_LOADING, "neighbours.npz is compressed in no known way", 8, struct.pack("<H", 99))
@kind(BEFORE_LOADING, "neighbours.npz is encrypted", 6, struct.pack("<H", 1))
def _(run: Path, place: int, value: bytes) -> None:
    members(run, [("features.npy", THRESHOLD[1]), THRESHOLD])
    content = bytearray((run / "neighbours.npz").read_bytes())
    for signature, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = content.find(signature)
        while at >= 0:
            content[at + place + shift : at + place + shift + 2] = value
            at = content.find(signature, at + 4)
    put(run / "neighbours.npz", bytes(content))


@kind(BEFORE_LOADING, "neighbours.npz lists members without end")
def _(run: Path) -> None:
    entry = b"PK\1\2" + bytes(24) + struct.pack("<HHH", 1, 0, 0) + bytes(12) + b"a"
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, count * len(entry), 0, 0)
    put(run / "neighbours.npz", entry * count + end)


# ---------------------------------------------------------------------------------------------------
# splits.csv

DIGEST = "0" * 64


@kind(OF_SPLITS, "splits.csv has other columns", "path,split\na.png,train\n")
@kind(OF_SPLITS, "splits.csv has a short row", "path,split,sha256\na.png,train\n")
@kind(OF_SPLITS, "splits.csv has a long row", f"path,split,sha256\na,b.png,train,{DIGEST}\n")
@kind(OF_SPLITS, "splits.csv has an unknown split", f"path,split,sha256\na.png,dev,{DIGEST}\n")
@kind(OF_SPLITS, "splits.csv has no checksum", "path,split,sha256\na.png,train,abc\n")
@kind(OF_SPLITS, "splits.csv has an open quotation", f'path,split,sha256\n"a.png,train,{DIGEST}\n')
@kind(OF_SPLITS, "splits.csv has a field without end", f"path,split,sha256\n{'a' * 10**6},train,{DIGEST}\n")
@kind(OF_SPLITS, "splits.csv is no text", bytes(range(256)) * 10)
@kind(OF_SPLITS, "splits.csv is nothing but commas", "," * 10**6)
@kind(OF_SPLITS, "splits.csv is nothing but lines", "\n" * 10**6)
def _(run: Path, content: str | bytes) -> None:
    put(run / "splits.csv", content)


# ---------------------------------------------------------------------------------------------------
# Models that Keras loads, and that are not the run's


def model(run: Path, build: Callable[[Any, Any], Any]) -> None:
    """Save another network: of what `build` makes of an image and Keras' layers."""
    import keras

    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    made = build(image, pooled)
    inputs, outputs = made if isinstance(made, tuple) else (image, made)
    (run / "model.keras").unlink()
    keras.Model(inputs, outputs).save(run / "model.keras")


@kind(OF_MODELS, "model.keras is text")
def _(run: Path) -> None:
    put(run / "model.keras", "<html>not found</html>")


@kind(OF_MODELS, "model.keras is of other classes")
def _(run: Path) -> None:
    from keras import layers

    model(run, lambda image, pooled: layers.Dense(5, "softmax")(pooled))


@kind(OF_MODELS, "model.keras is of other features than neighbours.npz")
def _(run: Path) -> None:
    from keras import layers

    model(run, lambda image, pooled: layers.Dense(3, "softmax")(pooled))


@kind(OF_MODELS, "model.keras gives no probabilities")
def _(run: Path) -> None:
    from keras import layers

    model(run, lambda image, pooled: layers.Dense(3, bias_initializer="ones")(pooled))


@kind(OF_MODELS, "model.keras cannot be run")
def _(run: Path) -> None:
    from keras import layers

    model(run, lambda image, pooled: layers.Dense(3, "softmax")(layers.Rescaling("words")(pooled)))


@kind(OF_MODELS, "model.keras gives maps")
def _(run: Path) -> None:
    from keras import layers

    model(run, lambda image, pooled: layers.Conv2D(3, 1, activation="softmax")(image))


@kind(OF_MODELS, "model.keras is of another size")
def _(run: Path) -> None:
    import keras
    from keras import layers

    def build(image: Any, pooled: Any) -> Any:
        other = keras.Input((48, 48, 3))
        return other, layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(other))

    model(run, build)


@kind(OF_MODELS, "model.keras takes two images")
def _(run: Path) -> None:
    import keras
    from keras import layers

    def build(image: Any, pooled: Any) -> Any:
        other = keras.Input((32, 32, 3))
        both = layers.Concatenate()([pooled, layers.GlobalAveragePooling2D()(other)])
        return [image, other], layers.Dense(3, "softmax")(both)

    model(run, build)


@kind(OF_MODELS, "model.keras ends in one layer that is used twice")
def _(run: Path) -> None:
    from keras import layers

    def build(image: Any, pooled: Any) -> Any:
        shared = layers.Dense(3, "softmax")
        return shared(shared(pooled))

    model(run, build)

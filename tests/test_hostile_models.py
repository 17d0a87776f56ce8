"""Model files from strangers: each ends in one line, nothing runs, and memory stays small."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import fuzzing
import h5py
import psutil
import pytest
from hypothesis import given, settings

from advisor import backbones
from advisor.errors import InputError
from tests.hostile_models import KINDS, good, members, write

MOST_MEMORY = 500_000_000


class Peak:
    """The most memory that this process had while the block ran, over what it had before."""

    def __enter__(self) -> Peak:
        self.process, self.ended = psutil.Process(), False
        self.before = self.most = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.ended:
            self.most = max(self.most, self.process.memory_info().rss)
            time.sleep(0.005)

    def __exit__(self, *_: object) -> None:
        self.ended = True
        self.thread.join()
        self.grown = self.most - self.before


def test_there_are_a_hundred_kinds():
    assert len(KINDS) >= 100


def test_the_file_that_they_are_made_of_is_good(tmp_path):
    (folder := tmp_path / "in").mkdir()
    for ending in (".keras", ".h5"):
        assert backbones.load(str(good(folder, ending))).taps


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    backbones.load(str(good(folder / "x")))  # TensorFlow is in memory before any is measured
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_model_file_is_refused_in_one_line(kind, shared):
    (folder := shared / kind).mkdir()
    file = KINDS[kind](folder)
    name, weights = ("resnet18", str(file)) if file.suffix == ".pth" else (str(file), None)
    with Peak() as peak, pytest.raises(InputError) as caught:
        backbones.load(name, weights)
    said = str(caught.value)
    assert "\n" not in said
    assert "; " in said  # and what to do
    assert len(said) - len(str(file)) <= 200
    assert not re.search(r"\x1b|deserialized|Example error|\{\{", said)  # what Keras puts around the reason
    assert not (folder / "mark").exists()
    assert not os.path.exists("/tmp/evil")
    assert peak.grown < MOST_MEMORY


def test_any_description_is_read_or_refused(shared):
    content = members(shared / "x")
    description = json.loads(content["config.json"])
    older = shared / "any.h5"
    older.write_bytes(good(shared / "x", ".h5").read_bytes())

    @settings(max_examples=40, deadline=None, database=None)
    @given(fuzzing.changed_json(description))
    def check(changed):
        load_or_refuse(write(shared, {**content, "config.json": json.dumps(changed).encode()}))
        with h5py.File(older, "a") as file:
            file.attrs["model_config"] = json.dumps(changed)
        load_or_refuse(older)

    check()


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_any_bytes_of_a_model_file_are_read_or_refused(ending, shared):
    file = shared / f"bytes{ending}"

    @settings(max_examples=60, deadline=None, database=None)
    @given(fuzzing.changed(good(shared / "x", ending).read_bytes()))
    def check(content):
        file.write_bytes(content)
        load_or_refuse(file)

    check()


def load_or_refuse(file: Path) -> None:
    with suppress(InputError):
        backbones.load(str(file))


def test_a_text_is_never_multiplied(tmp_path):
    """It would be gone again before its memory could be measured."""
    file = KINDS["tensor_whose_stride_is_a_text"](tmp_path)
    with pytest.raises(InputError, match="no shape of whole numbers"):
        backbones.load("resnet18", str(file))

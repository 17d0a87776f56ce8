"""`tfds:NAME`, with a data set that the test builds: nothing is downloaded."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.data import sources
from advisor.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")


class AdvisorStripes(tfds.core.GeneratorBasedBuilder):
    """Grey stripes, upright or lying."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["upright", "lying"])
        features = {"image": tfds.features.Image(shape=(16, 16, 1)), "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        generator = np.random.default_rng(count)
        for number in range(count):
            line = generator.integers(0, 256, 16, dtype=np.uint8)
            image = np.broadcast_to(line if number % 2 else line[:, None], (16, 16))[..., None].copy()
            yield f"{count}-{number}", {"image": image, "label": 1 - number % 2}


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def test_splits_labels_and_images_arrive(monkeypatch, tmp_path):
    built = AdvisorStripes(data_dir=str(tmp_path / "tfds"))
    monkeypatch.setattr(tfds, "builder", lambda name: built)
    data = sources.load("tfds:advisor_stripes")
    assert data.class_names == ("lying", "upright")
    assert len(data.indices("test")) == 4
    assert len(data.indices("train")) + len(data.indices("validation")) == 12
    assert data.given_splits == {"train", "test"}
    assert set(data.shorter_sides) == {16}


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="no 'no_such_set'"):
        sources.load("tfds:no_such_set")
